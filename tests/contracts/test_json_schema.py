"""The schema documents against the check that decides: what one takes the other takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.catalogue import CONTRACTS
from contracts.identifier_forms import FORMS
from contracts.identifiers import IdentifierError
from contracts.json_schema import as_json, payload_schema, payload_schemas
from contracts.outcome import Outcome
from contracts.schema import (
    Field,
    PayloadError,
    Schema,
    Type,
    boolean,
    choice,
    integer,
    list_of,
    map_of,
    octets,
    text,
)
from tests.contracts.test_payloads import GOOD

DOCUMENTS = payload_schemas()
VALIDATORS = {name: jsonschema.Draft202012Validator(document) for name, document in DOCUMENTS.items()}
# What JSON Schema cannot say: check digits, dates, numbers of a country, that no map of a list names a thing twice.
BEYOND_JSON_SCHEMA = {Outcome.PAYLOAD_IDENTIFIER_INVALID}


def _accepts(schema: Schema, payload: dict[str, Any]) -> Outcome | None:
    try:
        schema.check("", payload)
    except PayloadError as error:
        return error.outcome
    return None


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_is_a_schema_of_its_dialect_and_is_the_one_in_docs(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(DOCUMENTS[name])
    path = Path(__file__).parents[2] / "docs" / "schemas" / f"{name}.json"
    assert json.loads(path.read_text()) == DOCUMENTS[name], "run: make generate"


@pytest.mark.parametrize(("kind", "payload"), GOOD)
def test_what_the_contract_accepts_the_schema_accepts(kind: str, payload: dict[str, Any]) -> None:
    VALIDATORS[kind].validate(as_json(payload))


def test_every_type_says_something_in_json_schema() -> None:
    def types(schema: Schema) -> list[Type]:
        return [field.type for field in schema.fields] + [t for _, inner in schema.maps() for t in types(inner)]

    silent = [
        f"{contract.name}.{event}"
        for contract in CONTRACTS.values()
        for event, schema in contract.schemas.items()
        if not all(each.json_schema for each in types(schema))
    ]
    assert silent == []


@pytest.mark.parametrize(("parse", "form"), FORMS.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_the_example_of_a_form_is_an_identifier(parse: Any, form: Any) -> None:
    parse(form["examples"][0])


FORM_VALIDATORS = {parse: jsonschema.Draft202012Validator(dict(form)) for parse, form in FORMS.items()}
NEARLY = st.text(alphabet="AZ09az./@_-,UJ中 ", max_size=20)


@given(NEARLY | st.sampled_from(["KZ/BAKHTY@1,2", "KZ/BAKHTY@-90000000,1", "CNBKT", "fleet/A-1", "KZ/京1", "A" * 35]))
def test_a_form_refuses_no_identifier(candidate: str) -> None:
    for parse, validator in FORM_VALIDATORS.items():
        try:
            parse(candidate)
        except IdentifierError:
            continue
        assert validator.is_valid(candidate), (parse.__name__, candidate)


# One schema with every type in it, and payloads that are right, nearly right and wrong.
INNER = Schema((Field("a", integer(-3, 3)), Field("b", text(3), False)))
EVERYTHING = Schema(
    (
        Field("whole", integer(0, 5)),
        Field("words", text(4)),
        Field("raw", octets(1, 3), False),
        Field("yes", boolean(), False),
        Field("one", choice("x", "y"), False),
        Field("many", list_of(choice("x", "y", "z"), 1, 2, unique=True), False),
        Field("maps", list_of(map_of(INNER, name="inner"), 0, 2), False),
    )
)
EITHER = Schema((Field("x", boolean(), False), Field("y", boolean(), False)), exactly_one=("x", "y"))
_TEXTS = st.text(alphabet="xyz\n\t\x1f é", max_size=5)
_VALUES = st.one_of(
    st.integers(-5, 7),
    st.booleans(),
    _TEXTS,
    st.binary(max_size=4),
    st.none(),
    st.lists(st.sampled_from(["x", "y", "z", "w", 1]), max_size=3),
    st.lists(st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(-4, 4) | _TEXTS, max_size=3), max_size=3),
)
_RIGHT = st.fixed_dictionaries({"whole": st.integers(0, 5), "words": st.text(alphabet="xy\n", min_size=1, max_size=4)})
_ODD = st.dictionaries(st.sampled_from([field.name for field in EVERYTHING.fields] + ["zz"]), _VALUES, max_size=4)


def _pictures_alike(schema: Schema, payload: dict[str, Any]) -> bool:
    """Bytes and their hex look alike in JSON: where one stands for the other the picture cannot tell them apart."""
    by_name = {field.name: field.type.json_schema for field in schema.fields}
    return any(
        isinstance(value, str if "contentEncoding" in by_name.get(name, {}) else bytes)
        for name, value in payload.items()
    )


@given(st.builds(lambda right, odd: {**right, **odd}, _RIGHT, _ODD))
def test_schema_and_check_agree_on_everything_that_json_schema_can_say(payload: dict[str, Any]) -> None:
    if _pictures_alike(EVERYTHING, payload):
        return
    refused = _accepts(EVERYTHING, payload)
    valid = jsonschema.Draft202012Validator(EVERYTHING.json_schema()).is_valid(as_json(payload))
    assert valid == (refused is None), refused


@given(st.dictionaries(st.sampled_from(["x", "y"]), st.booleans()))
def test_exactly_one_of_some_fields_is_said_in_the_schema(payload: dict[str, Any]) -> None:
    valid = jsonschema.Draft202012Validator(EITHER.json_schema()).is_valid(payload)
    assert valid == (_accepts(EITHER, payload) is None)


@given(data=st.data())
def test_what_the_schema_of_a_kind_refuses_the_contract_refuses(data: st.DataObject) -> None:
    """Each good payload with a few fields of another taken over: the schema never refuses what the check takes."""
    kind, payload = data.draw(st.sampled_from(GOOD))
    _, other = data.draw(st.sampled_from(GOOD))
    keys = data.draw(st.lists(st.sampled_from(sorted({*payload, *other})), max_size=3))
    changed = dict(payload)
    for key in keys:
        if key in other:
            changed[key] = other[key]
        else:
            changed.pop(key, None)
    name, _, event = kind.partition(".")
    refused = _accepts(CONTRACTS[(name, 1)].schemas[event], changed)
    valid = VALIDATORS[kind].is_valid(as_json(changed))
    assert valid or refused is not None
    if refused is not None and refused not in BEYOND_JSON_SCHEMA:
        assert not valid, (kind, refused)


def test_a_schema_document_names_kind_version_meaning_and_subject() -> None:
    document = payload_schema(CONTRACTS[("escort", 1)], "plan")
    assert document["$id"] == "urn:comity:schema:escort.plan:1"
    assert document["title"] == "escort.plan"
    assert "MRN" in document["description"]
