"""What governance has brought about, as plain data: the parameters and contracts in force, since when and by what.

From records that a gateway has read by name: a state cannot be listed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from contracts.authority_keys import CA, LOG_KEY, AuthorityKeys
from contracts.catalogue import CONTRACT_NAMES, CONTRACTS
from contracts.governance_changes import contract_version
from contracts.governance_record import CONTRACT_LIST, OPEN_LIST, ROOT, SCHEDULE, now_key, pending_key
from contracts.parameters import PARAMETERS, IntegerParameter, parameter_key, parameter_value
from contracts.working import Working
from ledger.cbor import decode

View = dict[str, Any]


def parameter_keys() -> list[str]:
    """The records that `parameters_view` looks at."""
    topics = [f"parameter/{name}" for name in PARAMETERS]
    return [
        *(parameter_key(name) for name in PARAMETERS),
        *map(now_key, topics),
        *map(pending_key, topics),
    ]


def parameters_view(records: Mapping[str, bytes]) -> list[View]:
    """Every parameter: what holds, since when and by which proposal, and what waits to replace it."""
    working = Working(records)
    return [
        {
            "name": name,
            "value": parameter_value(records.get, name),
            "default": rule.default,
            "lowest": rule.lowest if isinstance(rule, IntegerParameter) else None,
            "highest": rule.highest if isinstance(rule, IntegerParameter) else None,
            "meaning": rule.meaning,
            **topic_view(working, f"parameter/{name}"),
        }
        for name, rule in PARAMETERS.items()
    ]


def contract_keys() -> list[str]:
    """The records that `contracts_view` looks at."""
    topics = [f"contract/{name}" for name in CONTRACT_NAMES]
    return [ROOT, OPEN_LIST, SCHEDULE, CONTRACT_LIST, *topics, *map(now_key, topics), *map(pending_key, topics)]


def contracts_view(records: Mapping[str, bytes]) -> list[View]:
    """Every contract of this network: the version in force, since when, what waits, and what this program has."""
    working = Working(records)
    return [
        {
            "name": name,
            "version": contract_version(working, name),
            "versions_here": sorted(version for other, version in CONTRACTS if other == name),
            **topic_view(working, f"contract/{name}"),
        }
        for name in CONTRACT_NAMES
        if contract_version(working, name)
    ]


def authority_keys_view(keys: AuthorityKeys) -> list[View]:
    """Every log key and CA that ever counted, each authority's oldest first, then those that wait for their height."""
    kinds = ((LOG_KEY, keys.log_keys, keys.log_keys_waiting), (CA, keys.cas, keys.cas_waiting))
    found: list[View] = []
    for kind, tenures, waiting in kinds:
        found += [
            {
                "authority": each.authority,
                "kind": kind,
                "value": each.value.hex(),
                "from_height": each.from_height,
                "until_height": each.until_height,
                "until_ms": each.until_ms,
                "proposal": each.proposal,
                "waiting": False,
            }
            for held in tenures.values()
            for each in held
        ]
        found += [
            {
                "authority": each.authority,
                "kind": kind,
                "value": each.value.hex(),
                "from_height": each.height,
                "until_height": None,
                "until_ms": None,
                "proposal": each.proposal,
                "waiting": True,
            }
            for each in waiting
        ]
    return found


def topic_view(working: Working, topic: str) -> View:
    """Which proposal changed a topic last, and which is going to; None and None as of genesis."""
    now, pending = working.row(now_key(topic)), working.row(pending_key(topic))
    since = None if now is None else dict(zip(("proposal", "height", "time_ms", "statement"), now, strict=True))
    return {"since": since, "pending": None if pending is None else str(pending[0])}


def legal_basis_view(raw: bytes) -> View:
    """An entry of the register of legal bases. One that was taken off has no date."""
    agreement, article, effective = (str(value) for value in cast(Any, decode(raw)))
    return {"agreement": agreement, "article": article, "effective": effective or None}
