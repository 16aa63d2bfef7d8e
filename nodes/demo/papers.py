"""What a truck shows and what is left of a crossing: a pass that a gate verifies offline, a certificate, receipts.

The pass is fetched while the truck is on the road, from one side's gateway, and verified as the other side's gate does
it without a network: by the policy file alone. When every crossing is over, a certificate of one is fetched, and a
statement of it with a receipt of each authority; `comity verify` takes both with every server switched off, and the
certificate is printed where the extra `certificate` is installed.
"""

from __future__ import annotations

import asyncio
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from api.client import AsyncClient, ClientError
from contracts.verifying import Context, Verification, verify_file
from nodes.demo.context import Run
from nodes.demo.delivery import Delivery
from nodes.demo.offline import run_comity
from nodes.demo.running import RunningNetwork
from nodes.demo.stage import Stage
from nodes.demo.steps import CheckFailed, require
from nodes.network import Network

POLL_S: Final = 0.05
# Far beyond what it takes until the first truck sets out, on a machine with ten times too much to do as well.
ON_THE_ROAD_WITHIN_S: Final = 60.0
PASS: Final = ".pass"
CERTIFICATE: Final = ".crossing"
TRANSPARENT: Final = "-receipts.cose"
PRINTED_BY: Final = ("reportlab", "segno", "ttf_opensans", "fontTools")


async def show_a_pass(run: Run, running: RunningNetwork, stage: Stage) -> None:
    """The first truck on the road gets its pass, and the other side's gate verifies it with its policy file."""
    with run.steps.step(
        "pass", "A truck on the road shows its pass, and a gate believes it by its policy alone"
    ) as step:
        asked, other = run.scenario.authorities[0].name, run.scenario.authorities[1].name
        mrn, raw = await _first_pass(running.readers[asked], stage)
        run.places.papers.mkdir()
        (run.places.papers / f"{mrn}{PASS}").write_bytes(raw)
        found = _at_the_gate(run, other, raw)
        require(found.holds, f"the gate of {other} refuses the pass of {mrn}: {_failed(found)}")
        vehicle = str(found.facts["vehicle"]).encode()
        forged = raw.replace(vehicle, vehicle[::-1])
        require(forged != raw, "the pass does not name its vehicle")
        require(not _at_the_gate(run, other, forged).holds, "the gate lets another vehicle through with this pass")
        run.report["pass"] = {
            "mrn": mrn,
            "file": f"papers/{mrn}{PASS}",
            "bytes": len(raw),
            "asked": asked,
            "gate": other,
        }
        step.detail = (
            f"{mrn}: {len(raw)} bytes from {asked}, believed at the gate of {other}; for another vehicle refused"
        )


async def _first_pass(client: AsyncClient, stage: Stage) -> tuple[str, bytes]:
    deadline_s = time.monotonic() + ON_THE_ROAD_WITHIN_S
    said = "no truck set out"
    while time.monotonic() < deadline_s:
        for story in stage.script.crossings:
            if any(doing.kind == "escort.start" and sent.final for doing, sent in stage.played.get(story.subject, ())):
                try:
                    return story.subject, await client.crossing_pass(story.subject)
                except ClientError as error:  # held, say, or over already: the next truck's
                    said = str(error)
        await asyncio.sleep(POLL_S)
    raise CheckFailed(f"no pass within {ON_THE_ROAD_WITHIN_S:.0f} s: {said}")


def _at_the_gate(run: Run, authority: str, raw: bytes) -> Verification:
    """What a gate terminal does that has no network: the file, the policy, and its clock."""
    return verify_file(raw, PASS, Context(run.places.policy(authority).read_bytes(), int(time.time())))


def _failed(found: Verification) -> str:
    return "; ".join(f"{check.name}: {check.detail}" for check in found.checks if check.verdict.value != "holds")


async def fetch_papers(run: Run, running: RunningNetwork, stage: Stage) -> None:
    """A certificate of a crossing, and its handover as a statement with a receipt of each authority."""
    with run.steps.step(
        "papers", "A crossing certificate and a statement with both sides' receipts are fetched"
    ) as step:
        mrn, handover = _handover(stage)
        client = running.readers[handover.authority]
        certificate, receipts = await asyncio.gather(client.certificate(mrn), client.receipt(handover.statement.id_hex))
        (run.places.papers / f"{mrn}{CERTIFICATE}").write_bytes(certificate)
        (run.places.papers / f"{mrn}{TRANSPARENT}").write_bytes(receipts)
        step.detail = f"of {mrn}: certificate {len(certificate)} bytes, handover with receipts {len(receipts)} bytes"


def _handover(stage: Stage) -> tuple[str, Delivery]:
    for story in stage.script.crossings:
        for doing, sent in stage.played[story.subject]:
            if doing.kind in ("escort.accept", "escort.resolve") and sent.final:
                return story.subject, sent
    raise CheckFailed("no crossing was handed over")


def verify_papers(run: Run, network: Network) -> None:
    """With every server switched off, as whoever is handed the files does it."""
    with run.steps.step("certified", "Certificate and receipts verify offline, for each side's own policy") as step:
        files = sorted([*run.places.papers.glob(f"*{CERTIFICATE}"), *run.places.papers.glob(f"*{TRANSPARENT}")])
        home, other = network.authorities[:2]
        policy = str(run.places.policy(other.name))
        ended = run_comity("verify", *map(str, files), "--policy", policy, "--json")
        require(ended.status == 0, f"comity verify ended with status {ended.status}: {ended.said()}")
        kinds = sorted(each["kind"] for each in ended.report()["proofs"])
        require(kinds == ["crossing", "transparent-statement"], f"expected a certificate and receipts, got {kinds}")
        # What that command calls, by the other side's policy: a second process would cost more than it shows.
        context = Context(run.places.policy(home.name).read_bytes(), int(time.time()))
        for each in files:
            found = verify_file(each.read_bytes(), each.name, context)
            require(found.holds, f"{each.name} does not hold for {home.name}: {_failed(found)}")
        summary = next(each["summary"] for each in ended.report()["proofs"] if each["kind"] == "crossing")
        printed = _print(run, next(each for each in files if each.suffix == CERTIFICATE), policy)
        run.report["papers"] = {
            "files": [f"papers/{each.name}" for each in files],
            "summary": summary,
            "printed": None if printed is None else f"papers/{printed.name}",
        }
        step.detail = summary + (f"; printed: {printed.name}" if printed is not None else "")


def _print(run: Run, certificate: Path, policy: str) -> Path | None:
    """None where the extra `certificate` is not installed."""
    if any(find_spec(name) is None for name in PRINTED_BY):
        return None
    out = certificate.with_suffix(".pdf")
    ended = run_comity("crossing", "pdf", str(certificate), "--policy", policy, "--out", str(out))
    require(ended.status == 0, f"comity crossing pdf ended with status {ended.status}: {ended.said()}")
    require(out.read_bytes().startswith(b"%PDF-"), "what was printed is no PDF")
    return out
