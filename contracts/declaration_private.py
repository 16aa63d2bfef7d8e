"""Which fields of a declaration may be committed to instead of open, and the rules that keep the two apart.

    name                     opened value                               must it be in one of the two forms
    consignor                text                                       yes
    consignee                text                                       yes
    value                    {amount, currency}: of the whole invoice   no
    goods/<i>/description    text, of goods item i (from 0)             yes
    goods/<i>/value          {amount, currency}, of goods item i        no
    documents/<i>            {kind, number, sha256}; i is its own       no
                             count, beside the documents left open

What the contracts themselves reckon with stays open: the parties' ids, countries, masses, HS codes, containers. So a
validator never needs a private field, and none can be in two minds about one.

`conceal` makes a content with commitments of an open one, `reveal` the open one again of that and its openings.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from contracts.commitments import Opening, Salts, check_openings, commit_fields, commitments_of
from contracts.identifiers import IdentifierError
from contracts.outcome import Outcome
from ledger.errors import Misuse

ENVELOPE = "envelope_sha256"
COMMITMENTS = "commitments"
# 99 goods items or 20 documents: more than two digits name nothing.
_NAME = re.compile(r"consignor|consignee|value|goods/(0|[1-9]\d?)/(description|value)|documents/(0|[1-9]\d?)", re.ASCII)
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)
_PARTIES = ("consignor", "consignee")
MAX_DOCUMENTS = 20
PRIVATE_FIELD_REFUSALS = (
    Outcome.COMMITMENTS_NOT_IN_ORDER,
    Outcome.FIELD_OPEN_AND_COMMITTED,
    Outcome.COMMITMENT_OF_NOTHING,
    Outcome.FIELD_NEITHER_OPEN_NOR_COMMITTED,
    Outcome.ENVELOPE_MISSING,
    Outcome.ENVELOPE_NOT_EXPECTED,
)


def parse_private_field(text: str) -> str:
    """The name of a field that may be private; IdentifierError for any other."""
    if not _NAME.fullmatch(text):
        raise IdentifierError("private field", 1, "the name of a field that may be private", repr(text[:60]))
    return text


def parse_currency(text: str) -> str:
    """The form of an ISO 4217 code; which codes there are is the operator's table."""
    if not _CURRENCY.fullmatch(text):
        raise IdentifierError("currency code", 1, "three capital letters", repr(text[:60]))
    return text


def private_fields_refusal(content: Mapping[str, Any]) -> Outcome | None:
    """Why the open and the committed fields of a content do not fit together; None if they do."""
    names = [entry["name"] for entry in content.get(COMMITMENTS, ())]
    if sorted(set(names)) != names:
        return Outcome.COMMITMENTS_NOT_IN_ORDER
    goods = content["goods"]
    committed = set(names)
    for name in names:
        if _open_value(content, name) is not None:
            return Outcome.FIELD_OPEN_AND_COMMITTED
        part, _, rest = name.partition("/")
        if part == "goods" and int(rest.partition("/")[0]) >= len(goods):
            return Outcome.COMMITMENT_OF_NOTHING
        if part == "documents" and int(rest) >= MAX_DOCUMENTS:
            return Outcome.COMMITMENT_OF_NOTHING
    needed = (*_PARTIES, *(f"goods/{position}/description" for position in range(len(goods))))
    for name in needed:
        if name not in committed and _open_value(content, name) is None:
            return Outcome.FIELD_NEITHER_OPEN_NOR_COMMITTED
    if bool(names) != (ENVELOPE in content):
        return Outcome.ENVELOPE_MISSING if names else Outcome.ENVELOPE_NOT_EXPECTED
    return None


def _open_value(content: Mapping[str, Any], name: str) -> Any:
    """What stands open under a name. Committed documents have their own count: none of them stands open."""
    part, _, rest = name.partition("/")
    if part == "documents":
        return None
    if part == "goods":
        position, _, field = rest.partition("/")
        goods = content["goods"]
        return goods[int(position)].get(field) if int(position) < len(goods) else None
    return content.get(name)


def every_private_field(content: Mapping[str, Any]) -> list[str]:
    """The names of all that stands open in a content and may be private."""
    names = [name for name in (*_PARTIES, "value") if name in content]
    for position, item in enumerate(content["goods"]):
        names += [f"goods/{position}/{field}" for field in ("description", "value") if field in item]
    return names + [f"documents/{position}" for position in range(len(content.get("documents", ())))]


def conceal(
    content: Mapping[str, Any], names: Collection[str], salts: Salts
) -> tuple[dict[str, Any], tuple[Opening, ...]]:
    """The content with the named fields committed to, and what opens them. The documents named are counted anew.

    The envelope's hash is still to be put in, under `envelope_sha256`, once `api.envelope` has sealed the openings.
    """
    for name in names:
        parse_private_field(name)
    concealed = {key: value for key, value in content.items() if key != "documents"}
    concealed["goods"] = [dict(item) for item in content["goods"]]
    fields: dict[str, Any] = {}
    for name in sorted(set(names)):
        part, _, rest = name.partition("/")
        if part == "documents":
            continue
        holder, key = concealed, name
        if part == "goods":
            position, _, key = rest.partition("/")
            if int(position) >= len(concealed["goods"]):
                raise Misuse(f"no field {name}: expected one of {', '.join(every_private_field(content))}")
            holder = concealed["goods"][int(position)]
        if key not in holder:
            raise Misuse(f"no field {name}: expected one of {', '.join(every_private_field(content))}")
        fields[name] = holder.pop(key)
    documents = content.get("documents", ())
    hidden = [position for position in range(len(documents)) if f"documents/{position}" in names]
    if len(hidden) != sum(name.startswith("documents/") for name in set(names)):
        raise Misuse(f"no such document: expected positions below {len(documents)}")
    for count, place in enumerate(hidden):
        fields[f"documents/{count}"] = documents[place]
    left = [document for place, document in enumerate(documents) if place not in hidden]
    if left:
        concealed["documents"] = left
    commitments, openings = commit_fields(fields, salts)
    if commitments:
        concealed[COMMITMENTS] = [{"name": name, "sha256": digest} for name, digest in commitments.items()]
    return concealed, openings


def reveal(content: Mapping[str, Any], openings: Iterable[Opening]) -> dict[str, Any]:
    """The open content again; Untrue unless the openings open every commitment of it. Private documents come last."""
    openings = tuple(openings)
    check_openings(openings, commitments_of(dict(content)))
    revealed = {key: value for key, value in content.items() if key not in (COMMITMENTS, ENVELOPE, "documents")}
    revealed["goods"] = [dict(item) for item in content["goods"]]
    documents = list(content.get("documents", ()))
    for opening in openings:
        part, _, rest = opening.name.partition("/")
        if part == "documents":
            continue
        if part == "goods":
            position, _, field = rest.partition("/")
            revealed["goods"][int(position)][field] = opening.value
        else:
            revealed[opening.name] = opening.value
    counted = {int(o.name.partition("/")[2]): o.value for o in openings if o.name.startswith("documents/")}
    documents += [counted[count] for count in sorted(counted)]
    if documents:
        revealed["documents"] = documents
    return revealed
