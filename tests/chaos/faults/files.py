"""Files of a stopped validator, damaged. What is damaged must be noticed, or not be needed."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.chaos.cluster import ClusterFailed
from tests.chaos.faults.hands import Hands, Held
from tests.chaos.faults.members import replace_lost
from tests.chaos.operators import ChangeFailed

EXIT_CONTRADICTS_ITSELF: Final = 4
EXIT_WRITE_FAILED: Final = 3
# How long a validator may take to notice that its store is damaged, or to show that it runs.
NOTICE_TIMEOUT_S: Final = 30.0
EXIT_DAMAGED: Final = 1
READY_TIMEOUT_S: Final = 90.0
# Two passes of the scrub over a small ledger.
SCRUB_TIMEOUT_S: Final = 60.0
RUINED_BYTES: Final = 4096


def _damage(hands: Hands, victim: str, rng: random.Random, how: str) -> Held:
    """Stop it, keep a copy, damage a file, start it: it must refuse to run, or run unharmed.

    The copy is from after its last stop, which is what an operator's backup must be to be of use. Nobody's disk is
    damaged as long as another's may be: both of one authority at once are more than any change survives.
    """
    cluster = hands.cluster
    victim, before = _look_after(hands, victim)
    status = cluster.stop(victim)
    data = cluster.data_of(victim)
    backup = cluster.directory / f"{victim}.backup"
    _copy(data, backup)
    # Whose order is damaged may have to be replaced, which takes another machine.
    file = _choose_file(data, rng, ("order", "ledger") if cluster.isolated else ("ledger",))
    what = truncate_file(file, rng) if how == "truncated" else flip_bits(file, rng)
    hands.start(victim)
    held = Held(f"{victim} stopped, {file.relative_to(data)} {what}, started", (victim,), lambda: None, before)
    if status != 0:
        held.notes.append(f"violation: {victim} ended with status {status} when told to stop")

    def heal() -> None:
        node = cluster.nodes[victim]
        deadline_s = time.monotonic() + NOTICE_TIMEOUT_S
        while node.running and time.monotonic() < deadline_s and not cluster.readiness(victim)[0]:
            time.sleep(0.2)
        if node.running:
            held.notes.append("ran: the damaged bytes were not needed, or were restored")
            hands.damaged.add(victim)
            return
        held.notes.append(f"refused to run with status {node.exit_status}")
        if node.exit_status != EXIT_CONTRADICTS_ITSELF:
            held.notes.append(f"violation: expected exit status {EXIT_CONTRADICTS_ITSELF}, got {node.exit_status}")
        _mend(hands, victim, backup, held.notes)

    held.heal = heal
    return held


def mend_late(hands: Hands, victim: str) -> str | None:
    """Repair one that met its damage later than in its round. Returns what was done; None if that is not the case."""
    cluster = hands.cluster
    node = cluster.nodes[victim]
    if victim not in hands.damaged or node.running or node.exit_status != EXIT_CONTRADICTS_ITSELF:
        return None
    return f"{victim} met its damage and ended with {EXIT_CONTRADICTS_ITSELF}; {_repair_or_replace(hands, victim)}"


def _repair_or_replace(hands: Hands, victim: str) -> str:
    """The ledger is repaired; whose order is damaged is replaced. Returns what was done, or what could not be."""
    cluster = hands.cluster
    hands.damaged.discard(victim)
    repaired, verdict = cluster.storage("repair", cluster.data_of(victim))
    if repaired == 0:
        hands.start(victim)
        return f"comity storage repair: {verdict}"
    try:
        name = replace_lost(hands, victim)
    except (ChangeFailed, ClusterFailed) as error:
        return f"comity storage repair refused with {repaired}: {verdict}; NOT REPLACED: {error}"
    return f"comity storage repair refused with {repaired}; {name} took its place by a change that both sides signed"


def _look_after(hands: Hands, victim: str) -> tuple[str, list[str]]:
    """As an operator who knows of a bad disk: stop whoever runs on one, look, and mend what is found.

    Returns who stands in the place of `victim` now, and what was done.
    """
    cluster, notes = hands.cluster, []
    place = cluster.validators.index(victim)
    for name in sorted(hands.damaged):
        cluster.stop(name)
        found, verdict = cluster.storage("check", cluster.data_of(name))
        if found == 0:
            hands.damaged.discard(name)
            hands.start(name)
        else:
            notes.append(f"{name} still ran on damaged files: {verdict}; {_repair_or_replace(hands, name)}")
    late = cluster.wait_ready(cluster.validators, READY_TIMEOUT_S)
    notes += [f"violation: {who} did not come back: {what}" for who, what in late.items()]
    return cluster.validators[place], notes


def _mend(hands: Hands, victim: str, backup: Path, notes: list[str]) -> None:
    """As the log of the validator says: check, then repair. What cannot be repaired gets its backup back."""
    data = hands.cluster.data_of(victim)
    found, verdict = hands.cluster.storage("check", data)
    if found != EXIT_DAMAGED:
        notes.append(f"violation: comity storage check ended with {found} on damaged data: {verdict}")
    repaired, _ = hands.cluster.storage("repair", data)
    if repaired == 0:
        notes.append("comity storage repair: the ledger is derived again from the others")
    else:
        notes.append(f"comity storage repair refused with {repaired}: given back its data as of its last stop")
        _give_back(backup, data)
    hands.start(victim)
    late = hands.cluster.wait_ready([victim], READY_TIMEOUT_S)
    notes += [f"violation: {who} did not come back: {what}" for who, what in late.items()]


def _copy(data: Path, backup: Path) -> None:
    shutil.rmtree(backup, ignore_errors=True)
    shutil.copytree(data, backup, ignore=shutil.ignore_patterns("lost+found"))


def _give_back(backup: Path, data: Path) -> None:
    for path in data.iterdir():
        if path.name != "lost+found":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(backup, data, dirs_exist_ok=True)


def _choose_file(data: Path, rng: random.Random, stores: Sequence[str]) -> Path:
    """A file that holds data: of any of the stores, as likely one as another; the same seed chooses the same."""
    store = data / rng.choice(stores)
    files = sorted(
        path
        for path in store.rglob("*")
        if path.is_file() and path.stat().st_size > 0 and path.suffix in (".log", ".ldb", ".sst")
    )
    return rng.choice(files or sorted(path for path in data.rglob("*") if path.is_file() and path.stat().st_size))


def truncate_file(path: Path, rng: random.Random) -> str:
    """Cut a file short. Returns what was done."""
    size = path.stat().st_size
    left = rng.randrange(size)
    with path.open("r+b") as file:
        file.truncate(left)
    return f"truncated from {size} to {left} bytes"


def flip_bits(path: Path, rng: random.Random) -> str:
    """Flip one to eight bits somewhere. Returns what was done."""
    size = path.stat().st_size
    at = rng.randrange(size)
    count = rng.randrange(1, 9)
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        for bit in rng.sample(range(8), count):
            byte ^= 1 << bit
        file.seek(at)
        file.write(bytes([byte]))
    return f"with {count} bits flipped in byte {at} of {size}"


def files_truncated(hands: Hands, victim: str, rng: random.Random) -> Held:
    return _damage(hands, victim, rng, "truncated")


def files_flipped(hands: Hands, victim: str, rng: random.Random) -> Held:
    return _damage(hands, victim, rng, "flipped")


def ledger_ruined(hands: Hands, victim: str, rng: random.Random) -> Held:
    """Every table and log of the ledger is damaged while the validator is down: `comity storage repair` mends it.

    The order is whole, so the repair may not refuse; the ledger is derived again and signs nothing it may have signed.
    """
    cluster = hands.cluster
    status = cluster.stop(victim)
    data = cluster.data_of(victim)
    held = Held(f"{victim} stopped, its ledger ruined, repaired", (victim,), lambda: None)
    if status != 0:
        held.notes.append(f"violation: {victim} ended with status {status} when told to stop")
    for path in sorted((data / "ledger").iterdir()):
        if path.suffix in (".log", ".ldb", ".sst"):
            ruin_file(path)
    found, said = cluster.storage("check", data)
    if found != EXIT_DAMAGED:
        held.notes.append(f"violation: comity storage check ended with {found} on a ruined ledger: {said}")
    repaired, said = cluster.storage("repair", data)
    if repaired != 0:
        held.notes.append(f"violation: comity storage repair ended with {repaired} where the order is whole: {said}")

    def heal() -> None:
        hands.start(victim)
        late = cluster.wait_ready([victim], READY_TIMEOUT_S)
        held.notes.extend(f"violation: {who} did not come back: {what}" for who, what in late.items())
        floor = cluster.metric(victim, "comity_never_sign_up_to")
        held.notes.append(f"comity storage repair: derived again, signs nothing up to {floor or 0:.0f}")
        if not floor:
            held.notes.append("violation: a validator that lost its ledger remembers no size that it may have signed")

    held.heal = heal
    return held


def order_ruined(hands: Hands, victim: str, rng: random.Random) -> Held:
    """Every table and log of the order is damaged while the validator is down: it is replaced, and never comes back.

    What it voted for and acknowledged may be gone: it must end with 4, `comity storage repair` must refuse, and another
    takes its place by a change of the membership, as docs/operating.md says.
    """
    cluster = hands.cluster
    victim, notes = _look_after(hands, victim)
    cluster.stop(victim)
    data = cluster.data_of(victim)
    for path in sorted((data / "order").iterdir()):
        if path.suffix in (".log", ".ldb", ".sst"):
            ruin_file(path)
    hands.start(victim)
    held = Held(f"{victim} stopped, its order ruined, started", (victim,), lambda: None, notes)

    def heal() -> None:
        status = cluster.nodes[victim].wait(time.monotonic() + SCRUB_TIMEOUT_S)
        if status != EXIT_CONTRADICTS_ITSELF:
            held.notes.append(f"violation: its order is ruined: expected {EXIT_CONTRADICTS_ITSELF}, got {status}")
            cluster.kill(victim)
        found, said = cluster.storage("check", data)
        if found != EXIT_DAMAGED:
            held.notes.append(f"violation: comity storage check ended with {found} on a ruined order: {said}")
        repaired, said = cluster.storage("repair", data)
        if repaired != EXIT_DAMAGED:
            held.notes.append(f"violation: comity storage repair ended with {repaired} on a ruined order: {said}")
        try:
            held.notes.append(f"refused with {status}; {replace_lost(hands, victim)} took its place for good")
        except (ChangeFailed, ClusterFailed) as error:
            held.notes.append(f"violation: {victim} could not be replaced: {error}")

    held.heal = heal
    return held


def flipped_while_running(hands: Hands, victim: str, rng: random.Random) -> Held:
    """Bits of the ledger turn over under a validator that runs: the scrub finds it, or nobody ever needs the bytes."""
    cluster = hands.cluster
    data = cluster.data_of(victim)
    tables = sorted(path for path in (data / "ledger").iterdir() if path.suffix in (".ldb", ".sst"))
    if not tables:
        return Held(f"{victim} has no table of its ledger on the disk yet", (), lambda: None)
    table = rng.choice(tables)
    passes = cluster.metric(victim, "comity_scrub_passes") or 0.0
    held = Held(f"{victim} runs, {table.name} of its ledger {flip_bits(table, rng)}", (victim,), lambda: None)

    def heal() -> None:
        node, until_s = cluster.nodes[victim], time.monotonic() + SCRUB_TIMEOUT_S
        # Of two passes that end from now on, one began after the bits had turned.
        while node.running and (cluster.metric(victim, "comity_scrub_passes") or 0.0) < passes + 2:
            if time.monotonic() > until_s:
                break
            time.sleep(0.5)
        if node.running:
            held.notes.append("ran on: the table was replaced, or nothing that counts was in those bytes")
            return
        held.notes.append(f"found while it ran: ended with status {node.exit_status}")
        # A write that met the damage first, in a compaction, has failed: that ends it with the other one.
        if node.exit_status not in (EXIT_CONTRADICTS_ITSELF, EXIT_WRITE_FAILED):
            held.notes.append(f"violation: expected exit status {EXIT_CONTRADICTS_ITSELF}, got {node.exit_status}")
        repaired, said = cluster.storage("repair", data)
        if repaired != 0:
            held.notes.append(f"violation: comity storage repair ended with {repaired}, the order is whole: {said}")
        hands.start(victim)
        late = cluster.wait_ready([victim], READY_TIMEOUT_S)
        held.notes.extend(f"violation: {who} did not come back: {what}" for who, what in late.items())

    held.heal = heal
    return held


def ruin_file(path: Path) -> None:
    """Turn over every bit of a page in the middle."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        page = file.read(RUINED_BYTES)
        file.seek(size // 2)
        file.write(bytes(byte ^ 0xFF for byte in page))
