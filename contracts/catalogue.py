"""The one list of contracts: every version of every contract that this program can execute.

Old entries replay under old versions for ever, so nothing leaves this list. A contract is in a network if its genesis,
or a change of contracts that both authorities signed, names it; those of `ALWAYS` are in every network. Adding one here
is all there is to adding a contract: what it accepts, its documents and its look-up are made from its declaration.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from contracts.declaration import DECLARATION
from contracts.escort import ESCORT, ESCORT_2
from contracts.governance import GOVERNANCE, GOVERNANCE_2
from contracts.machine import Contract, RecordType
from contracts.phytosanitary import PHYTOSANITARY
from contracts.registry import REGISTRY, REGISTRY_2
from contracts.well_formed import NotWellFormed, check_contract
from contracts.working import UnreadableRecord

# In the state of every network, with version 1 if the genesis does not say: so it was when there were no others.
ALWAYS = ("registry", "declaration", "escort")
# Written to be read: in no new network unless whoever makes it says so.
EXAMPLES = ("phytosanitary",)


def _catalogue(*contracts: Contract) -> dict[tuple[str, int], Contract]:
    catalogue: dict[tuple[str, int], Contract] = {}
    for contract in contracts:
        check_contract(contract)
        if (contract.name, contract.version) in catalogue:
            raise NotWellFormed(f"contract {contract.name} version {contract.version}: expected once, got it twice")
        catalogue[(contract.name, contract.version)] = contract
    return catalogue


CONTRACTS = _catalogue(REGISTRY, REGISTRY_2, DECLARATION, ESCORT, ESCORT_2, GOVERNANCE, GOVERNANCE_2, PHYTOSANITARY)
CONTRACT_NAMES = tuple(dict.fromkeys(name for name, _ in CONTRACTS))


def newest_versions() -> dict[str, int]:
    """The highest version of each contract that this program has."""
    return {name: max(version for other, version in CONTRACTS if other == name) for name in CONTRACT_NAMES}


def usual_versions() -> dict[str, int]:
    """What a new network has if nothing else is said: the newest version of every contract that is no example."""
    return {name: version for name, version in newest_versions().items() if name not in EXAMPLES}


def contract_of(name: str, version: int | None = None) -> Contract | None:
    """A contract by name, the newest version if none is asked for."""
    return CONTRACTS.get((name, version if version is not None else newest_versions().get(name, 0)))


def read_record(name: str, raw: bytes) -> tuple[RecordType[Any], Any]:
    """A record of a contract and its type, whichever version wrote it: each format has a tag of its own."""
    versions = [contract for (other, _), contract in sorted(CONTRACTS.items(), reverse=True) if other == name]
    for contract in versions[:-1]:
        with suppress(UnreadableRecord):
            return contract.record, contract.record.decode(raw)
    return versions[-1].record, versions[-1].record.decode(raw)


def kind_parts(kind: str) -> tuple[str, str]:
    """The contract and the event that a kind of statement names: `escort.plan`."""
    name, _, event = kind.partition(".")
    return name, event
