"""The quick look at a payload against the check that decides: what fits, the check lets through."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.catalogue import CONTRACTS
from contracts.schema import Field, PayloadError, Schema, boolean, choice, integer, list_of, map_of, octets, text
from tests.contracts.test_payloads import GOOD

INNER = Schema((Field("a", integer(-3, 3)), Field("b", text(3), False)))
EVERYTHING = Schema(
    (
        Field("whole", integer(0, 5)),
        Field("words", text(4)),
        Field("raw", octets(1, 3), False),
        Field("yes", boolean(), False),
        Field("one", choice("x", "y"), False),
        Field("many", list_of(choice("x", "y", "z"), 1, 2, unique=True), False),
        Field("map", map_of(INNER, name="inner"), False),
        Field("maps", list_of(map_of(INNER, name="inner"), 0, 2), False),
    )
)
EITHER = Schema((Field("x", boolean(), False), Field("y", boolean(), False)), exactly_one=("x", "y"))

_TEXTS = st.text(alphabet="xyz\n\t\x1f \x7fé", max_size=5)
_INNER = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(-4, 4) | _TEXTS | st.booleans(), max_size=3)
_VALUES = st.one_of(
    st.integers(-5, 7),
    st.booleans(),
    _TEXTS,
    st.binary(max_size=4),
    st.none(),
    st.lists(st.sampled_from(["x", "y", "z", "w", 1, True]), max_size=3),
    _INNER,
    st.lists(_INNER, max_size=3),
)
_RIGHT = st.fixed_dictionaries({"whole": st.integers(0, 5), "words": st.text(alphabet="xy\n", min_size=1, max_size=4)})
_ODD = st.dictionaries(st.sampled_from([field.name for field in EVERYTHING.fields] + ["zz"]), _VALUES, max_size=5)


def _refused(schema: Schema, payload: dict[str, Any]) -> bool:
    try:
        schema.check_each("", payload)
    except PayloadError:
        return True
    return False


@given(st.builds(lambda right, odd: {**right, **odd}, _RIGHT, _ODD))
@settings(max_examples=400)
def test_what_fits_is_what_the_check_lets_through(payload: dict[str, Any]) -> None:
    assert EVERYTHING.fits(payload) is not _refused(EVERYTHING, payload)


@given(st.dictionaries(st.sampled_from(["x", "y", "z"]), st.booleans() | st.integers(0, 1)))
def test_exactly_one_of_some_fields_has_to_be_there_to_fit(payload: dict[str, Any]) -> None:
    assert EITHER.fits(payload) is not _refused(EITHER, payload)


@pytest.mark.parametrize(("kind", "payload"), GOOD)
def test_a_good_payload_fits_so_that_no_path_is_ever_written_for_it(kind: str, payload: dict[str, Any]) -> None:
    name, _, event = kind.partition(".")
    assert CONTRACTS[(name, 1)].schemas[event].fits(payload)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, each in inside for found in _places(each, (*path, key)))]


def _with(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copied: Any = dict(value) if isinstance(value, dict) else list(value)
    copied[path[0]] = _with(copied[path[0]], path[1:], new)
    return copied


@given(st.data())
@settings(max_examples=300)
def test_no_payload_of_a_kind_fits_that_its_check_refuses(data: st.DataObject) -> None:
    """Good payloads, each with a value anywhere in it replaced by another, altered or of another type."""
    kind, payload = data.draw(st.sampled_from(GOOD))
    path = data.draw(st.sampled_from(_places(payload)[1:]))
    old: Any = payload
    for key in path:
        old = old[key]
    altered: list[Any] = [old[:-1], 2 * old] if hasattr(old, "__len__") and not isinstance(old, dict) else []
    new = data.draw(
        st.sampled_from([*altered, "", "x", "\x00", b"", 0, -1, 1 << 64, True, None, [], {}, [[]], {"a": {}}])
    )
    changed = _with(payload, path, new)
    name, _, event = kind.partition(".")
    schema = CONTRACTS[(name, 1)].schemas[event]
    assert schema.fits(changed) is not _refused(schema, changed)
