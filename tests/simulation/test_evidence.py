"""The simulator's liars leave evidence that convinces a stranger; honest validators leave none."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from nodes.cli import comity
from nodes.network import policy_text
from tests.simulation.evidence import kept
from tests.simulation.simulation import Simulation, simulate

SHAPE = "kz-kgd:2 cn-gacc:2"


def run(seed: int, liar: str | None) -> tuple[Simulation, dict[str, int]]:
    simulations: list[Simulation] = []
    result = simulate(
        seed, prepare=simulations.append, trouble_us=2_000_000, shape=SHAPE, liar=liar, changing=False, silent=False
    )
    assert result.violation is None, "\n".join(result.trace[-40:])
    return simulations[0], result.faults


def accusers(simulation: Simulation, folder: Path) -> set[str]:
    """Who has a bundle by which the liar is accused by name. Every bundle that there is has to hold."""
    (liar,) = (node.name for node in simulation.nodes.values() if node.lies)
    found = set()
    for number, node in enumerate(simulation.nodes.values()):
        for path in kept(node, ".evidence"):
            file = folder / f"{number}-{path.name}"
            file.write_bytes(node.disk.files[path])
            policy = folder / f"{node.name}.policy"
            policy.write_bytes(policy_text(simulation.corridor.genesis, node.authority).encode())
            result = CliRunner().invoke(comity, ["verify", str(file), "--policy", str(policy)])
            assert result.exit_code == 0, result.output
            if f"{liar} signed both" in result.output:
                found.add(node.name)
    assert liar not in found
    return found


def test_what_a_liar_leaves_with_the_others_convinces_comity_verify(tmp_path: Path) -> None:
    """Whom it lies to, and whether that validator had executed the size by then, is the seed's."""
    for seed in range(1, 17):
        simulation, faults = run(seed, "two_cosignatures")
        if faults["bundle of evidence"] and accusers(simulation, tmp_path):
            # It went on to sign what is so, and is accused by its own two signatures.
            return
    raise AssertionError("no bundle names the liar")


def test_honest_validators_in_trouble_leave_no_evidence() -> None:
    for seed in range(1, 17):
        simulation, faults = run(seed, None)
        if not any(node.lies for node in simulation.nodes.values()) and any(faults.values()):
            assert [path for node in simulation.nodes.values() for path in kept(node, ".evidence")] == []
            return
    raise AssertionError("every seed had a liar, or no trouble")
