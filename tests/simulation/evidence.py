"""What a stranger makes of the bundles that simulated validators made by themselves."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ledger.evidence_check import check_evidence
from nodes.network import policy_text
from tests.simulation.corridor import Corridor
from tests.simulation.node import Node


def kept(node: Node, suffix: str) -> list[Path]:
    """The files of evidence on a node's disk."""
    folder = node.config.data / "evidence"
    return sorted(path for path in node.disk.files if path.parent == folder and path.suffix == suffix)


def unconvincing(nodes: Iterable[Node], corridor: Corridor, *, changed: bool) -> Iterable[str]:
    """Bundles that do not hold under the policies of both sides as of genesis, or that show nobody's lie: no liar has
    signed them, and there is no head in them that no honest validator has signed.

    Such a head has the line of a log key alone: it names the authority of the liar, whose validators all have that key,
    where the liar is nobody whose own line counts yet. `changed`: the membership did, and the policies as of genesis do
    not know everybody.
    """
    policies = [policy_text(corridor.genesis, name).encode() for name in corridor.authorities]
    nodes = list(nodes)
    liars = {each.name for each in nodes if each.lies}
    for node in nodes:
        for path in kept(node, ".evidence"):
            report = check_evidence(policies, node.disk.files[path])
            signers = {name for each in report.signers for name in each.names.values()}
            if not report.holds and not changed:
                yield f"{node.name} made {path.name}, which does not hold: {[each.detail for each in report.checks]}"
            a_lie = signers & liars or any(not _validators(each.names.values()) for each in report.signers)
            if report.holds and not (liars and a_lie):
                yield f"{node.name} made {path.name}, which shows nobody's lie: {sorted(signers)}"


def _validators(signers: Iterable[str]) -> list[str]:
    return [name for name in signers if not name.startswith("log key")]
