"""The field's formats in the run: a declaration that comes as WCO XML, and what goes out as EPCIS and WCO documents.

As an operator does it, with the commands: `comity import` signs and submits, `comity export --format` writes from the
archive, with every server switched off.
"""

from __future__ import annotations

import asyncio
import json
import time
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from ledger.statement import parse_statement
from nodes.demo.context import Run
from nodes.demo.delivery import Delivery, Receipt
from nodes.demo.offline import run_comity
from nodes.demo.running import RunningNetwork
from nodes.demo.steps import require

# A declaration of our own in WCO Data Model 3.6, of goods that leave Kazakhstan. Lodged is as far as it goes.
SHIPPED_COUNTRY: Final = "KZ"
SHIPPED_DOCUMENT: Final = files("nodes.demo") / "scenarios" / "wheat.xml"


async def import_declaration(run: Run, running: RunningNetwork) -> None:
    """A declarant's XML becomes a statement that is signed, submitted and final, where there is such a declarant."""
    homes = {each.name for each in run.scenario.authorities if each.country == SHIPPED_COUNTRY}
    declarants = (each for each in run.scenario.participants.values() if "declarant" in each.roles)
    declarant = next((each for each in declarants if each.authority in homes), None)
    if declarant is None:
        return
    with run.steps.step("import", "A declaration in WCO XML is imported, signed and lodged") as step:
        await asyncio.to_thread(_import, run, running, declarant.id, declarant.authority)
        found = run.report["import"]
        kept = sum(count for fate, count in found["fates"].items() if fate not in ("nowhere", "fault"))
        step.detail = f"{found['subject']}: of {sum(found['fates'].values())} values {kept} used, each accounted for"


def _import(run: Run, running: RunningNetwork, declarant: str, home: str) -> None:
    key, folder = run.places.work / "declarant.key", run.places.work / "imported"
    key.write_bytes(run.keys[declarant].to_pem())
    key.chmod(0o600)
    document = run.places.work / "wheat.xml"
    document.write_bytes(SHIPPED_DOCUMENT.read_bytes())
    ended = run_comity(
        "import", str(document), "--home", home, "--partner", run.scenario.partner(home).name, "--out", str(folder),
        "--key", str(key), "--as", declarant, "--open", "--submit", running.url(home), "--json",
    )  # fmt: skip
    require(ended.status == 0, f"comity import ended with status {ended.status}: {ended.said()}")
    (found,) = ended.report()["documents"]
    require(found["state"] == "final", f"{found['subject']}: expected it final, got {found['state']}")
    statement = parse_statement(next(folder.glob("*.cose")).read_bytes())
    delivery = Delivery(statement, home, time.monotonic())
    delivery.receipt = Receipt(found["index"], 0, 0)
    run.records.deliveries[statement.id] = delivery
    run.records.final += 1
    run.report["import"] = {"subject": found["subject"], "fates": found["fates"], "problems": found["problems"]}


def export_formats(run: Run) -> None:
    """Offline, from the archive: a crossing as EPCIS events, and what was decided of its declaration as WCO XML."""
    with run.steps.step("formats", "A crossing is written as EPCIS, its declaration's decisions as WCO XML") as step:
        story = max(run.script.crossings, key=lambda each: len(run.timelines[each.subject]))
        crossing = next(each for each in run.scenario.crossings if each.mrn == story.subject)
        run.places.formats.mkdir()
        epcis = run.places.formats / f"{crossing.mrn}.epcis.json"
        wco = run.places.formats / f"{crossing.declarations[0]}.wco.xml".replace("/", "~")
        _export(run, epcis, "epcis", "--movement", crossing.mrn)
        _export(run, wco, "wco", "--declaration", crossing.declarations[0])
        events: list[Any] = json.loads(epcis.read_bytes())["epcisBody"]["eventList"]
        entries = {event["comity:entry"] for event in events}
        expected = {mark.index for mark in run.timelines[crossing.mrn] if mark.kind.startswith("escort.")}
        require(entries == expected, f"{crossing.mrn}: EPCIS tells entries {sorted(entries)}, not {sorted(expected)}")
        run.report["formats"] = {"epcis": f"formats/{epcis.name}", "wco": f"formats/{wco.name}"}
        step.detail = f"{len(events)} events of {len(entries)} statements on {crossing.mrn}"


def _export(run: Run, out: Path, name: str, *subject: str) -> None:
    policy = str(run.places.policy(run.scenario.authorities[0].name))
    ended = run_comity(
        "export", str(run.places.archive), "--policy", policy, "--format", name, *subject, "--out", str(out)
    )
    require(ended.status == 0, f"comity export --format {name} ended with status {ended.status}: {ended.said()}")
