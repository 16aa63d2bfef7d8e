"""A validator touches the machine through its environment alone, or the simulator would not see all of it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import nodes

# What runs inside a validator. The command line, the demo and the making of networks are not in the simulator.
PARTS = (
    *(
        "validator",
        "ordering",
        "proposing",
        "execution",
        "cosigning",
        "checking",
        "divergence",
        "raft_store",
        "service",
    ),
    *("status", "metrics", "records", "blocks", "wire", "versions", "identity", "peers"),
)
CALLS = {
    "time": {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "sleep"},
    "os": {"urandom", "fsync", "open"},
    "secrets": {"token_bytes", "token_hex", "randbelow"},
    "uuid": {"uuid4", "uuid1"},
}
NAMES = {"LevelDBStore", "Thread"}


@pytest.mark.parametrize("part", PARTS)
def test_no_part_of_a_validator_reads_a_clock_or_opens_a_store_by_itself(part: str) -> None:
    tree = ast.parse((Path(nodes.__file__).parent / f"{part}.py").read_text())
    found = [
        f"line {node.lineno}: {node.value.id}.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.attr in CALLS.get(node.value.id, ())
    ]
    found += [
        f"line {node.lineno}: {node.id}" for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id in NAMES
    ]
    assert not found
