"""Declarative payload schemas: what a field may hold, said once and checked before anything else.

A schema is a map of named fields; a field has a type with limits. A payload with a field that the schema does not name
is refused: what nobody checks must not be signed into the ledger. Checking never changes a payload.

A payload is nearly always right. So a type also says quickly whether a value fits, without keeping track of where in
the payload it stands; only for what does not fit are the checks asked, which know why, and theirs is the last word.

Beside its check a type carries what JSON Schema can say of it (`contracts.json_schema` makes the documents). The check
decides; the schema may allow more, never less: a test holds the two against each other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from contracts.identifier_forms import FORMS
from contracts.identifiers import IdentifierError
from contracts.outcome import Outcome

Check = Callable[[str, object], None]
# May be False for a value that the check lets through, never True for one that it refuses.
Fits = Callable[[object], bool]
SHA256_BYTES = 32
MAX_TEXT_CHARS = 500
# Texts that parsed as an identifier, of each sort: a movement names the same ones again and again.
MAX_REMEMBERED_IDENTIFIERS = 4096

_find_control = re.compile(r"[\x00-\x09\x0b-\x1f]").search


class PayloadError(ValueError):
    """A payload that its schema refuses: the outcome it will meet, and the field."""

    def __init__(self, outcome: Outcome, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.outcome = outcome
        self.path = path


def _unknown_fit(value: object) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Type:
    """How one value is checked, how the reference describes it, and what JSON Schema can say of it.

    `parse` of an identifier, `element` of a list, `schema` of a map: for who walks payloads (`contracts.mentions`).
    """

    check: Check
    description: str
    json_schema: Mapping[str, Any] = field(default_factory=dict, compare=False)
    maps: tuple[tuple[str, Schema], ...] = ()  # the maps that a value holds, by name
    parse: Callable[[str], object] | None = field(default=None, compare=False)
    element: Type | None = field(default=None, compare=False)
    schema: Schema | None = field(default=None, compare=False)
    fits: Fits = field(default=_unknown_fit, compare=False)


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    type: Type
    required: bool = True
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class Schema:
    """Fields in the order in which they are checked; of the names in `exactly_one`, one and no other must be there."""

    fields: tuple[Field, ...]
    exactly_one: tuple[str, ...] = ()
    meaning: str = field(default="", compare=False, kw_only=True)  # of an event: what a statement with it says
    _checks: tuple[tuple[str, Check, bool], ...] = field(init=False, repr=False, compare=False)
    _fits: tuple[tuple[str, Fits, bool], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_checks", tuple((f.name, f.type.check, f.required) for f in self.fields))
        object.__setattr__(self, "_fits", tuple((f.name, f.type.fits, f.required) for f in self.fields))

    def fits(self, payload: Mapping[str, object]) -> bool:
        found = 0
        for name, fits, required in self._fits:
            if name in payload:
                if not fits(payload[name]):
                    return False
                found += 1
            elif required:
                return False
        if found != len(payload):
            return False
        return not self.exactly_one or sum(name in payload for name in self.exactly_one) == 1

    def check(self, path: str, payload: Mapping[str, object]) -> None:
        """Raise PayloadError for the first field, in their order, that is not as it must be."""
        if not self.fits(payload):
            self.check_each(path, payload)

    def check_each(self, path: str, payload: Mapping[str, object]) -> None:
        """The same, field by field: what decides, and can say why."""
        found = 0
        for name, check, required in self._checks:
            if name in payload:
                found += 1
                check(f"{path}.{name}" if path else name, payload[name])
            elif required:
                raise PayloadError(Outcome.PAYLOAD_FIELD_MISSING, _joined(path, name), "expected the field, got none")
        if found != len(payload):
            known = {entry.name for entry in self.fields}
            unknown = sorted(str(name) for name in payload if name not in known)
            raise PayloadError(
                Outcome.PAYLOAD_FIELD_UNKNOWN, _joined(path, unknown[0]), f"expected only {', '.join(sorted(known))}"
            )
        if self.exactly_one:
            present = [name for name in self.exactly_one if name in payload]
            if len(present) != 1:
                raise PayloadError(
                    Outcome.PAYLOAD_FIELD_MISSING if not present else Outcome.PAYLOAD_FIELD_UNKNOWN,
                    _joined(path, present[-1] if present else self.exactly_one[0]),
                    f"expected exactly one of {', '.join(self.exactly_one)}, got {len(present)}",
                )

    def maps(self) -> tuple[tuple[str, Schema], ...]:
        """The maps in a payload of this schema, by name, each where it is first met."""
        return tuple(found for entry in self.fields for found in entry.type.maps)

    def json_schema(self) -> dict[str, Any]:
        """What JSON Schema can say of a payload or map of this schema."""
        properties = {}
        for entry in self.fields:
            said = dict(entry.type.json_schema)
            if entry.meaning:
                said["description"] = entry.meaning
            properties[entry.name] = said
        schema: dict[str, Any] = {
            "type": "object",
            "properties": properties,
            "required": [entry.name for entry in self.fields if entry.required],
            "additionalProperties": False,
        }
        if self.exactly_one:
            schema["oneOf"] = [{"required": [name]} for name in self.exactly_one]
        return schema


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _wrong_type(path: str, expected: str, value: object) -> PayloadError:
    return PayloadError(Outcome.PAYLOAD_FIELD_WRONG_TYPE, path, f"expected {expected}, got {type(value).__name__}")


def _out_of_limits(path: str, expected: str, got: object) -> PayloadError:
    return PayloadError(Outcome.PAYLOAD_FIELD_OUT_OF_LIMITS, path, f"expected {expected}, got {got}")


def text(longest: int = MAX_TEXT_CHARS) -> Type:
    """1 to `longest` characters, none of them a control character but line feed."""

    def check(path: str, value: object) -> None:
        if type(value) is not str:
            raise _wrong_type(path, "text", value)
        if not 1 <= len(value) <= longest:
            raise _out_of_limits(path, f"1 to {longest} characters", len(value))
        if any(char < " " and char != "\n" for char in value):
            raise _out_of_limits(path, "no control characters", "one")

    # Every character but the controls; line feed is let through.
    pattern = r"^[^\u0000-\u0009\u000b-\u001f]*$"
    return Type(
        check,
        f"text, 1 to {longest} characters",
        {"type": "string", "minLength": 1, "maxLength": longest, "pattern": pattern},
        fits=lambda value: type(value) is str and 1 <= len(value) <= longest and not _find_control(value),
    )


def integer(lowest: int, highest: int) -> Type:
    def check(path: str, value: object) -> None:
        if type(value) is not int:  # a bool is an int to isinstance
            raise _wrong_type(path, "an integer", value)
        if not lowest <= value <= highest:
            raise _out_of_limits(path, f"{lowest} to {highest}", value)

    return Type(
        check,
        f"integer, {lowest} to {highest}",
        {"type": "integer", "minimum": lowest, "maximum": highest},
        fits=lambda value: type(value) is int and lowest <= value <= highest,
    )


def octets(shortest: int, longest: int) -> Type:
    def check(path: str, value: object) -> None:
        if type(value) is not bytes:
            raise _wrong_type(path, "bytes", value)
        if not shortest <= len(value) <= longest:
            raise _out_of_limits(path, f"{shortest} to {longest} bytes", len(value))

    return Type(
        check,
        f"{shortest} bytes" if shortest == longest else f"{shortest} to {longest} bytes",
        {
            "type": "string",
            "contentEncoding": "base16",
            "minLength": 2 * shortest,
            "maxLength": 2 * longest,
            "pattern": "^(?:[0-9a-f]{2})*$",
        },
        fits=lambda value: type(value) is bytes and shortest <= len(value) <= longest,
    )


def sha256() -> Type:
    return octets(SHA256_BYTES, SHA256_BYTES)


def boolean() -> Type:
    def check(path: str, value: object) -> None:
        if type(value) is not bool:
            raise _wrong_type(path, "a boolean", value)

    return Type(check, "boolean", {"type": "boolean"}, fits=lambda value: type(value) is bool)


def choice(*values: str) -> Type:
    allowed = frozenset(values)

    def check(path: str, value: object) -> None:
        if type(value) is not str:
            raise _wrong_type(path, "text", value)
        if value not in allowed:
            raise _out_of_limits(path, f"one of {', '.join(values)}", repr(value))

    description = "one of " + ", ".join(f"`{value}`" for value in values)
    return Type(
        check,
        description,
        {"type": "string", "enum": list(values)},
        fits=lambda value: type(value) is str and value in allowed,
    )


def identifier(parse: Callable[[str], object], what: str) -> Type:
    def check(path: str, value: object) -> None:
        if type(value) is not str:
            raise _wrong_type(path, f"text of a {what}", value)
        try:
            parse(value)
        except IdentifierError as error:
            raise PayloadError(Outcome.PAYLOAD_IDENTIFIER_INVALID, path, str(error)) from error

    remembered = lru_cache(MAX_REMEMBERED_IDENTIFIERS)(parse)

    def fits(value: object) -> bool:
        if type(value) is not str:
            return False
        try:
            remembered(value)
        except IdentifierError:
            return False
        return True

    return Type(check, what, {"type": "string", "title": what, **FORMS.get(parse, {})}, parse=parse, fits=fits)


def list_of(element: Type, fewest: int, most: int, *, unique: bool = False) -> Type:
    def check(path: str, value: object) -> None:
        if not isinstance(value, list | tuple):
            raise _wrong_type(path, "an array", value)
        if not fewest <= len(value) <= most:
            raise _out_of_limits(path, f"{fewest} to {most} elements", len(value))
        for index, entry in enumerate(value):
            element.check(f"{path}[{index}]", entry)
        if unique and len(set(value)) != len(value):
            raise _out_of_limits(path, "no element twice", "one twice")

    element_fits = element.fits

    def fits(value: object) -> bool:
        if type(value) is not list or not fewest <= len(value) <= most:
            return False
        return all(map(element_fits, value)) and (not unique or len(set(value)) == len(value))

    different = ", all different" if unique else ""
    schema = {"type": "array", "minItems": fewest, "maxItems": most, "items": element.json_schema}
    if unique:
        schema["uniqueItems"] = True
    description = f"array of {fewest} to {most}{different}: {element.description}"
    return Type(check, description, schema, element.maps, element=element, fits=fits)


def map_of(schema: Schema, *, name: str) -> Type:
    def check(path: str, value: object) -> None:
        if not isinstance(value, dict):
            raise _wrong_type(path, "a map", value)
        schema.check(path, value)

    return Type(
        check,
        f"map `{name}`",
        {"title": name, **schema.json_schema()},
        ((name, schema), *schema.maps()),
        schema=schema,
        fits=lambda value: type(value) is dict and schema.fits(value),
    )
