------------------------------- MODULE Comity -------------------------------
(***************************************************************************)
(* How two authorities keep one log: ordering (Raft, thesis chapters 3 and *)
(* 4, with the commit rule of consensus/quorum.py), execution, cosigning,  *)
(* changes of the membership, crashes that lose what was not synced, and   *)
(* an authority that lies.                                                 *)
(*                                                                         *)
(* There is no bag of messages.  A message says what its sender held at    *)
(* some moment; whatever was once said may arrive late, twice, or never.   *)
(* So what was said is kept, and only grows: `requests`, `granted`, and    *)
(* for each term and leader its longest log, who acknowledged how much of  *)
(* it, and how much of it the leader said is committed (`reigns`).  That   *)
(* gives loss, delay, reordering and doubling for nothing.                 *)
(*                                                                         *)
(* What a machine does is written as operators from its memory to its next *)
(* memory (After...).  Spec puts them together for exhaustive checking;    *)
(* CoreTrace.tla puts the same ones together, one by one, along a trace of *)
(* the implementation.  README.md says what follows, and what is left out. *)
(***************************************************************************)
EXTENDS Integers, Sequences, FiniteSets, TLC

CONSTANTS
    Nodes,          \* all machines, by name
    Authorities,    \* the validators of each authority: a set of disjoint sets; whoever is in none is a witness
    GenesisNew,     \* the voters in the beginning
    GenesisOld,     \* those that are being left: {} unless the network begins in a joint configuration
    Targets,        \* the sets of voters to which both authorities have agreed to change
    Liars,          \* machines that may say anything their own keys can sign
    CosignersNeeded,\* how many validators of each authority have to cosign (the policy; "any" is 1)
    MaxTerm, MaxLog, MaxData, MaxCrashes,
    Broken          \* "nothing", or the rule that is left out, to see the invariants bite

VARIABLES
    memory,         \* of each honest machine: term, vote, role, log, match, ledger
    disk,           \* what of it is synced: term, vote, log, ledger
    \* What was said, and cannot be taken back.
    requests, granted, reigns, signed,
    crashes

said == <<requests, granted, reigns, signed>>
vars == <<memory, disk, said, crashes>>

Honest == Nodes \ Liars
Nobody == "nobody"
Terms  == 1..MaxTerm

Min(S) == CHOOSE x \in S : \A y \in S : x <= y
Max(S) == CHOOSE x \in S : \A y \in S : x >= y
Larger(a, b) == IF a > b THEN a ELSE b
Prefix(s, n) == SubSeq(s, 1, n)
IsPrefix(s, t) == Len(s) <= Len(t) /\ s = Prefix(t, Len(s))
Consistent(s, t) == IF Len(s) <= Len(t) THEN IsPrefix(s, t) ELSE IsPrefix(t, s)
LastTerm(s) == IF s = <<>> THEN 0 ELSE s[Len(s)].term
SameAt(s, t, i) == IF i = 0 THEN TRUE ELSE i <= Len(s) /\ i <= Len(t) /\ s[i].term = t[i].term

-----------------------------------------------------------------------------
(* Entries and configurations. *)

Empty(t)            == [term |-> t, kind |-> "empty", data |-> Nobody, new |-> {}, old |-> {}]
Data(t, d)          == [term |-> t, kind |-> "data", data |-> d, new |-> {}, old |-> {}]
Change(t, new, old) == [term |-> t, kind |-> "change", data |-> Nobody, new |-> new, old |-> old]

Changes(s) == {i \in DOMAIN s : s[i].kind = "change"}
\* Thesis section 4.1: the last change in the log is in force, committed or not.
Configuration(s) ==
    IF Changes(s) = {} THEN [new |-> GenesisNew, old |-> GenesisOld]
    ELSE LET e == s[Max(Changes(s))] IN [new |-> e.new, old |-> e.old]
PreviousConfiguration(s) ==
    IF Changes(s) = {} THEN Configuration(s) ELSE Configuration(Prefix(s, Max(Changes(s)) - 1))

Differ(a, b) == Cardinality((a \ b) \cup (b \ a))
EachAuthority(Q) == \A A \in Authorities : Q \cap A # {}
Majority(Q, voters) == 2 * Cardinality(Q \cap voters) > Cardinality(voters)

Halves(c) == IF c.old = {} \/ Broken = "joint_counts_only_new" THEN {c.new} ELSE {c.new, c.old}
Elects(Q, c)  == \A voters \in Halves(c) : Majority(Q, voters)
\* The commit rule: a majority, and a voter of each authority.
Commits(Q, c) == \A voters \in Halves(c) :
    Majority(Q, voters) /\ (Broken = "no_authority_rule" \/ EachAuthority(Q \cap voters))

Permitted(c, target) ==
    /\ c.old = {} /\ target # c.new
    /\ Broken = "authority_may_go" \/ EachAuthority(target)
\* One voter more or less is a change by itself; anything else goes through a joint configuration.
ChangeTo(t, c, target) ==
    IF Differ(c.new, target) = 1 \/ Broken = "never_joint" THEN Change(t, target, {}) ELSE Change(t, target, c.new)

-----------------------------------------------------------------------------
(* What a machine knows, given its memory `m`. *)

NoMatch == [by |-> Nobody, index |-> 0]
NoReign == [log |-> <<>>, acked |-> [n \in Honest |-> 0], committed |-> 0]

Leads(m) == m.role = "leader"
\* How much of its log a machine knows to be committed.
CommittedLen(n, m) == IF Leads(m) THEN Larger(reigns[m.term][n].committed, Len(m.ledger)) ELSE Len(m.ledger)
InForce(n, m) == IF Broken = "change_in_force_when_committed"
                 THEN Configuration(Prefix(m.log, CommittedLen(n, m))) ELSE Configuration(m.log)
Pending(n, m) == IF Changes(m.log) = {} THEN FALSE ELSE Max(Changes(m.log)) > CommittedLen(n, m)
Voters(c) == c.new \cup c.old
Promotable(n, m) ==
    n \in Voters(InForce(n, m)) \/ (Pending(n, m) /\ n \in Voters(PreviousConfiguration(m.log)))
\* Where this leader's term begins in its log.
Opening(m) == Min({i \in DOMAIN m.log : m.log[i].term = m.term})

Init ==
    /\ memory = [n \in Honest |-> [term |-> 0, vote |-> Nobody, role |-> "follower", log |-> <<>>,
                                   match |-> NoMatch, ledger |-> <<>>]]
    /\ disk = [n \in Honest |-> [term |-> 0, vote |-> Nobody, log |-> <<>>, ledger |-> <<>>]]
    /\ requests = {}
    /\ granted = {}
    /\ reigns = [t \in Terms |-> [n \in Honest |-> NoReign]]
    /\ signed = {}
    /\ crashes = 0

-----------------------------------------------------------------------------
(* Elections (thesis sections 3.4 and 3.6.1).  Anybody may lose patience at any time: PreVote, leases and CheckQuorum *)
(* make elections rarer, never safer.                                                                                 *)

EnterTerm(m, t) == [m EXCEPT !.term = t, !.vote = IF t > m.term THEN Nobody ELSE @,
                             !.role = "follower", !.match = IF t > m.term THEN NoMatch ELSE @]

CanCampaign(n, m, t) == ~Leads(m) /\ t > m.term /\ Promotable(n, m)
AfterCampaign(n, m, t) == [EnterTerm(m, t) EXCEPT !.vote = n, !.role = "candidate"]

UpToDate(r, s) == r.last_term > LastTerm(s) \/ (r.last_term = LastTerm(s) /\ r.last_index >= Len(s))
CanGrant(n, m, r) ==
    /\ r.by # n /\ r.term >= m.term
    /\ r.term = m.term => m.role = "follower" /\ m.vote \in {Nobody, r.by}
    /\ Broken = "any_log_may_lead" \/ UpToDate(r, m.log)
AfterGrant(m, r) == [EnterTerm(m, r.term) EXCEPT !.vote = r.by]

\* Liars vote for anybody, as often as they like.
VotesFor(n, t) == {g.from : g \in {g \in granted : g.term = t /\ g.to = n}} \cup Liars
CanWin(n, m) == m.role = "candidate" /\ Elects(VotesFor(n, m.term), InForce(n, m))
AfterWin(m) == [m EXCEPT !.role = "leader", !.log = @ \o <<Empty(m.term)>>]

-----------------------------------------------------------------------------
(* Leading (sections 3.5, 3.6.2, 4.1 to 4.3).  What a leader appends leaves before its own disk has it (10.2.1). *)

Extended(m, e) == [m EXCEPT !.log = @ \o <<e>>]

CanChange(n, m, target) ==
    /\ Leads(m)
    /\ Broken = "change_before_own_commit" \/ reigns[m.term][n].committed >= Opening(m)
    /\ Broken = "two_changes_at_once" \/ ~Pending(n, m)
    /\ Permitted(Configuration(m.log), target)
CanLeaveJoint(n, m) ==
    /\ Leads(m) /\ ~Pending(n, m) /\ Configuration(m.log).old # {}
    /\ reigns[m.term][n].committed >= Opening(m)

\* Liars acknowledge anything.
Holders(n, t, i) == {o \in Honest : reigns[t][n].acked[o] >= i} \cup Liars
CanCommit(n, m, i) ==
    /\ Leads(m) /\ i > reigns[m.term][n].committed /\ i <= Len(m.log)
    /\ Broken = "older_terms_counted" \/ m.log[i].term = m.term
    /\ Commits(Holders(n, m.term, i), InForce(n, m))

-----------------------------------------------------------------------------
(* Following.  What `leader` of term `t` once sent is heard: its log after `p` up to `j`. *)

Merge(own, theirs, p, j) ==
    LET conflicts == {i \in (p + 1)..j : ~SameAt(own, theirs, i)}
    IN  IF conflicts = {} THEN own ELSE Prefix(own, Min(conflicts) - 1) \o SubSeq(theirs, Min(conflicts), j)

\* Nothing that is known to be committed is ever cut off.
Floor(m) == IF Broken = "cuts_what_is_committed" THEN 0 ELSE Len(m.ledger)

CanHear(n, m, t, leader) ==
    /\ leader # n /\ reigns[t][leader].log # <<>>
    /\ t > m.term \/ (t = m.term /\ ~Leads(m))
CanReceive(m, theirs, p, j) ==
    /\ p \in Floor(m)..Len(m.log) /\ p <= j /\ j <= Len(theirs)
    /\ SameAt(m.log, theirs, p)
AfterReceive(m, t, leader, p, j) ==
    LET e == EnterTerm(m, t)
    IN  [e EXCEPT !.log = Merge(@, reigns[t][leader].log, p, j),
                  !.match = [by |-> leader, index |-> IF @.by = leader THEN Larger(@.index, j) ELSE j]]

-----------------------------------------------------------------------------
(* The disk.  One batch writes all, and what may be said only then is said. *)

WhatIsAsked(n, m) ==
    IF m.role = "candidate"
    THEN {[term |-> m.term, by |-> n, last_term |-> LastTerm(m.log), last_index |-> Len(m.log)]} ELSE {}
WhatIsGranted(n, m) == IF m.vote = Nobody THEN {} ELSE {[term |-> m.term, from |-> n, to |-> m.vote]}
WithAcknowledged(r, n, m) ==
    IF m.role = "leader" THEN [r EXCEPT ![m.term][n].acked[n] = Larger(@, Len(m.log))]
    ELSE IF m.match.by = Nobody THEN r
    ELSE [r EXCEPT ![m.term][m.match.by].acked[n] = Larger(@, m.match.index)]
OnDisk(n, m) == [disk[n] EXCEPT !.term = m.term, !.vote = IF Broken = "vote_not_persisted" THEN @ ELSE m.vote,
                                !.log = m.log]

\* All that was said after the write of `m`, by a machine whose next memory may be a later one.
Said(n, m) ==
    /\ requests' = requests \cup WhatIsAsked(n, m)
    /\ granted' = granted \cup WhatIsGranted(n, m)
    /\ reigns' = WithAcknowledged(reigns, n, m)

Persist(n, m) ==
    /\ disk' = [disk EXCEPT ![n] = OnDisk(n, m)]
    /\ Said(n, m)
    /\ UNCHANGED <<memory, signed, crashes>>

\* A machine that is to answer what it was told: it remembers, writes, syncs, and answers, in one step.  Nobody can tell
\* where in between it crashed: nothing of it was heard.
RememberAndPersist(n, m) ==
    /\ memory' = [memory EXCEPT ![n] = m]
    /\ \/ disk' = [disk EXCEPT ![n] = OnDisk(n, m)]
       \/ Broken = "acknowledge_before_sync" /\ disk' = disk
    /\ Said(n, m)
    /\ UNCHANGED <<signed, crashes>>

\* A leader speaks first and writes later.  What it knew to be committed when it was elected, it says from the first.
RememberAndSend(n, m, committed) ==
    /\ memory' = [memory EXCEPT ![n] = m]
    /\ reigns' = [reigns EXCEPT ![m.term][n].log = m.log, ![m.term][n].committed = Larger(@, committed)]
    /\ UNCHANGED <<disk, requests, granted, signed, crashes>>

Synced(n) == /\ disk[n].term = memory[n].term /\ disk[n].vote = memory[n].vote
             /\ disk[n].log = memory[n].log /\ disk[n].ledger = memory[n].ledger

Restarted(d) == [term |-> d.term, vote |-> d.vote, role |-> "follower", log |-> d.log,
                 match |-> NoMatch, ledger |-> d.ledger]

\* Only who has something in memory that is not on disk loses anything by it.
Crash(n) ==
    /\ crashes < MaxCrashes
    /\ ~Synced(n)
    /\ crashes' = crashes + 1
    /\ memory' = [memory EXCEPT ![n] = Restarted(disk[n])]
    /\ UNCHANGED <<disk, said>>

-----------------------------------------------------------------------------
(* Execution and cosigning. *)

\* The root stands for the statements in their order; empty entries and changes leave no trace in it.
RECURSIVE Root(_)
Root(s) == IF s = <<>> THEN <<>>
           ELSE IF s[Len(s)].kind = "data" THEN Root(Prefix(s, Len(s) - 1)) \o <<s[Len(s)].data>>
           ELSE Root(Prefix(s, Len(s) - 1))

\* What the leader said is committed, as far as it is known to be the same here; no further than the own disk has it.
Stable(n, m) == Max({i \in 0..Len(m.log) : IsPrefix(Prefix(m.log, i), disk[n].log)})
Executable(n, m) ==
    LET known == IF Leads(m) THEN reigns[m.term][n].committed
                 ELSE IF m.match.by = Nobody THEN 0
                 ELSE LET c == reigns[m.term][m.match.by].committed IN IF c < m.match.index THEN c ELSE m.match.index
    IN  IF known <= Len(m.ledger) THEN 0 ELSE LET s == Stable(n, m) IN IF known < s THEN known ELSE s

\* Executed, and written with what is about to be signed, in one synced batch; then signed.  Whoever is slow to sign or
\* skips a size has said less: it could only contradict less.
ExecuteTo(n, i) ==
    LET now == Prefix(memory[n].log, i)
    IN  /\ memory' = [memory EXCEPT ![n].ledger = now]
        /\ disk' = [disk EXCEPT ![n].ledger = IF Broken = "sign_before_persist" THEN @ ELSE now]
        /\ signed' = IF Root(now) = <<>> THEN signed ELSE signed \cup {[by |-> n, root |-> Root(now)]}
        /\ UNCHANGED <<requests, granted, reigns, crashes>>

-----------------------------------------------------------------------------
(* Whoever lies can be heard as a leader in any term, with any log, for any commit index; a follower takes from it what *)
(* consensus/raft.py takes: nothing below what it knows to be committed, and no change that was not agreed.             *)

LiarData == {"lie-1", "lie-2"}

LiarEntries(m, t, p) ==
    LET c == Configuration(Prefix(m.log, p))
        agreed == IF Broken = "change_not_authorised" THEN SUBSET Nodes \ {{}} ELSE {T \in Targets : Permitted(c, T)}
    IN  {Data(t, d) : d \in LiarData} \cup
        (IF c.old # {} THEN {Change(t, c.new, {})} ELSE {ChangeTo(t, c, target) : target \in agreed})

CanHearLiar(m, t, p, e) ==
    /\ t >= m.term /\ (t = m.term => ~Leads(m))
    /\ p \in Floor(m)..Len(m.log)
    \* The same index and term: taken for what is there.
    /\ IF p = Len(m.log) THEN TRUE ELSE m.log[p + 1].term # e.term
AfterHearLiar(m, t, p, e) == [EnterTerm(m, t) EXCEPT !.log = Prefix(@, p) \o <<e>>, !.match = NoMatch]

LiarSigns(n) ==
    \E s \in signed :
        /\ s.by \in Honest /\ [by |-> n, root |-> s.root] \notin signed
        /\ signed' = signed \cup {[by |-> n, root |-> s.root]}
        /\ UNCHANGED <<memory, disk, requests, granted, reigns, crashes>>

-----------------------------------------------------------------------------
(* Everything that can happen, within the bounds. *)

Room(m) == Len(m.log) < MaxLog
DataIn(s) == Cardinality({i \in DOMAIN s : s[i].kind = "data"})

\* The newest place where the logs meet: by log matching, an older one leads to the same.
Hear(n, m) == \E t \in {t \in Terms : t >= m.term}, leader \in Honest :
    /\ CanHear(n, m, t, leader)
    /\ LET theirs == reigns[t][leader].log
       IN  \E j \in 0..Len(theirs) :
             LET matching == {p \in Floor(m)..Len(m.log) : CanReceive(m, theirs, p, j)}
                 after == AfterReceive(m, t, leader, Max(matching), j)
             IN  matching # {} /\ after # m /\ RememberAndPersist(n, after)

Step(n, m) ==
    \/ ~Synced(n) /\ Persist(n, m)
    \/ Crash(n)
    \/ \E t \in Terms : CanCampaign(n, m, t) /\ RememberAndPersist(n, AfterCampaign(n, m, t))
    \* Again only in a later term: one and the same machine may be chosen twice.
    \/ \E r \in requests : (r.term > m.term \/ m.vote # r.by) /\ CanGrant(n, m, r) /\ RememberAndPersist(n, AfterGrant(m, r))
    \/ Room(m) /\ CanWin(n, m) /\ RememberAndSend(n, AfterWin(m), Len(m.ledger))
    \/ Room(m) /\ Leads(m) /\ DataIn(m.log) < MaxData /\ RememberAndSend(n, Extended(m, Data(m.term, n)), 0)
    \/ Room(m) /\ \E target \in Targets :
          CanChange(n, m, target) /\ RememberAndSend(n, Extended(m, ChangeTo(m.term, Configuration(m.log), target)), 0)
    \/ Room(m) /\ CanLeaveJoint(n, m)
          /\ RememberAndSend(n, Extended(m, Change(m.term, Configuration(m.log).new, {})), 0)
    \/ \E i \in 1..Len(m.log) :
          /\ CanCommit(n, m, i)
          /\ reigns' = [reigns EXCEPT ![m.term][n].committed = i]
          /\ UNCHANGED <<memory, disk, requests, granted, signed, crashes>>
    \/ Hear(n, m)
    \/ LET i == Executable(n, m) IN i > Len(m.ledger) /\ ExecuteTo(n, i)
    \/ /\ Liars # {} /\ ~Leads(m)
       /\ \/ \E t \in {t \in Terms : t >= m.term}, p \in 0..(MaxLog - 1) :
                /\ p \in Floor(m)..Len(m.log)
                /\ \E e \in LiarEntries(m, t, p) :
                     CanHearLiar(m, t, p, e) /\ RememberAndPersist(n, AfterHearLiar(m, t, p, e))
          \/ \E i \in (Len(m.ledger) + 1)..Stable(n, m) : ExecuteTo(n, i)

Next ==
    \/ \E n \in Honest : Step(n, memory[n])
    \/ \E n \in Liars : LiarSigns(n)

Spec == Init /\ [][Next]_vars

\* Machines of which nothing distinguishes one from the other may trade places.
Image(f, S) == {f[n] : n \in S}
Symmetries == {f \in Permutations(Nodes) :
    /\ {Image(f, A) : A \in Authorities} = Authorities
    /\ Image(f, GenesisNew) = GenesisNew /\ Image(f, GenesisOld) = GenesisOld /\ Image(f, Liars) = Liars
    /\ {Image(f, T) : T \in Targets} = Targets}

-----------------------------------------------------------------------------
(* What must always hold.  The first group takes everybody to be honest. *)

Reigns == {r \in Terms \X Honest : reigns[r[1]][r[2]].log # <<>>}
CommittedOf(r) == Prefix(reigns[r[1]][r[2]].log, reigns[r[1]][r[2]].committed)

\* At most one leader in a term.
ElectionSafety == \A a, b \in Reigns : a[1] = b[1] => a = b

\* One vote in a term, of those that left.
OneVote == \A a, b \in granted : (a.term = b.term /\ a.from = b.from) => a.to = b.to

LogsMatch(s, t) ==
    \A i \in 1..(IF Len(s) < Len(t) THEN Len(s) ELSE Len(t)) : s[i].term = t[i].term => Prefix(s, i) = Prefix(t, i)
LogMatching == \A a, b \in Reigns : LogsMatch(reigns[a[1]][a[2]].log, reigns[b[1]][b[2]].log)

\* What was committed in one term is in the log of every later leader (section 3.6.3).
LeaderCompleteness == \A a, b \in Reigns : a[1] < b[1] => IsPrefix(CommittedOf(a), reigns[b[1]][b[2]].log)

\* What is committed never becomes something else.
CommittedForEver == \A a, b \in Reigns : Consistent(CommittedOf(a), CommittedOf(b))

\* No two ledgers say different things (promise 3).
LedgersAgree == \A a, b \in Honest : Consistent(memory[a].ledger, memory[b].ledger)

\* Nothing is committed without a copy on a synced disk of each authority, and it stays there (promises 1 and 4).
OnDisks(s) == {n \in Honest : IsPrefix(s, disk[n].log)}
OnADiskOfEach == \A r \in Reigns : reigns[r[1]][r[2]].committed = 0 \/ EachAuthority(OnDisks(CommittedOf(r)))

\* Every membership that anybody acts upon has a voter of each authority (promise 1).
ConfigurationsKeepBoth == \A n \in Honest :
    LET c == InForce(n, memory[n]) IN EachAuthority(c.new) /\ (c.old = {} \/ EachAuthority(c.old))

\* A checkpoint is final when enough validators of each authority have cosigned it.
Signers(root) == {s.by : s \in {s \in signed : s.root = root}}
FinalRoots == {root \in {s.root : s \in signed} :
                  \A A \in Authorities : Cardinality(Signers(root) \cap A) >= CosignersNeeded}

\* Two final checkpoints never contradict each other (promise 3).
FinalAgreement == \A a, b \in FinalRoots : Consistent(a, b)

(* The second group holds whatever the liars do. *)

\* No honest validator ever contradicts what it signed: it can be blamed for nothing.
HonestNeverContradict ==
    \A a, b \in signed : (a.by = b.by /\ a.by \in Honest) => Consistent(a.root, b.root)

\* What an honest validator executed it keeps, in its log and on its disk.
ExecutedStays == \A n \in Honest : IsPrefix(memory[n].ledger, memory[n].log) /\ IsPrefix(memory[n].ledger, disk[n].log)

\* What is final was executed by an honest validator.
FinalWasExecuted == \A root \in FinalRoots : Signers(root) \cap Honest # {}

\* Of two final checkpoints that contradict each other, one validator of the liar's signed both: not so, see README.md.
LiarIsNamed ==
    \A a, b \in FinalRoots : Consistent(a, b) \/ \E n \in Liars : n \in Signers(a) \cap Signers(b)

=============================================================================
