"""The pictures: everything of the table is on them, they are well-formed, and the same each time."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import pytest

from contracts.catalogue import CONTRACTS
from contracts.diagram import AMBER, SOFT, diagram
from contracts.machine import ABSENT, Contract, Machine
from contracts.reference import diagram_name

SVG = "{http://www.w3.org/2000/svg}"
DOCS = Path(__file__).parents[2] / "docs"
MACHINES = [(contract, machine) for contract in CONTRACTS.values() for machine in contract.machines]
IDS = [f"{contract.name}-{contract.version}-{machine.name}" for contract, machine in MACHINES]


@cache
def _drawn(name: str, version: int, machine: str) -> str:
    contract = CONTRACTS[(name, version)]
    return diagram(contract, next(each for each in contract.machines if each.name == machine))


def _picture(contract: Contract, machine: Machine) -> ElementTree.Element:
    return ElementTree.fromstring(_drawn(contract.name, contract.version, machine.name))


def _texts(picture: ElementTree.Element) -> list[str]:
    return ["".join(text.itertext()) for text in picture.iter(f"{SVG}text")]


def _has(texts: list[str], words: str) -> bool:
    return any(re.search(rf"\b{re.escape(words)}\b", text) for text in texts)


@pytest.mark.parametrize(("contract", "machine"), MACHINES, ids=IDS)
def test_every_state_event_role_side_and_reason_is_on_the_picture(contract: Contract, machine: Machine) -> None:
    texts = _texts(_picture(contract, machine))
    for state in machine.states:
        assert state.replace("_", " ") in texts
    for (state, event), row in machine.transitions.items():
        assert _has(texts, event.replace("_", " ")), (state, event)
        if set(row.to) - {state}:
            for each in row.who:
                assert _has(texts, each.role.removeprefix("customs.")), (state, event, each.role)
    for row in machine.transitions.values():
        for each in row.who:
            assert any(text.startswith(each.side.__name__.replace("_", " ") + ": ") for text in texts)
    for why in machine.by_itself.values():
        assert why in texts
    if contract.deadlines is not None and contract.deadlines.machine == machine.name:
        for rule in contract.deadlines.rules.values():
            assert rule.reason in texts


@pytest.mark.parametrize(("contract", "machine"), MACHINES, ids=IDS)
def test_a_picture_has_a_line_for_every_way_and_an_arrow_into_every_state(contract: Contract, machine: Machine) -> None:
    picture = _picture(contract, machine)
    arrows = [path for path in picture.iter(f"{SVG}path") if path.get("marker-end")]
    steps = {(state, to) for (state, _), row in machine.transitions.items() for to in row.to if to != state}
    assert len(arrows) >= len({to for _, to in steps})
    dashed = [path for path in arrows if path.get("stroke-dasharray")]
    order = {state: at for at, state in enumerate((ABSENT, *machine.states))}
    assert bool(dashed) == any(order[to] < order[state] for state, to in steps), "ways back, and they alone, are dashed"
    assert all(path.get("stroke") == SOFT for path in dashed)
    amber = [path for path in arrows if path.get("stroke") == AMBER]
    own = contract.deadlines is not None and contract.deadlines.machine == machine.name
    assert bool(amber) == (own or bool(machine.by_itself))


@pytest.mark.parametrize(("contract", "machine"), MACHINES, ids=IDS)
def test_a_picture_is_the_one_in_docs_and_needs_nothing_from_elsewhere(contract: Contract, machine: Machine) -> None:
    text = _drawn(contract.name, contract.version, machine.name)
    path = DOCS / "diagrams" / f"{diagram_name(contract, machine)}.svg"
    assert path.read_text(encoding="utf-8") == text, "run: make generate"
    assert "href" not in text
    assert "<script" not in text
    assert re.findall(r"https?://[^\"' ]+", text) == ["http://www.w3.org/2000/svg"]


@pytest.mark.parametrize(("contract", "machine"), MACHINES, ids=IDS)
def test_ends_alone_have_a_double_frame_and_every_state_says_what_it_means(
    contract: Contract, machine: Machine
) -> None:
    picture = _picture(contract, machine)
    titles = {}
    for group in picture.iter(f"{SVG}g"):
        title = group.find(f"{SVG}title")
        if title is not None:
            titles[str(title.text)] = len(group.findall(f"{SVG}rect"))
    expected = {
        f"{state.replace('_', ' ')}: {meaning}": 2 if state in machine.ends else 1
        for state, meaning in machine.states.items()
    }
    assert titles == expected
