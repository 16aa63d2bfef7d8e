"""A ledger of any length in the folder of a validator, made in minutes: as real on disk as one that grew for years.

Entries, tree, indexes, state and final checkpoint are those that a validator would have written, block by block through
`ledger.chain`, with the real keys of the network. Two things are not: nobody executed a contract, so the records of
the state are made up, and the statements carry a signature that nobody checked. Opening, copying and serving a ledger
look at neither.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from consensus.messages import Entry, HardState, SnapshotMetadata
from contracts.execute import genesis_state
from ledger.algorithms import EDDSA, PrivateKey
from ledger.chain import Chain
from ledger.checkpoint import Checkpoint, checkpoint_body, log_signature
from ledger.cosignature import cosign
from ledger.note import Note, NoteSigner, format_note
from ledger.statement import Statement, sign_statement
from nodes.blocks import encode_block
from nodes.config import load_validator_config
from nodes.environment import Environment
from nodes.files import Files
from nodes.identity import Identity, load_identity
from nodes.network import Network
from nodes.opening import FIRST_START
from nodes.raft_store import RaftStore
from nodes.records import RecordIndex

BLOCK_STATEMENTS = 200
RECORD_BYTES = 180
TERM = 3
# Entries of the order that there are, the last that the ledger has executed: whoever needs others needs a snapshot.
ORDER_TAIL = 5


class _Unsigned:
    """Signs nothing: 64 bytes that no key made."""

    def __init__(self) -> None:
        self.material = NoteSigner.generate().public_key

    def sign(self, message: bytes) -> bytes:
        return sha256(message).digest() + bytes(32)

    def to_pem(self) -> bytes:
        raise ValueError("there is no key to spell out: this signs nothing")


def make_long_ledger(
    network: Network,
    name: str,
    entries: int,
    records: int,
    progress: Callable[[str], None],
    *,
    every_block_final: bool = False,
) -> Path:
    """Fill the data folder of a validator that has not started yet; return it.

    `every_block_final`: each block has a final checkpoint of its own, as at a post that is not overloaded.
    """
    config = load_validator_config(next(each.config for each in network.validators if each.name == name))
    identity = load_identity(config)
    environment = Environment()
    store = environment.open_store(config.data / "ledger")
    chain = Chain.open(store)
    state = genesis_state(identity.genesis)
    index = RecordIndex(store)
    store.write(index.additions(state))
    chain.initialise(identity.genesis, state)
    key = PrivateKey(EDDSA, _Unsigned())
    blocks = entries // (BLOCK_STATEMENTS + 1)
    time_ms, made = identity.genesis.time_ms, 0
    value = sha256(name.encode()).digest() * 6
    for block in range(blocks):
        time_ms += 100
        statements = [_statement(key, block * BLOCK_STATEMENTS + number) for number in range(BLOCK_STATEMENTS)]
        wanted = records * (block + 1) // blocks
        changes: dict[str, bytes | None] = {
            f"declaration/{number:012d}": value[number % 12 :][:RECORD_BYTES] for number in range(made, wanted)
        }
        made = wanted
        names = index.additions(changes)
        chain.append_block(block + 1, time_ms, name, statements, changes, names)
        if every_block_final:
            make_final(network, chain)
        if block % 500 == 0:
            progress(f"{name}: {chain.size} of {entries} entries")
    make_final(network, chain)
    store.close()
    _make_order(environment, config.data, identity, name, blocks)
    Files().remove(config.data / FIRST_START)
    return config.data


def _statement(key: PrivateKey, number: int) -> Statement:
    return sign_statement(
        key,
        kind="escort.position",
        iss=f"kz/truck/{number % 1000}",
        sub=f"escort-{number // 20}",
        iat_s=1_795_000_000 + number,
        cti=number.to_bytes(16, "big"),
        payload={"place": "CNBKT", "odometer_m": 1_204_400 + number},
    )


def make_final(network: Network, chain: Chain) -> None:
    checkpoint = Checkpoint(chain.genesis.origin, chain.size, chain.root)
    lines = []
    for authority in network.authorities:
        validator = next(each for each in network.validators if each.authority == authority.name)
        config = load_validator_config(validator.config)
        if config.log_key is None or config.cosigner_key is None:
            raise ValueError(f"{validator.name} has no keys to cosign with")
        lines.append(log_signature(NoteSigner.from_pem(config.log_key.read_bytes()), checkpoint))
        key = NoteSigner.from_pem(config.cosigner_key.read_bytes())
        lines.append(cosign(key, validator.name, checkpoint, 1_795_000_000))
    chain.put_cosigned(chain.size, format_note(Note(checkpoint_body(checkpoint), tuple(lines))))


def _make_order(environment: Environment, data: Path, identity: Identity, name: str, blocks: int) -> None:
    order = RaftStore(
        environment.open_store(data / "order"), node=name, network=identity.network, membership=identity.membership
    )
    base = max(0, blocks - ORDER_TAIL)
    if base:
        order.install(SnapshotMetadata(base, TERM, identity.membership))
    payload = encode_block(name, identity.genesis.time_ms, [])
    tail = [Entry(TERM, position, data=payload) for position in range(base + 1, blocks + 1)]
    order.write(HardState(TERM, None, blocks), tail, sync=True)
    order.close()


def copy_ledger(network: Network, source: Path, name: str) -> None:
    """Give another validator the same ledger and an order of its own."""
    config = load_validator_config(next(each.config for each in network.validators if each.name == name))
    shutil.copytree(source / "ledger", config.data / "ledger")
    environment = Environment()
    store = environment.open_store(config.data / "ledger")
    blocks = Chain.open(store).applied
    store.close()
    _make_order(environment, config.data, load_identity(config), name, blocks)
    Files().remove(config.data / FIRST_START)
