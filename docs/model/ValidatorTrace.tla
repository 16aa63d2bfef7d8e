--------------------------- MODULE ValidatorTrace ---------------------------
(***************************************************************************)
(* Is a run of whole validators a behaviour of Comity?  The trace is a     *)
(* list of what they did to their order, their ledger and their            *)
(* signatures, in order, from the simulator (tests/model/validators.py);   *)
(* module TraceData, generated, holds it.                                  *)
(*                                                                         *)
(* CoreTrace.tla is about how an order comes about: votes, terms, messages.*)
(* Here it is what is done with it: what is committed when it is executed, *)
(* by which configuration; executed from the own disk, in order, once;     *)
(* signed when it is executed and on the disk; final when enough of each   *)
(* authority have signed the same.  Terms are those of the entries alone.  *)
(*                                                                         *)
(* A log is written here as in Comity; one reign stands for the order that *)
(* everybody agrees on, so that the invariants say of it what they say of  *)
(* any.  What a root of the implementation is a root of, the trace says    *)
(* when it is executed first: after that nobody may have another.          *)
(***************************************************************************)
EXTENDS Comity, TraceData

VARIABLES
    line,    \* the next line of the trace
    rootOf   \* by place in the order: the root that the ledger has after it

traceVars == <<vars, line, rootOf>>

Recorder == CHOOSE n \in Nodes : TRUE
Agreed == reigns[1][Recorder].log
Agree(s) == reigns' = [reigns EXCEPT ![1][Recorder].log = s, ![1][Recorder].committed = Len(s)]

TraceInit == Init /\ line = 1 /\ rootOf = <<>>

Entries(ids) == [i \in DOMAIN ids |-> Table[ids[i]]]
Log(n) == memory[n].log
Holding(s) == {n \in Honest : IsPrefix(s, disk[n].log)}

\* A change that may follow this configuration: one voter more or less, any set of voters jointly, or the end of a joint one.
Follows(e, c) ==
    /\ EachAuthority(e.new)
    /\ \/ c.old = {} /\ e.old = {} /\ Differ(c.new, e.new) <= 1
       \/ c.old = {} /\ e.old = c.new
       \/ c.old # {} /\ e.new = c.new /\ e.old = {}

Remembered(e, n) ==
    LET s == Prefix(Log(n), e.first - 1) \o Entries(e.entries)
    IN  /\ e.first <= Len(Log(n)) + 1
        \* What it has executed it does not give up.
        /\ e.first > Len(memory[n].ledger)
        /\ \A i \in e.first..Len(s) : s[i].kind = "change" => Follows(s[i], Configuration(Prefix(s, i - 1)))
        /\ memory' = [memory EXCEPT ![n].log = s]
        /\ UNCHANGED <<disk, said, crashes, rootOf>>

Stored(e, n) ==
    /\ disk' = [disk EXCEPT ![n].log = Log(n)]
    /\ UNCHANGED <<memory, said, crashes, rootOf>>

\* A snapshot says what was agreed, up to a place, and leads on: never back before what is executed.  The ledger that came
\* with it stands there already; of the order, what was behind that is kept where it goes on from there.
TookSnapshot(e, n) ==
    LET ledger == Prefix(Agreed, e.index)
        s == ledger \o (IF e.keeps THEN SubSeq(Log(n), e.index + 1, Len(Log(n))) ELSE <<>>)
    IN  /\ e.index <= Len(Agreed) /\ e.index >= Len(disk[n].ledger)
        /\ memory' = [memory EXCEPT ![n].log = s, ![n].ledger = ledger]
        /\ disk' = [disk EXCEPT ![n].log = s, ![n].ledger = ledger]
        /\ UNCHANGED <<said, crashes, rootOf>>

\* By the configuration that a leader may have had in force: that of some log that has the entry, up to there or further.
MayBeCommitted(s) ==
    \E l \in Honest : /\ IsPrefix(s, Log(l))
                      /\ \E j \in Len(s)..Len(Log(l)) : Commits(Holding(s), Configuration(Prefix(Log(l), j)))

Executed(e, n) ==
    LET s == Prefix(Log(n), e.index)
    IN  /\ e.index = Len(memory[n].ledger) + 1
        /\ IsPrefix(s, disk[n].log) /\ Len(s) = e.index
        /\ IF e.index <= Len(Agreed) THEN IsPrefix(s, Agreed) /\ UNCHANGED reigns
           ELSE IsPrefix(Agreed, s) /\ MayBeCommitted(s) /\ Agree(s)
        /\ IF e.index <= Len(rootOf) THEN rootOf[e.index] = e.root /\ UNCHANGED rootOf
           ELSE rootOf' = Append(rootOf, e.root)
        /\ memory' = [memory EXCEPT ![n].ledger = s]
        /\ disk' = [disk EXCEPT ![n].ledger = s]
        /\ UNCHANGED <<requests, granted, signed, crashes>>

\* What of its disk survived, and where its ledger then stands: never less than it had executed or a snapshot brought,
\* and with the root that everybody else has there.
CameBack(e, n) ==
    LET s == Entries(e.entries)
    IN  /\ e.applied <= Len(s) /\ e.applied >= Len(disk[n].ledger)
        /\ IsPrefix(Prefix(s, e.applied), Agreed)
        /\ IF e.applied = 0 THEN TRUE ELSE rootOf[e.applied] = e.root
        /\ memory' = [memory EXCEPT ![n].log = s, ![n].ledger = Prefix(s, e.applied)]
        /\ disk' = [disk EXCEPT ![n].log = s, ![n].ledger = Prefix(s, e.applied)]
        /\ UNCHANGED <<said, crashes, rootOf>>

\* What it has executed, it has on its disk, and it is this root.
Cosigned(e, n) ==
    /\ e.index \in DOMAIN rootOf /\ rootOf[e.index] = e.root
    /\ e.index <= Len(disk[n].ledger)
    /\ signed' = signed \cup {[by |-> n, root |-> Root(Prefix(Agreed, e.index))]}
    /\ UNCHANGED <<memory, disk, requests, granted, reigns, crashes, rootOf>>

\* A note that is kept as final: it is of this root, everybody in it has signed that, and it is final by Comity's rule.
Final(e, n) ==
    LET root == Root(Prefix(Agreed, e.index))
    IN  /\ e.index \in DOMAIN rootOf /\ rootOf[e.index] = e.root
        /\ \A A \in Authorities : Cardinality(e.signers \cap A \cap Signers(root)) >= CosignersNeeded
        /\ UNCHANGED <<vars, rootOf>>

Line(e, n) ==
    CASE e.event = "remember" -> Remembered(e, n)
      [] e.event = "store" -> Stored(e, n)
      [] e.event = "snapshot" -> TookSnapshot(e, n)
      [] e.event = "execute" -> Executed(e, n)
      [] e.event = "restart" -> CameBack(e, n)
      [] e.event = "cosign" -> Cosigned(e, n)
      [] e.event = "final" -> Final(e, n)

TraceNext ==
    /\ line <= Len(Trace)
    /\ LET e == Trace[line] IN Line(e, e.node)
    /\ line' = line + 1

TraceSpec == TraceInit /\ [][TraceNext]_traceVars

\* TLC is asked to find this violated: that is the trace, accepted to its end.
Unfinished == line <= Len(Trace)
=============================================================================
