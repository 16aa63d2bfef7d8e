------------------------------ MODULE CoreTrace ------------------------------
(***************************************************************************)
(* Is a run of the implementation a behaviour of Comity?  The trace is a   *)
(* list of what the machines did, in order, from the simulation of the     *)
(* core (tests/model/recording.py); module TraceData, generated, holds it. *)
(* Each line must be a step that Comity's operators allow, and leave the   *)
(* machine in the state that the line says; all invariants are checked on  *)
(* the way.  The trace is accepted when its end is reached.                *)
(*                                                                         *)
(* A step of Spec does in one go what takes the implementation several:    *)
(* remember, hand out what is to be written, write it, sync, speak.  Here  *)
(* these are steps of their own, with everything else in between.          *)
(***************************************************************************)
EXTENDS Comity, TraceData

VARIABLES
    line,    \* the next line of the trace
    outbox,  \* of each machine: what it will say once what is in memory now is synced
    taken,   \* what is being written, and what will be said after it
    known    \* how much of its log each machine knows to be committed

traceVars == <<vars, line, outbox, taken, known>>

Silence == [requests |-> {}, granted |-> {}, acked |-> {}]
NotWriting == [writing |-> FALSE]

TraceInit ==
    /\ Init
    /\ line = 1
    /\ outbox = [n \in Nodes |-> Silence]
    /\ taken = [n \in Nodes |-> NotWriting]
    /\ known = [n \in Nodes |-> 0]

Remember(n, m) == memory' = [memory EXCEPT ![n] = m]
SayLater(n, o) == outbox' = [outbox EXCEPT ![n] = o]

\* What memory has to look like after the line.
Matches(e, m) ==
    /\ m.term = e.term /\ m.vote = e.vote
    /\ (m.role = "leader") = e.leads
    /\ Len(m.log) = e.last_index /\ LastTerm(m.log) = e.last_term

Campaigned(e, n, m) ==
    LET after == AfterCampaign(n, m, e.term)
    IN  /\ CanCampaign(n, m, e.term)
        /\ Remember(n, after)
        /\ SayLater(n, [outbox[n] EXCEPT !.requests = @ \cup WhatIsAsked(n, after),
                                         !.granted = @ \cup WhatIsGranted(n, after)])
        /\ UNCHANGED <<disk, said, crashes, taken, known>>

Granted(e, n, m) ==
    \E r \in requests :
        /\ r.term = e.term /\ r.by = e.vote /\ CanGrant(n, m, r)
        /\ Remember(n, AfterGrant(m, r))
        /\ SayLater(n, [outbox[n] EXCEPT !.granted = @ \cup WhatIsGranted(n, AfterGrant(m, r))])
        /\ UNCHANGED <<disk, said, crashes, taken, known>>

\* A later term is heard of, or an election or a leadership given up.
Followed(e, n, m) ==
    /\ e.term >= m.term
    /\ Remember(n, [EnterTerm(m, e.term) EXCEPT !.role = "follower"])
    /\ UNCHANGED <<disk, said, crashes, outbox, taken, known>>

Won(e, n, m) ==
    /\ CanWin(n, m) /\ Remember(n, AfterWin(m))
    /\ reigns' = [reigns EXCEPT ![m.term][n].log = AfterWin(m).log, ![m.term][n].committed = known[n]]
    /\ UNCHANGED <<disk, requests, granted, signed, crashes, outbox, taken, known>>

\* One step at a time by itself, anything by a joint configuration; a change of learners changes no set of voters.
ChangeAllowed(e, n, m) ==
    LET c == Configuration(m.log)
    IN  IF c.old # {} THEN CanLeaveJoint(n, m) /\ e.new = c.new /\ e.old = {}
        ELSE /\ Leads(m) /\ ~Pending(n, m) /\ reigns[m.term][n].committed >= Opening(m)
             /\ EachAuthority(e.new)
             /\ e.old = c.new \/ (e.old = {} /\ Differ(c.new, e.new) <= 1)

Appended(e, n, m) ==
    LET entry == IF e.event = "append" THEN Data(m.term, e.data) ELSE Change(m.term, e.new, e.old)
    IN  /\ IF e.event = "append" THEN Leads(m) ELSE ChangeAllowed(e, n, m)
        /\ Remember(n, Extended(m, entry))
        /\ reigns' = [reigns EXCEPT ![m.term][n].log = Extended(m, entry).log]
        /\ UNCHANGED <<disk, requests, granted, signed, crashes, outbox, taken, known>>

Received(e, n, m) ==
    /\ CanHear(n, m, e.term, e.leader)
    /\ CanReceive(m, reigns[e.term][e.leader].log, e.previous, e.upto)
    /\ Remember(n, AfterReceive(m, e.term, e.leader, e.previous, e.upto))
    /\ SayLater(n, [outbox[n] EXCEPT !.acked = @ \cup {[term |-> e.term, to |-> e.leader, index |-> e.upto]}])
    /\ UNCHANGED <<disk, said, crashes, taken, known>>

Committed(e, n, m) ==
    /\ CanCommit(n, m, e.index)
    /\ reigns' = [reigns EXCEPT ![m.term][n].committed = e.index]
    /\ known' = [known EXCEPT ![n] = e.index]
    /\ UNCHANGED <<memory, disk, requests, granted, signed, crashes, outbox, taken>>

\* Only what some leader of this term said is committed, and only where the logs are the same up to there.
Learned(e, n, m) ==
    /\ e.index > known[n]
    /\ \E leader \in Nodes :
          LET r == reigns[m.term][leader]
          IN  e.index <= r.committed /\ IsPrefix(Prefix(r.log, e.index), m.log)
    /\ known' = [known EXCEPT ![n] = e.index]
    /\ UNCHANGED <<memory, disk, said, crashes, outbox, taken>>

Took(e, n, m) ==
    /\ ~taken[n].writing
    /\ taken' = [taken EXCEPT ![n] = [writing |-> TRUE, image |-> m, leads |-> Leads(m), says |-> outbox[n]]]
    /\ outbox' = [outbox EXCEPT ![n] = Silence]
    /\ UNCHANGED <<memory, disk, said, crashes, known>>

Persisted(e, n, m) ==
    LET image == taken[n].image
        says == taken[n].says
        acked(t, leader, old) ==
            Max({old} \cup {a.index : a \in {a \in says.acked : a.term = t /\ a.to = leader}}
                      \cup (IF taken[n].leads /\ t = image.term /\ leader = n THEN {Len(image.log)} ELSE {}))
        touched == {a.term : a \in says.acked} \cup (IF taken[n].leads THEN {image.term} ELSE {})
    IN  /\ taken[n].writing
        /\ disk' = [disk EXCEPT ![n] = OnDisk(n, image)]
        /\ requests' = requests \cup says.requests
        /\ granted' = granted \cup says.granted
        /\ reigns' = [t \in Terms |-> IF t \in touched
                       THEN [leader \in Nodes |->
                                [reigns[t][leader] EXCEPT !.acked[n] = acked(t, leader, @)]]
                       ELSE reigns[t]]
        /\ taken' = [taken EXCEPT ![n] = NotWriting]
        /\ UNCHANGED <<memory, signed, crashes, outbox, known>>

Executed(e, n, m) ==
    /\ e.index = Len(m.ledger) + 1 /\ e.index <= known[n] /\ e.index <= Stable(n, m)
    /\ m.log[e.index].term = e.entry_term /\ m.log[e.index].data = e.data
    /\ Remember(n, [m EXCEPT !.ledger = Prefix(m.log, e.index)])
    /\ UNCHANGED <<disk, said, crashes, outbox, taken, known>>

\* The state machine of the simulation syncs when it likes; no signature leaves it, so there is none to be ahead of.
Stored(e, n, m) ==
    /\ disk' = [disk EXCEPT ![n].ledger = m.ledger]
    /\ UNCHANGED <<memory, said, crashes, outbox, taken, known>>

\* What a crash may leave on the disk: what was synced, or of what was being written any part that the contract of Ready
\* allows (consensus/rawnode.py): the new entries from the first on, the term and the vote, in either order.
Crashed(e, n, m) ==
    LET d == disk[n]
        w == taken[n]
        logs == {d.log} \cup (IF w.writing /\ e.last_index <= Len(w.image.log)
                              THEN {Prefix(w.image.log, e.last_index)} ELSE {})
        states == {<<d.term, d.vote>>} \cup (IF w.writing THEN {<<w.image.term, w.image.vote>>} ELSE {})
    IN  \E kept \in logs, s \in states :
            LET later == LastTerm(kept) > s[1]
                now == [term |-> IF later THEN LastTerm(kept) ELSE s[1], vote |-> IF later THEN Nobody ELSE s[2],
                        log |-> kept, ledger |-> d.ledger]
            IN  /\ IF kept = d.log THEN TRUE
                   ELSE \E i \in 1..Len(kept) : ~SameAt(kept, d.log, i)   \* something of the new is there
                /\ IsPrefix(d.ledger, kept)
                /\ [i \in DOMAIN kept |-> kept[i].term] = e.log
                /\ Matches(e, Restarted(now))
                /\ Len(d.ledger) = e.applied /\ e.applied <= e.committed /\ e.committed <= known[n]
                /\ Remember(n, Restarted(now))
                /\ disk' = [disk EXCEPT ![n] = now]
                /\ outbox' = [outbox EXCEPT ![n] = Silence]
                /\ taken' = [taken EXCEPT ![n] = NotWriting]
                /\ known' = [known EXCEPT ![n] = e.committed]
                /\ UNCHANGED <<said, crashes>>

Line(e, n, m) ==
    /\ CASE e.event = "campaign" -> Campaigned(e, n, m)
         [] e.event = "grant" -> Granted(e, n, m)
         [] e.event = "follow" -> Followed(e, n, m)
         [] e.event = "win" -> Won(e, n, m)
         [] e.event \in {"append", "change"} -> Appended(e, n, m)
         [] e.event = "receive" -> Received(e, n, m)
         [] e.event = "commit" -> Committed(e, n, m)
         [] e.event = "learn" -> Learned(e, n, m)
         [] e.event = "take" -> Took(e, n, m)
         [] e.event = "persist" -> Persisted(e, n, m)
         [] e.event = "execute" -> Executed(e, n, m)
         [] e.event = "store" -> Stored(e, n, m)
         [] e.event = "restart" -> Crashed(e, n, m)
    /\ Matches(e, memory'[n])

TraceNext ==
    /\ line <= Len(Trace)
    /\ LET e == Trace[line] IN Line(e, e.node, memory[e.node])
    /\ line' = line + 1

TraceSpec == TraceInit /\ [][TraceNext]_traceVars

\* TLC is asked to find this violated: that is the trace, accepted to its end.
Unfinished == line <= Len(Trace)
=============================================================================
