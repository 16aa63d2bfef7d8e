"""Coming back by a snapshot across the replacement of a log key: by which key its checkpoint is believed.

The validator that was away has the policy file of before: it has not heard of the new key, and a thief may have the
old one.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ledger.chain import Chain
from ledger.chain_layout import HEAD
from ledger.errors import Untrue
from ledger.leveldb import LevelDBStore
from ledger.note import NoteSigner
from ledger.policy import parse_policy
from ledger.snapshot import Descriptor, SnapshotSource
from ledger.snapshot_building import SnapshotBuilder
from ledger.store import MemoryStore, Store
from nodes.catch_up import CatchUp
from nodes.catch_up_adoption import LEDGER, STAGING
from nodes.snapshots import judge_by_ledger
from tests.contracts.rotated import CN, OVERLAP_S, RotatedWorld
from tests.ledger.snapshots import Piece, genesis_state_root, take
from tests.nodes import test_catch_up
from tests.nodes.test_catch_up import Peers, impatient, make_catch_up, run, trouble_of  # noqa: F401


class Rotated:
    """A ledger on which the Kazakh log key is replaced, and the keys that sign checkpoints."""

    def __init__(self) -> None:
        self.world = RotatedWorld()
        self.keys = {"old": self.world.old, "new": self.world.new, "cn": self.world.log_signers[CN]}
        self.keys["stranger"] = NoteSigner(bytes(range(32)))

    def signers(self, names: str) -> list[NoteSigner]:
        return [self.keys[name] for name in names.split()]

    def note(self, lines: str) -> bytes:
        """The present checkpoint, signed by these log keys and by every validator."""
        return self.world.signed_by(*self.signers(lines))

    def offer(self, note: bytes, source: SnapshotSource | None = None) -> list[Piece]:
        """The pieces of a snapshot, `source` or the present, with this note."""
        chain = self.world.chain
        chain.put_cosigned(chain.size, note)
        source = source or SnapshotSource(self.world.store)
        descriptor = source.describe(chain)
        assert descriptor is not None
        pieces = [Piece("descriptor", descriptor.encode())]
        pieces += [Piece("hashes", chunk) for chunk in source.hashes(0)]
        pieces += [Piece("bundle", bundle) for bundle in source.bundles(0)]
        return pieces + [Piece("state", chunk) for chunk in source.state(200)]

    def builder(self, store: Store, policy: str) -> SnapshotBuilder:
        world = self.world
        known = parse_policy(world.policy_of(self.signers(policy)))
        root = genesis_state_root(world)
        return SnapshotBuilder(store, [known], world.genesis, root, lambda _: {}, judge_by_ledger(world.genesis))

    def receive(self, pieces: list[Piece], policy: str, store: Store | None = None) -> Chain:
        builder = self.builder(store if store is not None else MemoryStore(), policy)
        take(builder, pieces)
        return builder.finish()


@pytest.fixture(scope="module")
def ended() -> Rotated:
    """The overlap is over."""
    found = Rotated()
    found.world.rotate()
    found.world.time_ms += OVERLAP_S * 1000
    found.world.idle()
    return found


@pytest.mark.parametrize("policy", ["old", "new", "new old"])
@pytest.mark.parametrize("lines", ["old cn", "old", "cn", "stranger cn", "old stranger cn", "new"])
def test_a_snapshot_under_the_old_key_or_a_stranger_s_is_refused_once_the_overlap_is_over(
    ended: Rotated, policy: str, lines: str
) -> None:
    store = MemoryStore()
    with pytest.raises(Untrue) as refused:
        ended.receive(ended.offer(ended.note(lines)), policy, store)
    assert refused.value.code == "log_key_not_in_force"
    assert store.get(HEAD) is None


@pytest.mark.parametrize("policy", ["old", "new", "new old"])
def test_a_snapshot_under_the_new_key_is_believed_by_whichever_policy_file_is_there(
    ended: Rotated, policy: str
) -> None:
    chain = ended.receive(ended.offer(ended.note("new cn")), policy)
    assert (chain.size, chain.root) == (ended.world.chain.size, ended.world.chain.root)


@pytest.mark.parametrize("lines", ["old cn", "new cn", "new old cn"])
def test_in_the_overlap_either_key_is_enough(lines: str) -> None:
    during = Rotated()
    during.world.rotate()
    for policy in ("old", "new"):
        assert during.receive(during.offer(during.note(lines)), policy).size == during.world.chain.size


@pytest.mark.parametrize("decided", ["by one side", "by nobody", "by both, for a later height"])
def test_a_key_that_is_not_in_force_there_makes_no_snapshot_final(decided: str) -> None:
    """Not even where the policy file names it already: the two authorities have not said so."""
    away = Rotated()
    if decided == "by one side":
        away.world.propose("kz-kgd/1", away.world.rotation())
    elif decided == "by both, for a later height":
        assert away.world.agree("kz-kgd/1", away.world.rotation()) > away.world.chain.height
    else:
        away.world.idle()
    with pytest.raises(Untrue, match="no log key of kz-kgd that counts"):
        away.receive(away.offer(away.note("new cn")), "new old")
    assert away.receive(away.offer(away.note("old cn")), "new").size == away.world.chain.size


@pytest.mark.parametrize(("lines", "taken"), [("new cn", True), ("old cn", True), ("stranger cn", False)])
def test_where_the_checkpoint_is_of_a_later_block_a_key_that_waited_may_have_come_into_force(
    lines: str, taken: bool
) -> None:
    """What a sender has is often a block older than the checkpoint that vouches for it."""
    away = Rotated()
    height = away.world.agree("kz-kgd/1", away.world.rotation())
    away.world.idle(height - 1 - away.world.chain.height)
    source = SnapshotSource(away.world.store)
    away.world.idle()
    pieces = away.offer(away.note(lines), source)
    assert Descriptor.decode(pieces[0].data).height == height - 1
    builder = away.builder(MemoryStore(), "old")
    take(builder, pieces)
    if taken:
        assert builder.finish().height == height - 1
    else:
        with pytest.raises(Untrue, match="no log key of kz-kgd"):
            builder.finish()


@pytest.mark.parametrize("policy", ["old", "new"])
def test_a_forged_line_of_the_new_key_is_none(ended: Rotated, policy: str) -> None:
    note = bytearray(ended.note("new cn"))
    at = note.index(b"\n", note.index(b"\n\n") + 2) - 10
    note[at] = ord("A") if note[at] != ord("A") else ord("B")
    pieces = ended.offer(bytes(note))
    with pytest.raises(Untrue):
        ended.receive(pieces, policy)


def test_too_few_cosignatures_are_refused_at_once_whoever_signed_for_the_log(
    ended: Rotated, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as kz:
        kz.setattr(ended.world, "cosigners", {each: ended.world.cosigners[each] for each in ("kz-kgd-1", "kz-kgd-2")})
        note = ended.note("new cn")
    descriptor = Descriptor.decode(ended.offer(note)[0].data)
    for policy in ("old", "new"):
        with pytest.raises(Untrue, match="missing"):
            ended.builder(MemoryStore(), policy).begin(descriptor)


def catch_up_of(ended: Rotated, data: Path, peers: Peers, monkeypatch: pytest.MonkeyPatch) -> CatchUp:
    """Of a validator with the policy file of before."""
    monkeypatch.setattr(test_catch_up, "make_builder", lambda world, store: ended.builder(store, "old"))
    return make_catch_up(data, ended.world, peers)


async def test_a_peer_that_offers_a_snapshot_under_the_old_key_is_told_so_and_an_honest_one_is_asked(
    ended: Rotated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended.world.chain.put_cosigned(ended.world.chain.size, ended.note("new cn"))
    peers = Peers(ended.world)

    def under_the_old_key(number: int, piece: test_catch_up.Piece) -> test_catch_up.Piece:
        if piece.WhichOneof("piece") == "beginning":
            descriptor = Descriptor.decode(piece.beginning.descriptor)
            forged = replace(descriptor, note=ended.note("old cn"))
            piece.beginning.descriptor = forged.encode()
        return piece

    peers.lies = dict.fromkeys(peers.names, under_the_old_key)
    trouble = await trouble_of(catch_up_of(ended, tmp_path / "lied-to", peers, monkeypatch))
    assert "was refused" in trouble
    assert "no log key of kz-kgd that counts" in trouble
    peers.lies = {"cn-gacc-1": under_the_old_key}
    catching_up = catch_up_of(ended, tmp_path / "away", peers, monkeypatch)
    assert await run(catching_up)
    assert catching_up.refused == 1
    assert peers.asked()[-1] != "cn-gacc-1"
    store = LevelDBStore(tmp_path / "away" / STAGING / LEDGER)
    try:
        assert Chain.open(store, thorough=True).root == ended.world.chain.root
    finally:
        store.close()
