"""The archive of every validator, exported and audited with the commands that an auditor has, and read for the checker.

A validator is asked through a gateway of its own that knows it alone: a gateway for several would answer with whichever
it likes.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ledger.checkpoint import parse_checkpoint
from ledger.entry import parse_entry
from ledger.merkle import TILE_WIDTH, leaf_hash
from ledger.note import parse_note
from ledger.statement import Statement
from ledger.tiles import ENTRIES, decode_entry_bundle, tile_path, tile_width
from nodes.demo.processes import NodeProcess, comity_command
from nodes.network import NetworkValidator
from tests.chaos.checker import ArchiveView
from tests.chaos.cluster import Cluster, ClusterFailed, with_validators

READY_TIMEOUT_S: Final = 30.0
EXPORT_TIMEOUT_S: Final = 300.0


def export_all(cluster: Cluster, directory: Path) -> tuple[list[ArchiveView], dict[str, str]]:
    """Export and audit the archive of every validator. Also returns which gave none, and why."""
    directory.mkdir()
    views, missing = [], {}
    for validator in cluster.network.validators:
        try:
            views.append(_export(cluster, validator, directory))
        except (ClusterFailed, subprocess.TimeoutExpired) as error:
            missing[validator.name] = f"no archive could be had: {error}"
    return views, missing


def _export(cluster: Cluster, validator: NetworkValidator, directory: Path) -> ArchiveView:
    gateway = next(item for item in cluster.network.gateways if item.authority == validator.authority)
    if cluster.nodes[gateway.name].running:
        cluster.stop(gateway.name)
    config = gateway.config.with_name(f"only-{validator.name}.toml")
    config.write_text(with_validators(gateway.config.read_text(), [validator]))
    command = cluster.inside(gateway.name, comity_command("gateway", "run", "--config", str(config)))
    log = cluster.directory / "logs" / f"only-{validator.name}.log"
    node = NodeProcess(gateway.name, command, log)
    regular = cluster.nodes[gateway.name]
    cluster.nodes[gateway.name] = node
    try:
        node.start()
        # It need not be ready: what is final can be read from a validator that takes no part.
        cluster.wait_answering(gateway.name, READY_TIMEOUT_S)
        archive = directory / validator.name
        authority = next(item for item in cluster.network.authorities if item.name == validator.authority)
        policy = authority.policy
        if cluster.somebody_was_replaced:
            # By which its people verify from then on: whoever signed before may be gone.
            policy = directory / f"{validator.name}.policy"
            where = ["--genesis", str(cluster.network.genesis), "--gateway", f"http://{gateway.http_address}"]
            _comity("membership", "policy", *where, "--authority", authority.name, "--out", str(policy))
        _comity(
            "export",
            str(archive),
            "--gateway",
            f"http://{gateway.http_address}",
            "--policy",
            str(policy),
            "--as",
            f"{authority.name}/registrar",
            "--key",
            str(authority.key("registrar")),
        )
        return _audited(validator.name, archive, policy)
    finally:
        node.terminate()
        node.kill()
        cluster.nodes[gateway.name] = regular


def _comity(*arguments: str) -> None:
    done = subprocess.run(
        comity_command(*arguments), capture_output=True, text=True, timeout=EXPORT_TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        raise ClusterFailed(f"comity {arguments[0]}: status {done.returncode}: {done.stderr.strip()[-500:]}")


def _audited(name: str, archive: Path, policy: Path) -> ArchiveView:
    done = subprocess.run(
        comity_command("audit", str(archive), "--policy", str(policy), "--json", "--jobs", "1"),
        capture_output=True,
        text=True,
        timeout=EXPORT_TIMEOUT_S,
        check=False,
    )
    detail = "" if done.returncode == 0 else _first_fault(done.stdout) or done.stderr.strip()[-300:]
    return read_archive(name, archive, done.returncode == 0, detail)


def _first_fault(text: str) -> str:
    try:
        faults = json.loads(text)["faults"]
    except (ValueError, KeyError):
        return text[-300:]
    return f"{len(faults)} faults, the first: {faults[0]}" if faults else "does not hold"


def entries_of(archive: Path) -> list[bytes]:
    """Every entry, by index."""
    size = _size(archive)
    entries: list[bytes] = []
    for number in range(-(-size // TILE_WIDTH)):
        width = tile_width(ENTRIES, number, size)
        entries += decode_entry_bundle((archive / tile_path(ENTRIES, number, width)).read_bytes(), width)
    return entries


def _size(archive: Path) -> int:
    return parse_checkpoint(parse_note((archive / "checkpoint").read_bytes()).text).size


def read_archive(name: str, archive: Path, audit_holds: bool, audit_detail: str) -> ArchiveView:
    """An archive as the checker sees it."""
    entries = entries_of(archive)
    leaves = [leaf_hash(entry) for entry in entries]
    return ArchiveView(
        validator=name,
        size=len(entries),
        ids=[
            leaf.hex() if isinstance(parse_entry(raw), Statement) else None
            for raw, leaf in zip(entries, leaves, strict=True)
        ],
        files={
            str(path.relative_to(archive)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted((archive / "tile").rglob("*"))
            if path.is_file()
        },
        root_at=Roots(leaves).at,
        audit_holds=audit_holds,
        audit_detail=audit_detail,
    )


class Roots:
    """RFC 6962 section 2.1 as it stands there, over leaves kept in memory: the root at any size, in hex."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        # rows[h][i] is the root of the leaves [i * 2^h, (i + 1) * 2^h).
        self._rows = [list(leaves)]
        while len(self._rows[-1]) > 1:
            row = self._rows[-1]
            self._rows.append([_node(row[i], row[i + 1]) for i in range(0, len(row) - 1, 2)])

    def at(self, size: int) -> str:
        if not 0 < size <= len(self._rows[0]):
            return f"there is no tree of {size} entries"
        parts, start = [], 0
        for height in reversed(range(size.bit_length())):
            if size >> height & 1:
                parts.append(self._rows[height][start >> height])
                start += 1 << height
        root = parts.pop()
        while parts:
            root = _node(parts.pop(), root)
        return root.hex()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()
