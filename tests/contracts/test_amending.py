"""A record amended is the record that `dataclasses.replace` makes, frozen like every other."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass, field, fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.amending import amended, amender
from contracts.registry import load_participant
from contracts.working import Working
from tests.contracts import corridor as c

_LEDGER = c.to_declaration(c.Ledger.of_corridor(), "recognise")
DECLARATION = _LEDGER.declaration(c.UCR)
MOVEMENT = c.to_movement(_LEDGER, "sealed").movement(c.MRN)
PARTICIPANT = load_participant(Working(_LEDGER.state), MOVEMENT.truck)


@pytest.mark.parametrize("record", [MOVEMENT, DECLARATION, PARTICIPANT], ids=["movement", "declaration", "participant"])
@given(data=st.data())
def test_amending_is_replacing(record: Any, data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from([each.name for each in fields(record)]), unique=True))
    changes = {name: data.draw(st.integers() | st.text(), name) for name in names}
    before = repr(record)
    amended = record.amended(**changes)
    assert type(amended) is type(record)
    assert amended == replace(record, **changes)
    assert hash(amended) == hash(replace(record, **changes))
    assert repr(record) == before


@pytest.mark.parametrize("record", [MOVEMENT, DECLARATION, PARTICIPANT], ids=["movement", "declaration", "participant"])
def test_what_was_amended_is_as_frozen_as_what_was_not(record: Any) -> None:
    with pytest.raises(FrozenInstanceError):
        record.amended(flagged=1).flagged = 2
    with pytest.raises(KeyError, match="colour"):
        record.amended(colour="red")


@dataclass(frozen=True, slots=True)
class _Derives:
    value: int
    twice: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "twice", 2 * self.value)


def test_a_class_that_derives_a_field_from_others_cannot_be_amended_so() -> None:
    with pytest.raises(TypeError, match="_Derives does more than take its fields"):
        amender(_Derives)


@dataclass(frozen=True)
class _Plain:
    value: int
    flagged: int = 0


@pytest.mark.parametrize(
    "record", [_Plain(7), MOVEMENT, DECLARATION, PARTICIPANT], ids=["plain", "movement", "declaration", "participant"]
)
def test_a_record_is_amended_whether_or_not_its_class_has_a_way_of_its_own(record: Any) -> None:
    assert amended(record, flagged=3) == replace(record, flagged=3)
