"""What is done with every server switched off: proofs verified, the archive audited, tampering found."""

from __future__ import annotations

import shutil
from typing import Any, Final

from ledger.entry import Genesis
from nodes.demo.attachments import verify_batches
from nodes.demo.context import Run
from nodes.demo.formats import export_formats
from nodes.demo.offline import archive_entries, archive_size, check_exactly_once, flip_one_byte, run_comity
from nodes.demo.papers import verify_papers
from nodes.demo.private import verify_disclosure
from nodes.demo.rows import RowsTaken
from nodes.demo.steps import require
from nodes.network import Network

TWO_JOBS_FROM_ENTRIES: Final = 20_000


def run_offline(run: Run, network: Network) -> None:
    """All steps that need nothing but files. Raises StepFailed at the first that does not hold."""
    _verify_proofs(run, network)
    verify_papers(run, network)
    verify_disclosure(run)
    verify_batches(run)
    _audit(run, network)
    export_formats(run)
    _count(run)
    _rows(run)
    _tamper(run, network)


def _verify_proofs(run: Run, network: Network) -> None:
    with run.steps.step("verify", "The proofs verify offline, for each side's own policy") as step:
        files = sorted(run.places.proofs.glob("*.tlog-proof"))
        run.report["proofs"] = [
            {"file": f"proofs/{file.name}", "statement": f"proofs/{file.with_suffix('.cose').name}"} for file in files
        ]
        for authority in network.authorities:
            policy = str(run.places.policy(authority.name))
            ended = run_comity("verify", *map(str, files), "--policy", policy, "--json")
            require(ended.status == 0, f"comity verify ended with status {ended.status}: {ended.said()}")
            proofs = ended.report()["proofs"]
            require(all(proof["holds"] for proof in proofs), "a proof does not hold")
            for proof, found in zip(run.report["proofs"], proofs, strict=True):
                proof["entry"], proof["tree_size"] = found["index"], found["tree_size"]
                proof.setdefault("holds_for", []).append(authority.name)
        _check_forgery_fails(run, network)
        step.detail = f"{len(files)} proofs hold for {' and '.join(item.name for item in network.authorities)}"


def _check_forgery_fails(run: Run, network: Network) -> None:
    """The proof of one statement must not verify another."""
    files = sorted(run.places.proofs.glob("*.tlog-proof"))
    if len(files) < 2:
        return
    first, last = files[0], files[-1]
    policy = str(run.places.policy(network.authorities[0].name))
    ended = run_comity("verify", str(first), "--statement", str(last.with_suffix(".cose")), "--policy", policy)
    require(ended.status == 1, f"the proof of {first.name} was taken for {last.name}: status {ended.status}")


def _audit(run: Run, network: Network) -> None:
    with run.steps.step("audit", "The archive is audited offline, every block executed again") as step:
        policy = str(run.places.policy(network.authorities[0].name))
        size = archive_size(run.places.archive)
        # Below this a second process costs more than it saves.
        jobs = "1" if size < TWO_JOBS_FROM_ENTRIES else "2"
        ended = run_comity("audit", str(run.places.archive), "--policy", policy, "--jobs", jobs, "--json")
        require(ended.status == 0, f"comity audit ended with status {ended.status}: {ended.said()}")
        found = ended.report()
        run.report["audit"] = found
        run.report["archive"] = {"directory": "archive", "size": size}
        step.detail = f"all {size} entries hold"


def _count(run: Run) -> None:
    with run.steps.step("once", "Every signed statement stands in the archive exactly once") as step:
        deliveries = run.records.deliveries
        known = sum(item.receipt is not None and item.receipt.duplicate for item in deliveries.values())
        count = check_exactly_once(
            run.places.archive,
            signed=[identity for identity, item in deliveries.items() if item.turned_away is None],
            turned_away=[identity for identity, item in deliveries.items() if item.turned_away is not None],
        )
        step.detail = f"{count} statements: none lost, none doubled, none foreign"
        run.report["statements"] = {
            "signed": len(deliveries),
            "on_the_log": count,
            "turned_away": len(deliveries) - count,
            "sent_again": run.records.resent,
            "answered_as_known": known,
        }


def _rows(run: Run) -> None:
    with run.steps.step("rows", "Which rows of the contracts' tables the run used") as step:
        entries = archive_entries(run.places.archive)
        genesis = next(entries)
        require(isinstance(genesis, Genesis), "the archive does not begin with a genesis record")
        rows = RowsTaken.from_genesis(genesis) if isinstance(genesis, Genesis) else RowsTaken({})
        rows.follow(entries)
        found = rows.as_report()
        run.report["rows"] = found
        missing = rows.missing() if run.scenario.every_row else []
        require(not missing, f"{len(missing)} rows were not used: {', '.join(map(str, missing[:3]))}")
        used = [f"{name} {item['used']} of {item['rows']}" for name, item in found["contracts"].items()]
        incidents = found["incidents"]
        step.detail = f"{', '.join(used)}; {len(incidents['used'])} of {incidents['codes']} kinds of incident"


def _tamper(run: Run, network: Network) -> None:
    with run.steps.step("tamper", "One byte of a copy is flipped, and the audit names the entry") as step:
        copy = run.places.work / "tampered"
        among = [item.id for marks in run.timelines.values() for item in marks]
        flip = flip_one_byte(run.places.archive, copy, among)
        policy = str(run.places.policy(network.authorities[0].name))
        ended = run_comity("audit", str(copy), "--policy", policy, "--jobs", "1", "--json")
        require(ended.status == 1, f"the audit of a tampered archive ended with status {ended.status}: {ended.said()}")
        faults: list[dict[str, Any]] = ended.report()["faults"]
        named = [fault for fault in faults if fault.get("entry") == flip.entry]
        require(bool(named), f"the audit found {len(faults)} faults, none of them at entry {flip.entry}")
        shutil.rmtree(copy)
        run.report["tamper"] = {
            "file": flip.file,
            "byte": flip.byte,
            "entry": flip.entry,
            "statement": flip.statement,
            "faults": faults,
        }
        step.detail = f"entry {flip.entry}: {named[0].get('message', '')}"
