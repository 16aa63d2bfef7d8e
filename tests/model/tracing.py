"""A recorded run as a module of the model, and TLC's verdict on it.

Accepted means: TLC went along the whole trace, every line being a step that the model allows, and every invariant held
on the way. TLC says so by finding `Unfinished` violated; that is the last of the invariants, so that whatever else is
violated in the same state comes first. Where a trace is refused, the depth of the search is the line that no step
explains.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.model.checker import check
from tests.model.recording import Line
from tests.model.validators import Recording

# Log matching compares every pair of logs at every step, too much for long traces; the simulation checks it itself.
INVARIANTS = (
    "ElectionSafety",
    "OneVote",
    "LeaderCompleteness",
    "CommittedForEver",
    "LedgersAgree",
    "OnADiskOfEach",
    "ConfigurationsKeepBoth",
    "ExecutedStays",
)
# Of what validators did with the order: what their signatures make final as well.
INVARIANTS_OF_VALIDATORS = (
    "LedgersAgree",
    "OnADiskOfEach",
    "ConfigurationsKeepBoth",
    "ExecutedStays",
    "HonestNeverContradict",
    "FinalAgreement",
)
ACCEPTED = "Unfinished"
# Fields that are sets in the model, though lists in a line.
SETS = ("new", "old", "signers")


@dataclass(frozen=True, slots=True)
class Verdict:
    accepted: bool
    # How many lines were explained, and the invariant that broke, if one did.
    explained: int
    violated: str | None
    cpu_s: float


def tla(value: Any, *, as_set: bool = False) -> str:
    """A value of JSON as a constant of TLA+."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, list):
        inner = ", ".join(tla(item) for item in value)
        return "{" + inner + "}" if as_set else "<<" + inner + ">>"
    if isinstance(value, dict):
        return "[" + ", ".join(f"{key} |-> {tla(item, as_set=key in SETS)}" for key, item in value.items()) + "]"
    raise TypeError(f"no constant for {type(value).__name__}")


def module(lines: list[Line], table: list[dict[str, Any]] | None = None) -> str:
    """`table`: entries that the lines name by number."""
    text = "---- MODULE TraceData ----\n"
    for name, values in (("Table", table), ("Trace", lines)):
        if values is not None:
            body = ",\n  ".join(tla(value) for value in values)
            text += f"{name} == <<\n  {body}\n>>\n"
    return text + "====\n"


def configuration(genesis: dict[str, Any], max_term: int, invariants: tuple[str, ...]) -> str:
    authorities = "{" + ", ".join(tla(side, as_set=True) for side in genesis["authorities"]) + "}"
    constants = {
        "Nodes": tla(genesis["nodes"], as_set=True),
        "Authorities": authorities,
        "GenesisNew": tla(genesis["new"], as_set=True),
        "GenesisOld": tla(genesis["old"], as_set=True),
        "Targets": "{}",
        "Liars": "{}",
        "CosignersNeeded": "1",
        "MaxTerm": str(max_term),
        "MaxLog": "0",
        "MaxData": "0",
        "MaxCrashes": "0",
        "Broken": '"nothing"',
    }
    text = "SPECIFICATION TraceSpec\nCONSTANTS\n"
    text += "".join(f"  {name} = {value}\n" for name, value in constants.items())
    return text + "INVARIANTS " + " ".join((*invariants, ACCEPTED)) + "\n"


def judge(genesis: dict[str, Any], lines: list[Line], *, timeout_s: float | None = None) -> Verdict:
    """Of a run of the core."""
    max_term = max(1, *(line["term"] for line in lines))
    text = configuration(genesis, max_term, INVARIANTS)
    return _verdict("CoreTrace", text, module(lines), len(lines), timeout_s)


def judge_validators(recording: Recording, *, timeout_s: float | None = None) -> Verdict:
    """Of a run of whole validators."""
    text = configuration(recording.genesis, 1, INVARIANTS_OF_VALIDATORS)
    data = module(recording.lines, recording.table)
    return _verdict("ValidatorTrace", text, data, len(recording.lines), timeout_s)


def _verdict(name: str, text: str, data: str, lines: int, timeout_s: float | None) -> Verdict:
    result = check(name, text, modules={"TraceData": data}, workers=1, timeout_s=timeout_s)
    # Each state but the first is a line; the depth counts states.
    explained = max(result.depth - 1, 0)
    if result.violated == ACCEPTED:
        return Verdict(True, lines, None, result.cpu_s)
    return Verdict(False, explained, result.violated, result.cpu_s)
