"""The report of a run: Markdown to show, JSON to compute with. Every figure in it was measured in that run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.chaos.checker import PROPERTIES
from tests.chaos.faults import FAULTS
from tests.chaos.history import COMMITTED, FINAL, UNKNOWN
from tests.chaos.machine import Ability
from tests.chaos.run import FaultRecord, Outcome


def summary(outcome: Outcome) -> dict[str, Any]:
    """By kind of fault: how often, the longest silence, and how long until statements were acknowledged again."""
    kinds: dict[str, Any] = {}
    for name in FAULTS:
        records = [record for record in outcome.records if record.kind == name]
        if not records:
            continue
        back = [record for record in records if record.acknowledged_after_s is not None]
        kinds[name] = {
            "injected": len(records),
            "survived": len(back),
            "silence_s": _spread([record.silent_s for record in back]),
            "acknowledged_after_healing_s": _spread([record.acknowledged_after_s or 0.0 for record in back]),
            "ready_after_healing_s": _spread([record.ready_after_s or 0.0 for record in back]),
        }
    return kinds


def _spread(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    ordered = sorted(values)
    return {"p50": round(ordered[(len(ordered) - 1) // 2], 2), "max": round(ordered[-1], 2)}


def as_json(outcome: Outcome, abilities: Mapping[str, Ability], about: Mapping[str, str]) -> dict[str, Any]:
    return {
        "holds": outcome.holds,
        "seed": outcome.seed,
        "minutes_asked": outcome.minutes,
        "planted": outcome.plant,
        "lasted_s": round(outcome.lasted_s, 1),
        **about,
        "abilities": {item.name: {"there": item.there, "reason": item.reason} for item in abilities.values()},
        "skipped": outcome.skipped,
        "faults": summary(outcome),
        "schedule": [_record(record) for record in outcome.records],
        "operations": outcome.counts,
        "latency_ms": outcome.latency_ms,
        "packets": outcome.packets,
        "logged": outcome.logged,
        "statements_on_the_log": outcome.statements,
        "archives": outcome.archives,
        "verdicts": {name: [violation.text for violation in found] for name, found in outcome.verdicts.items()},
    }


def _record(record: FaultRecord) -> dict[str, Any]:
    return {
        "round": record.round,
        "kind": record.kind,
        "what": record.what,
        "injected_s": round(record.injected_s, 2),
        "healed_s": round(record.healed_s, 2),
        "longest_silence_s": round(record.silent_s, 2),
        "acknowledged_after_healing_s": _rounded(record.acknowledged_after_s),
        "ready_after_healing_s": _rounded(record.ready_after_s),
        "notes": record.notes,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def as_markdown(outcome: Outcome, abilities: Mapping[str, Ability], about: Mapping[str, str]) -> str:
    lines = [
        f"# Chaos: {'everything held' if outcome.holds else 'VIOLATIONS'}",
        "",
        f"Seed {outcome.seed}, {outcome.lasted_s / 60:.1f} minutes, {len(outcome.records)} faults of "
        f"{len({record.kind for record in outcome.records})} kinds, {outcome.statements} statements on the log. "
        + ", ".join(f"{key}: {value}" for key, value in about.items())
        + ".",
        "",
        "## What had to hold",
        "",
        "| | property | verdict |",
        "| --- | --- | --- |",
    ]
    for name, found in outcome.verdicts.items():
        verdict = "holds" if not found else f"**violated {len(found)} times**"
        lines.append(f"| {name} | {PROPERTIES[name][0]} | {verdict} |")
    lines += [f"- `{violation.name}`: {violation.text}" for found in outcome.verdicts.values() for violation in found]
    lines += ["", "## Faults", "", _FAULT_HEAD, "| --- | --- | --: | --: | --: | --: |"]
    for name, figures in summary(outcome).items():
        lines.append(
            f"| {name} | {FAULTS[name].how} | {figures['survived']} of {figures['injected']} | "
            f"{_two(figures['silence_s'])} | {_two(figures['acknowledged_after_healing_s'])} | "
            f"{_two(figures['ready_after_healing_s'])} |"
        )
    lines += [f"| {name} | {FAULTS[name].how} | skipped: {reason} | | | |" for name, reason in outcome.skipped.items()]
    lines += ["", "## This machine", "", "| ability | there | how, or why not |", "| --- | --- | --- |"]
    lines += [f"| {item.name} | {'yes' if item.there else 'no'} | {item.reason} |" for item in abilities.values()]
    lines += ["", "## Operations", "", "| operation | result | number |", "| --- | --- | --: |"]
    for name, count in outcome.counts.items():
        operation, _, result = name.partition(" ")
        lines.append(f"| {operation} | {result} | {count} |")
    latency = ", ".join(f"{name} {value} ms" for name, value in outcome.latency_ms.items())
    lines += ["", f"Acknowledged after (all faults included): {latency}.", ""]
    lines.append(f"Packets through the switch: {', '.join(f'{n} {k}' for k, n in outcome.packets.items()) or 'none'}.")
    lines += ["", "## What validators said", "", "| level and event | times |", "| --- | --: |"]
    lines += [f"| {event} | {count} |" for event, count in outcome.logged.items()]
    lines += ["", "## Schedule", "", "| round | from s | to s | fault | silence s | back s | |", _SCHEDULE_RULE]
    for record in outcome.records:
        after = "never" if record.acknowledged_after_s is None else f"{record.acknowledged_after_s:.2f}"
        lines.append(
            f"| {record.round} | {record.injected_s:.1f} | {record.healed_s:.1f} | {record.what} | "
            f"{record.silent_s:.1f} | {after} | {'; '.join(record.notes)} |"
        )
    return "\n".join(lines) + "\n"


_FAULT_HEAD = "| fault | how | survived | longest silence s, p50 / max | acknowledged after s | all ready after s |"
_SCHEDULE_RULE = "| --: | --: | --: | --- | --: | --: | --- |"


def _two(spread: Mapping[str, float]) -> str:
    return f"{spread['p50']} / {spread['max']}" if spread else ""


def write(directory: Path, outcome: Outcome, abilities: Mapping[str, Ability], about: Mapping[str, str]) -> None:
    """`report.md` and `report.json`."""
    (directory / "report.json").write_text(json.dumps(as_json(outcome, abilities, about), indent=2) + "\n")
    (directory / "report.md").write_text(as_markdown(outcome, abilities, about))


BEGIN_TABLE = "<!-- chaos: written by `make chaos`, from the run that it names -->"
END_TABLE = "<!-- end of chaos -->"


def as_section(outcome: Outcome, about: Mapping[str, str]) -> str:
    """What documentation says of a run: where it was, how much, and each fault with what was lost."""
    acknowledged = sum(outcome.counts.get(f"submit {result}", 0) for result in (COMMITTED, FINAL))
    unknown = outcome.counts.get(f"submit {UNKNOWN}", 0)
    reads = sum(count for name, count in outcome.counts.items() if not name.startswith("submit "))
    failed = [name for name, found in outcome.verdicts.items() if found]
    lines = [
        f"{about.get('at', '')}, commit `{about.get('commit', '')}`, seed {outcome.seed}, "
        f"{about.get('cores', '?')} cores, {outcome.lasted_s / 60:.0f} minutes: {len(outcome.records)} faults of "
        f"{len({record.kind for record in outcome.records})} kinds; {acknowledged:,} submissions acknowledged, "
        f"{unknown:,} left unanswered, {reads:,} reads; {outcome.statements:,} statements on the log at the end. "
        + (f"Violated: {', '.join(failed)}." if failed else f"All {len(outcome.verdicts)} properties held."),
        "",
        "| fault | how it is injected | survived | lost | silence s, p50 / max | back after s, p50 / max |",
        "| --- | --- | --: | --- | --: | --: |",
    ]
    lost = "see the violations" if failed else "nothing"
    for name, figures in summary(outcome).items():
        lines.append(
            f"| {name} | {FAULTS[name].how} | {figures['survived']} of {figures['injected']} | {lost} | "
            f"{_two(figures['silence_s'])} | {_two(figures['acknowledged_after_healing_s'])} |"
        )
    lines += [f"| {name} | {FAULTS[name].how} | skipped: {why} | | | |" for name, why in outcome.skipped.items()]
    return "\n".join(lines) + "\n"


def write_into(document: Path, section: str) -> None:
    """Put the section between its two marks. Raises ValueError if the document has no such place."""
    text = document.read_text()
    begin, end = text.find(BEGIN_TABLE), text.find(END_TABLE)
    if not 0 <= begin < end:
        raise ValueError(f"{document}: there is no place marked {BEGIN_TABLE}")
    document.write_text(text[: begin + len(BEGIN_TABLE)] + "\n\n" + section + "\n" + text[end:])
