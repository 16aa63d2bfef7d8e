"""What is checked: small networks, each large enough for the rules it is there for, and the rules left out one by one.

An `Instance` holds: every state within its bounds is explored, and every invariant is true in each. A `Planted` must
not: one rule is left out of the specification (`Broken`), or one promise is asked for that cannot be given, and TLC has
to find the invariant that breaks. An invariant that nothing breaks would prove nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

# Everybody is honest: the invariants of Raft (thesis figure 3.2), the commit rule, and what follows for the ledgers.
HONEST = (
    "ElectionSafety",
    "OneVote",
    "LogMatching",
    "LeaderCompleteness",
    "CommittedForEver",
    "LedgersAgree",
    "OnADiskOfEach",
    "ConfigurationsKeepBoth",
    "FinalAgreement",
    "HonestNeverContradict",
    "ExecutedStays",
)
# What is left whatever one authority does.
AGAINST_LIARS = ("HonestNeverContradict", "ExecutedStays", "ConfigurationsKeepBoth", "FinalWasExecuted")


@dataclass(frozen=True)
class Instance:
    """Names are words in a string. `k..` are validators of one authority, `c..` of the other, `w..` witnesses."""

    name: str
    nodes: str
    genesis: str
    max_term: int
    max_log: int
    max_data: int
    max_crashes: int
    genesis_old: str = ""
    targets: tuple[str, ...] = ()
    liars: str = ""
    cosigners_needed: int = 1
    invariants: tuple[str, ...] = HONEST
    # Whether some machines are interchangeable; TLC refuses a symmetry that is none.
    symmetric: bool = True
    # 1: seconds, in CI. 2: a minute. 3: many minutes, in the full run.
    size: int = 1
    # One line for the report.
    shows: str = ""

    def authorities(self) -> tuple[str, ...]:
        return tuple(" ".join(node for node in self.nodes.split() if node.startswith(side)) for side in ("k", "c"))


@dataclass(frozen=True)
class Scenario:
    """Where to look for a violation that would take hours to come upon. Nothing that has to hold is checked like this.

    What is found among fewer behaviours is a behaviour all the same. `elections`: of each term, who campaigns and whose
    votes count. `deaf`: machines that follow nobody. `longest`: machines that hear no more than so many entries. And
    nobody executes, for what is looked for is seen before that.
    """

    elections: tuple[tuple[str, str], ...]
    deaf: str = ""
    longest: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Planted:
    """`finds`: the invariants one of which TLC has to find violated."""

    name: str
    instance: Instance
    finds: tuple[str, ...]
    # The constant of that name; "nothing" where it is a promise that goes too far, not a rule that is left out.
    broken: str = "nothing"
    scenario: Scenario | None = None
    size: int = 1
    shows: str = ""


DIRECTED = "Directed"


def directed(instance: Instance, scenario: Scenario) -> str:
    """The module that narrows the specification to a scenario."""
    candidates = ", ".join(candidate for candidate, _ in scenario.elections)
    voters = ", ".join("{" + ", ".join(names.split()) + "}" for _, names in scenario.elections)
    lines = [
        f"---- MODULE {DIRECTED} ----",
        "EXTENDS Comity",
        f"CONSTANTS {', '.join(instance.nodes.split())}",
        f"Campaigns == <<{candidates}>>",
        f"VotersOf == <<{voters}>>",
        "OnlyHere ==",
        "    /\\ \\A n \\in Honest : memory[n].ledger = <<>>",
        '    /\\ \\A n \\in Honest : memory[n].role # "candidate" \\/ n = Campaigns[memory[n].term]',
        "    /\\ \\A g \\in granted : g.from = g.to \\/ g.from \\in VotersOf[g.term]",
        *(f"    /\\ memory[{node}].match = NoMatch" for node in scenario.deaf.split()),
        *(f"    /\\ Len(memory[{node}].log) <= {most}" for node, most in scenario.longest.items()),
        "====",
    ]
    return "\n".join(lines) + "\n"


def configuration(instance: Instance, broken: str = "nothing", scenario: Scenario | None = None) -> str:
    """The text of TLC's configuration file. Machines are model values, so that they may be interchangeable.

    With a scenario they are not: it gives them parts to play.
    """

    def members(text: str) -> str:
        return "{" + ", ".join(text.split()) + "}"

    lines = ["SPECIFICATION Spec", "CONSTANTS"]
    lines += [f"  {node} = {node}" for node in instance.nodes.split()]
    lines += [
        f"  Nodes = {members(instance.nodes)}",
        "  Authorities = {" + ", ".join(members(side) for side in instance.authorities()) + "}",
        f"  GenesisNew = {members(instance.genesis)}",
        f"  GenesisOld = {members(instance.genesis_old)}",
        "  Targets = {" + ", ".join(members(target) for target in instance.targets) + "}",
        f"  Liars = {members(instance.liars)}",
        f"  CosignersNeeded = {instance.cosigners_needed}",
        f"  MaxTerm = {instance.max_term}",
        f"  MaxLog = {instance.max_log}",
        f"  MaxData = {instance.max_data}",
        f"  MaxCrashes = {instance.max_crashes}",
        f'  Broken = "{broken}"',
    ]
    if scenario is not None:
        lines.append("CONSTRAINT OnlyHere")
    elif instance.symmetric:
        lines.append("SYMMETRY Symmetries")
    lines.append("INVARIANTS " + " ".join(instance.invariants))
    return "\n".join(lines) + "\n"


CRASH = Instance(
    "crash",
    nodes="k1 c1 w1",
    genesis="k1 c1 w1",
    max_term=2,
    max_log=2,
    max_data=0,
    max_crashes=1,
    size=2,
    shows="two authorities and a witness: elections, replication, a crash that loses what was not synced",
)
CRASH_OF_TWO = replace(
    CRASH,
    name="crash, two voters",
    nodes="k1 c1",
    genesis="k1 c1",
    max_data=1,
    size=1,
    shows="one validator of each authority, with statements",
)
ONE_HONEST = Instance(
    "liar, one honest validator",
    nodes="k1 c1",
    genesis="k1 c1",
    liars="c1",
    max_term=2,
    max_log=2,
    max_data=1,
    max_crashes=1,
    symmetric=False,
    invariants=(*AGAINST_LIARS, "FinalAgreement"),
    shows="an authority lies to one validator of the other: no two final checkpoints contradict each other",
)
TWO_HONEST = Instance(
    "liar, two honest validators",
    nodes="k1 k2 c1",
    genesis="k1 k2 c1",
    liars="c1",
    max_term=1,
    max_log=1,
    max_data=1,
    max_crashes=0,
    invariants=(*AGAINST_LIARS, "LiarIsNamed"),
    shows="one lying validator against two: no honest one contradicts itself; who signed two histories is named",
)
BOTH_SIGN = replace(
    TWO_HONEST,
    name="liar, two honest validators, both have to sign",
    cosigners_needed=2,
    nodes="k1 k2 c1 c2",
    genesis="k1 k2 c1 c2",
    liars="c1 c2",
    invariants=(*AGAINST_LIARS, "FinalAgreement"),
    shows="the policy wants two of each side: no two final checkpoints contradict each other, whatever one side does",
)
TWO_OF_THREE = replace(
    BOTH_SIGN,
    name="liar, three honest validators, two have to sign",
    nodes="k1 k2 k3 c1 c2",
    genesis="k1 k2 k3 c1 c2",
    size=3,
    shows="the same, with one of three to spare",
)
GROW = Instance(
    "one voter more",
    nodes="k1 c1 k2",
    genesis="k1 c1",
    targets=("k1 c1 k2",),
    max_term=2,
    max_log=2,
    max_data=0,
    max_crashes=1,
    symmetric=False,
    size=3,
    shows="a simple change, its entry in force as soon as it is appended, through elections",
)
JOINT = Instance(
    "joint",
    nodes="k1 k2 c1 c2",
    genesis="k1 c1",
    targets=("k2 c2",),
    max_term=1,
    max_log=3,
    max_data=0,
    max_crashes=1,
    size=3,
    shows="all voters of both sides replaced at once, through a joint configuration that is then left",
)

GROW_IN_A_TERM = replace(
    GROW, name="one voter more, one term", max_term=1, max_crashes=0, size=1, shows="a simple change under one leader"
)
JOINT_IN_A_TERM = replace(
    JOINT,
    name="joint, one term",
    max_crashes=0,
    size=2,
    shows="all voters of both sides replaced, through a joint configuration that is left, under one leader",
)

INSTANCES = (
    CRASH_OF_TWO,
    CRASH,
    GROW_IN_A_TERM,
    JOINT_IN_A_TERM,
    GROW,
    JOINT,
    ONE_HONEST,
    TWO_HONEST,
    BOTH_SIGN,
    TWO_OF_THREE,
    replace(CRASH, name="crash, with data", max_data=1, size=3, shows="the same with statements in the log"),
    replace(JOINT, name="joint, two terms", max_term=2, max_crashes=0, size=3, shows="the same through elections"),
    replace(TWO_HONEST, name="liar, two honest validators, two terms", max_term=2, size=3, shows="the same, longer"),
)

_TWO = replace(CRASH, name="two voters", nodes="k1 c1", genesis="k1 c1", max_term=1, max_log=1, max_crashes=0)
_LIAR = replace(ONE_HONEST, max_log=1, max_data=0, max_crashes=0, invariants=AGAINST_LIARS)
_REPLACED = replace(JOINT, name="all replaced", max_term=2, max_log=2)

PLANTED = (
    Planted(
        "no authority rule",
        replace(_TWO, nodes="k1 k2 c1", genesis="k1 k2 c1"),
        ("OnADiskOfEach",),
        "no_authority_rule",
        shows="a majority alone commits",
    ),
    Planted(
        "vote not persisted",
        replace(CRASH, max_term=1, max_log=1, size=1),
        ("OneVote", "ElectionSafety"),
        "vote_not_persisted",
        shows="a crash forgets it, and another is given",
    ),
    Planted(
        "acknowledged before the sync",
        _TWO,
        ("OnADiskOfEach",),
        "acknowledge_before_sync",
        shows="committed, and on no disk of one authority",
    ),
    Planted(
        "any log may lead",
        replace(CRASH, max_crashes=0),
        ("LeaderCompleteness",),
        "any_log_may_lead",
        size=2,
        shows="a vote does not look at the log of the candidate",
    ),
    Planted(
        "older terms counted",
        replace(CRASH, max_term=4, max_crashes=0),
        ("LeaderCompleteness", "CommittedForEver"),
        "older_terms_counted",
        # The entry of term 1 is counted in term 3, on machines of which one then votes for what was written in term 2.
        Scenario((("k1", "c1"), ("w1", "c1"), ("k1", "c1"), ("w1", "c1")), longest={"c1": 1}),
        size=2,
        shows="figure 3.7 of the thesis",
    ),
    Planted(
        "an authority may go",
        replace(_TWO, max_log=2, targets=("k1",), symmetric=False),
        ("ConfigurationsKeepBoth",),
        "authority_may_go",
        shows="a change that leaves an authority without a voter",
    ),
    Planted(
        "change not authorised",
        replace(_LIAR, max_term=1),
        ("ConfigurationsKeepBoth",),
        "change_not_authorised",
        shows="a lying leader removes the other authority",
    ),
    Planted(
        "joint counts only the new",
        _REPLACED,
        ("LeaderCompleteness", "CommittedForEver", "LedgersAgree", "OnADiskOfEach", "ElectionSafety"),
        "joint_counts_only_new",
        # It is committed by the new ones while the disk of the leader does not have it, which then crashes.
        Scenario((("k1", "c1"), ("k1", "c1")), deaf="k1", longest={"c1": 1}),
        size=2,
        shows="the old majority is not asked",
    ),
    Planted(
        "never joint",
        _REPLACED,
        ("LeaderCompleteness", "CommittedForEver", "LedgersAgree", "OnADiskOfEach", "ElectionSafety"),
        "never_joint",
        Scenario((("k1", "c1"), ("k1", "c1")), deaf="k1", longest={"c1": 1}),
        size=2,
        shows="all voters replaced by a simple change",
    ),
    Planted(
        "two changes at once",
        replace(
            _REPLACED,
            genesis="k1 k2 c1",
            targets=("k1 k2 c1 c2", "k2 c1 c2"),
            max_log=3,
        ),
        ("LeaderCompleteness", "CommittedForEver", "LedgersAgree", "ElectionSafety"),
        "two_changes_at_once",
        # Both are committed by k2 and c2, and lost by k1, which with c1 is a majority of before.
        Scenario((("k1", "k2"), ("c1", "k1")), deaf="k1", longest={"c1": 2}),
        size=2,
        shows="a second change while the first is not committed",
    ),
    Planted(
        "change before an own commit",
        replace(
            JOINT,
            nodes="k1 k2 k3 c1 c2",
            genesis="k1 k2 c1 c2",
            targets=("k1 k2 k3 c1 c2", "k2 c1 c2"),
            max_term=3,
            max_log=3,
            max_crashes=0,
        ),
        ("LeaderCompleteness", "CommittedForEver", "LedgersAgree", "ElectionSafety"),
        "change_before_own_commit",
        # k1 adds k3, which nobody hears of; k2 removes k1 and commits that with c1; k1 is then chosen by k3 and c2,
        # three of the five that it knows. A commit of its own in term 2 would have come to c1 or c2, or to k1 itself.
        Scenario(
            (("k1", "c1 c2"), ("k2", "c1 c2"), ("k1", "c2 k3")),
            deaf="k2 k3 c2",
            longest={"k1": 2, "k2": 2, "k3": 0, "c1": 2, "c2": 0},
        ),
        size=2,
        shows="the erratum to section 4.2",
    ),
    Planted(
        "change in force when committed",
        replace(
            JOINT,
            nodes="k1 k2 c1 w1",
            genesis="k1 c1 w1",
            targets=("k2 c1",),
            max_term=2,
            max_log=4,
            max_data=1,
            max_crashes=0,
        ),
        ("LeaderCompleteness", "CommittedForEver", "LedgersAgree", "ElectionSafety"),
        "change_in_force_when_committed",
        # k2 takes the place of k1 and of the witness, and a statement is committed by the new alone. k1 has the changes
        # in its log, has not heard that they are committed, and with the witness it is a majority of before.
        Scenario((("c1", "k1"), ("k1", "w1")), deaf="c1 w1", longest={"k1": 3, "w1": 0}),
        size=2,
        shows="section 4.1 the other way round",
    ),
    Planted(
        "signed before persisted",
        replace(_LIAR, max_crashes=1),
        ("HonestNeverContradict",),
        "sign_before_persist",
        shows="a crash forgets what was signed, a liar tells another story",
    ),
    Planted(
        "what is committed is cut off",
        _LIAR,
        ("ExecutedStays", "HonestNeverContradict"),
        "cuts_what_is_committed",
        shows="a follower gives up what it executed because a leader says so",
    ),
    Planted(
        "any one of each side signs, two are lied to",
        replace(TWO_HONEST, invariants=("FinalAgreement",)),
        ("FinalAgreement",),
        shows="a promise that cannot be given: see docs/model/README.md",
    ),
    Planted(
        "the liar has a name",
        replace(BOTH_SIGN, cosigners_needed=1, invariants=("LiarIsNamed",)),
        ("LiarIsNamed",),
        shows="a promise that cannot be given: a liar with two validators signs each history with another",
    ),
)
