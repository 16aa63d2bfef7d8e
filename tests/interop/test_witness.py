"""A witness that others wrote cosigns what we feed it, our policy accepts its line, and it refuses what it should.

`witness/main.go` beside this file puts github.com/transparency-dev/witness behind a port on loopback. It needs `go`
and, the first time, the modules that go.sum pins.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from ledger.checkpoint import Checkpoint
from ledger.cosignature import MlDsaCosigner
from ledger.errors import Untrue
from ledger.note import COSIGNATURE_V1, ED25519, NoteSigner, encode_base64, format_vkey, parse_note
from ledger.policy import parse_policy, verify_checkpoint
from nodes.feeding import Feed, NoAnswer
from nodes.further import Draft, Further
from tests.interop import go
from tests.ledger.toy import ORIGIN, World

HERE = Path(__file__).parent / "witness"
NAME = "witness.example/w1"
SEED = sha256(b"the key of a witness of others").digest()
SIGNER = NoteSigner(SEED)
VKEY = format_vkey(SIGNER.verifier(NAME, COSIGNATURE_V1))


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return go.build(HERE, "the witness of others", tmp_path_factory.mktemp("witness") / "witness")


def signer_key() -> str:
    """As golang.org/x/mod/sumdb/note writes a private key."""
    key_id = SIGNER.verifier(NAME, ED25519).key_id.hex()
    return f"PRIVATE+KEY+{NAME}+{key_id}+{encode_base64(bytes((ED25519,)) + SEED)}"


@pytest.fixture
def world() -> World:
    made = World()
    made.grow(3)
    made.chain.put_cosigned(made.chain.size, made.note())
    return made


@pytest.fixture
def url(program: Path, world: World) -> Iterator[str]:
    """The witness, which knows the log of `world` by the key of one authority."""
    log = parse_policy(world.policy()).logs[0]
    process = subprocess.Popen([program, signer_key(), format_vkey(log.key)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


def further(world: World, url: str) -> Further:
    lines = f"witness w1 {VKEY} {url}\ngroup everybody all both w1\nquorum everybody\n"
    policy = parse_policy(world.policy().replace(b"quorum both\n", lines.encode()))
    return Further("kz-kgd-1", world.chain, world.store, policy, None)


def grown(world: World, of: Further, at_s: float) -> Draft:
    world.grow(2)
    world.chain.put_cosigned(world.chain.size, world.note())
    draft = of.begin(at_s, 0, 30)
    assert draft is not None
    return draft


def test_it_cosigns_a_log_that_grows_and_our_policy_accepts_its_line(world: World, url: str) -> None:
    collected = further(world, url)
    feed = Feed(url, world.chain)
    for number in range(4):
        draft = grown(world, collected, 100.0 * number)
        assert collected.add(draft, feed.ask(draft)), collected.cosigners["w1"].trouble
        size, note = collected.newest or (0, b"")
        assert size == world.chain.size
        verify_checkpoint(note, collected._policy)
    with pytest.raises(Untrue, match="quorum_not_met"):
        verify_checkpoint(world.note(), collected._policy)


def test_a_feeder_that_lost_its_memory_hears_from_the_witness_where_to_go_on(world: World, url: str) -> None:
    collected = further(world, url)
    Feed(url, world.chain).ask(grown(world, collected, 0.0))
    draft = grown(world, collected, 100.0)
    assert collected.add(draft, Feed(url, world.chain).ask(draft))
    assert collected.add(draft, Feed(url, world.chain).ask(draft)) is False  # the same size again, and nothing new


def forged(world: World, of: Further) -> Draft:
    """A longer history that both authorities signed, and that is not a continuation of this one."""
    other = World()
    other.grow(9)
    draft = grown(world, of, 500.0)
    checkpoint = Checkpoint(ORIGIN, world.chain.size, other.chain.root_at(world.chain.size))
    parsed = parse_note(world.note(checkpoint))
    draft.checkpoint, draft.body, draft.lines = checkpoint, parsed.text, parsed.signatures
    return draft


def test_it_refuses_what_is_not_consistent_with_what_it_saw(world: World, url: str) -> None:
    collected = further(world, url)
    feed = Feed(url, world.chain)
    feed.ask(grown(world, collected, 0.0))
    with pytest.raises(NoAnswer, match=r"422|root"):
        feed.ask(forged(world, collected))


def test_it_refuses_a_log_and_a_key_that_it_does_not_know(world: World, url: str, program: Path) -> None:
    collected = further(world, url)
    draft = grown(world, collected, 0.0)
    draft.lines = draft.lines[1:]  # the log line of the other authority is still there
    # The specification says 403; this release of theirs answers 500.
    with pytest.raises(NoAnswer, match=r"403|500"):
        Feed(url, world.chain).ask(draft)
    stranger = format_vkey(NoteSigner(bytes(32)).verifier("log.example/other", ED25519))
    process = subprocess.Popen([program, signer_key(), stranger], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        with pytest.raises(NoAnswer, match="does not know this log"):
            Feed(process.stdout.readline().strip(), world.chain).ask(grown(world, collected, 100.0))
    finally:
        process.kill()
        process.wait()


def test_its_line_counts_beside_those_of_ml_dsa(world: World, url: str) -> None:
    key = MlDsaCosigner(SEED)
    lines = (
        f"witness w1 {VKEY} {url}\nwitness pq {format_vkey(key.verifier('kz-kgd-1'))}\n"
        "group everybody all both w1 pq\nquorum everybody\n"
    )
    policy = parse_policy(world.policy().replace(b"quorum both\n", lines.encode()))
    collected = Further("kz-kgd-1", world.chain, world.store, policy, key)
    draft = grown(world, collected, 0.0)
    assert collected.newest is None
    assert collected.add(draft, Feed(url, world.chain).ask(draft))
    assert collected.newest is not None
    assert len(collected.newest[1]) > 3000
