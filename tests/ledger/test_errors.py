"""The four classes stay apart, and survive the trip between processes."""

from __future__ import annotations

import pickle

import pytest

from ledger.errors import LedgerError, Malformed, Misuse, UnknownDurableState, Untrue


@pytest.mark.parametrize("one", [Malformed, Untrue, Misuse, UnknownDurableState])
@pytest.mark.parametrize("other", [Malformed, Untrue, Misuse, UnknownDurableState])
def test_no_class_is_caught_as_another(one: type[LedgerError], other: type[LedgerError]) -> None:
    assert issubclass(one, LedgerError)
    assert issubclass(one, other) == (one is other)


@pytest.mark.parametrize("kind", [Malformed, Untrue])
def test_code_and_text_survive_pickling(kind: type[Malformed] | type[Untrue]) -> None:
    copy = pickle.loads(pickle.dumps(kind("bad_thing", "expected 1, got 2")))
    assert type(copy) is kind
    assert (copy.code, str(copy)) == ("bad_thing", "bad_thing: expected 1, got 2")
