"""Further cosignatures: collected from validators and third parties, verified, kept, and never in anybody's way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

import pytest

from ledger.checkpoint import Checkpoint, parse_checkpoint
from ledger.cosignature import MlDsaCosigner, cosign, cosignature_timestamp_s
from ledger.errors import Malformed, Untrue
from ledger.merkle import verify_consistency
from ledger.note import (
    COSIGNATURE_V1,
    NoteSignature,
    NoteSigner,
    decode_base64,
    format_signature,
    format_vkey,
    parse_note,
)
from ledger.policy import parse_policy, verify_checkpoint
from ledger.witnessing import add_checkpoint_request, parse_witness_lines, parse_witness_size
from nodes.feeding import FIRST_BACKOFF_S, MAX_BACKOFF_S, Answer, Feed, NoAnswer
from nodes.further import MAX_DRAFTS, MIN_ANSWER_S, Draft, Further
from tests.ledger.toy import ORIGIN, World

NOW_S = 1_795_400_000
URL = "https://witness.example/w1"
THIRD = NoteSigner(sha256(b"a third party's witness").digest())
PQ = {name: MlDsaCosigner(sha256(name.encode()).digest()) for name in ("kz-kgd-1", "cn-gacc-1")}


def further_policy(world: World, quorum: str = "all") -> bytes:
    lines = [f"witness {name}-pq {format_vkey(key.verifier(name))}" for name, key in PQ.items()]
    lines.append(f"witness w1 {format_vkey(THIRD.verifier('witness.example/w1', COSIGNATURE_V1))} {URL}")
    lines.append(f"group further {quorum} kz-kgd-1-pq cn-gacc-1-pq w1")
    lines.append("group everybody all both further")
    return world.policy().replace(b"quorum both\n", "\n".join([*lines, "quorum everybody\n"]).encode())


@dataclass
class HonestWitness:
    """A witness as the specification has it, written down once more: it remembers one size and root."""

    size: int = 0
    root: bytes = b""
    requests: int = 0
    fails: Answer | None = None

    def __call__(self, url: str, body: bytes) -> Answer:
        assert url == URL + "/add-checkpoint"
        self.requests += 1
        if self.fails is not None:
            return self.fails
        head, _, note = body.partition(b"\n\n")
        old, *proof = head.decode().split("\n")
        checkpoint = parse_checkpoint(parse_note(note).text)
        old_size = int(old.removeprefix("old "))
        if old_size > checkpoint.size:
            return Answer(400, "text/plain", b"")
        if old_size != self.size or (old_size == checkpoint.size and checkpoint.root != self.root):
            return Answer(409, "text/x.tlog.size", b"%d\n" % self.size)
        if old_size:
            hashes = [decode_base64(line, "hash") for line in proof]
            verify_consistency(old_size, self.root, checkpoint.size, checkpoint.root, hashes)
        self.size, self.root = checkpoint.size, checkpoint.root
        line = cosign(THIRD, "witness.example/w1", checkpoint, NOW_S)
        return Answer(200, "text/plain", format_signature(line).encode())


@pytest.fixture
def world() -> World:
    made = World()
    made.grow(3)
    finalise(made)
    return made


def finalise(world: World) -> int:
    world.chain.put_cosigned(world.chain.size, world.note())
    return world.chain.size


def further(world: World, name: str = "kz-kgd-1", quorum: str = "all") -> Further:
    return Further(name, world.chain, world.store, parse_policy(further_policy(world, quorum)), PQ.get(name))


def begun(of: Further, at_s: float = 0.0) -> Draft:
    draft = of.begin(at_s, NOW_S, 30)
    assert draft is not None
    return draft


def tell(draft: Draft, to: Further, at_s: float = 100.0) -> Draft | None:
    return to.receive(draft.checkpoint.size, draft.checkpoint.root, draft.all_lines(), at_s, NOW_S + 1)


def test_a_note_is_kept_once_everybody_whom_the_policy_demands_has_signed(world: World) -> None:
    kz, cn = further(world), further(world, "cn-gacc-1")
    draft = begun(kz)
    assert kz.newest is None
    answer = tell(draft, cn)
    assert answer is not None
    assert tell(answer, kz) is None
    assert kz.newest is None
    assert kz.add(draft, Feed(URL, world.chain, HonestWitness()).ask(draft))
    size, note = kz.newest or (0, b"")
    assert size == world.chain.size
    policy = parse_policy(further_policy(world))
    assert verify_checkpoint(note, policy).root == world.chain.root
    assert verify_checkpoint(note, parse_policy(world.policy("cn-gacc"))).size == size
    assert {name: each.size for name, each in kz.cosigners.items()} == dict.fromkeys(kz.cosigners, size)
    assert kz.at_or_after(1) == kz.at_or_after(size) == (size, note)
    assert kz.at_or_after(size + 1) is None


def test_what_was_kept_is_there_after_a_restart(world: World) -> None:
    kz = further(world, quorum="any")
    begun(kz)
    assert further(world).newest == kz.newest is not None


def test_the_time_is_that_of_now_for_the_newest_size_and_not_said_for_an_older_one(world: World) -> None:
    kz, cn = further(world), further(world, "cn-gacc-1")
    draft = begun(kz)
    assert [cosignature_timestamp_s(line) for line in draft.further.values()] == [NOW_S]
    world.grow(1)
    answer = tell(draft, cn)
    assert answer is not None
    times = {line.name: cosignature_timestamp_s(line) for line in answer.further.values()}
    assert times == {"kz-kgd-1": NOW_S, "cn-gacc-1": 0}


def test_our_times_never_go_back(world: World) -> None:
    kz = further(world)
    begun(kz)
    world.grow(1)
    finalise(world)
    later = kz.begin(100.0, NOW_S - 500, 30)
    assert later is not None
    assert [cosignature_timestamp_s(line) for line in later.further.values()] == [NOW_S]


def test_a_draft_is_begun_once_an_interval_and_the_same_one_as_long_as_nothing_is_new(world: World) -> None:
    kz = further(world)
    draft = begun(kz)
    assert kz.begin(1.0, NOW_S, 30) is draft
    world.grow(1)
    finalise(world)
    assert kz.begin(29.0, NOW_S, 30) is None
    assert begun(kz, 30.0).checkpoint.size == world.chain.size


def test_nothing_is_begun_before_anything_is_final() -> None:
    empty = World()
    assert further(empty).begin(0.0, NOW_S, 30) is None


def altered(draft: Draft, **changes: object) -> Sequence[NoteSignature]:
    return [replace(line, **changes) for line in draft.all_lines()]  # type: ignore[arg-type]


def test_nothing_is_signed_for_who_brings_no_valid_further_line(world: World) -> None:
    draft = begun(further(world))
    size, root, lines = draft.checkpoint.size, draft.checkpoint.root, draft.all_lines()
    for what, brought in {
        "the classical lines alone": draft.lines,
        "a further line that is not valid": [
            *draft.lines,
            *(replace(x, signature=bytes(2428)) for x in draft.further.values()),
        ],
        "no log line": list(draft.further.values()),
        "a bad classical line": [replace(lines[0], signature=bytes(64)), *lines[1:]],
        "too many lines": lines * 20,
        "nothing": [],
    }.items():
        cn = further(world, "cn-gacc-1")
        assert cn.receive(size, root, list(brought), 0.0, NOW_S) is None, what
        assert all(each.size == 0 for each in cn.cosigners.values()), what
        assert cn.newest is None


def test_another_root_or_a_size_that_was_not_executed_here_is_not_signed(world: World) -> None:
    draft = begun(further(world))
    cn = further(world, "cn-gacc-1")
    assert cn.receive(draft.checkpoint.size, bytes(32), draft.all_lines(), 0.0, NOW_S) is None
    for size in (0, -1, draft.checkpoint.size + 1, 1 << 62):
        assert cn.receive(size, draft.checkpoint.root, draft.all_lines(), 1.0, NOW_S) is None


def test_whoever_asks_again_and_again_gets_no_signature_for_each(world: World) -> None:
    kz, cn = further(world), further(world, "cn-gacc-1")
    first = begun(kz)
    world.grow(1)
    finalise(world)
    second = begun(kz, 100.0)
    assert tell(first, cn, 50.0) is not None
    assert tell(second, cn, 50.0 + MIN_ANSWER_S / 2) is None
    assert tell(second, cn, 50.0 + 2 * MIN_ANSWER_S) is not None
    assert tell(second, cn, 60.0) is None  # nothing new to say


def test_drafts_do_not_pile_up(world: World) -> None:
    kz = further(world)
    for number in range(MAX_DRAFTS + 3):
        world.grow(1)
        finalise(world)
        begun(kz, 100.0 * number)
    assert len(kz._drafts) == MAX_DRAFTS


def test_who_has_no_key_collects_all_the_same(world: World) -> None:
    kz, observer = further(world), further(world, "kz-kgd-2", "any")
    assert tell(begun(kz), observer) is None
    assert observer.newest is not None


# --- asking a witness -------------------------------------------------------------------------------------------------


def test_a_witness_is_asked_from_the_size_that_it_knows(world: World) -> None:
    witness = HonestWitness()
    feed = Feed(URL + "/", world.chain, witness)
    kz = further(world)
    for number in range(3):
        draft = begun(kz, 100.0 * number)
        assert kz.add(draft, feed.ask(draft))
        assert feed.known_size == draft.checkpoint.size
        world.grow(2)
        finalise(world)
    assert witness.requests == 3


def test_a_witness_that_knows_the_log_says_from_where_and_is_asked_once_more(world: World) -> None:
    witness = HonestWitness()
    kz = further(world)
    Feed(URL, world.chain, witness).ask(begun(kz))
    world.grow(1)
    finalise(world)
    draft = begun(kz, 100.0)
    restarted = Feed(URL, world.chain, witness)  # knows nothing of what it got before
    assert kz.add(draft, restarted.ask(draft))
    assert (witness.requests, witness.size) == (3, world.chain.size)
    assert restarted.ask(draft)  # the same size again: the witness signs it anew


def test_a_witness_that_is_ahead_of_us_is_left_alone_until_we_are_there(world: World) -> None:
    kz = further(world)
    draft = begun(kz)
    with pytest.raises(NoAnswer, match="already"):
        Feed(URL, world.chain, HonestWitness(size=draft.checkpoint.size + 5, root=bytes(32))).ask(draft)


def test_a_witness_with_another_root_of_our_size_is_told_of(world: World) -> None:
    draft = begun(further(world))
    with pytest.raises(NoAnswer, match="another root"):
        Feed(URL, world.chain, HonestWitness(size=draft.checkpoint.size, root=bytes(32))).ask(draft)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(404, "text/plain", b"unknown log"), "does not know this log"),
        (Answer(403, "text/plain", b""), "does not trust"),
        (Answer(422, "text/plain", b""), "consistency proof"),
        (Answer(400, "text/plain", b""), "malformed"),
        (Answer(500, "text/html", b"\x1b[2J<html>"), "refuses"),
        (Answer(409, "text/plain", b"5\n"), "expected text/x.tlog.size"),
        (Answer(409, "text/x.tlog.size", b"five\n"), "expected a size"),
        (Answer(409, "text/x.tlog.size", b"5"), "expected a size"),
        (Answer(409, "text/x.tlog.size", b"05\n"), "expected a size"),
        (Answer(200, "text/plain", b""), "signature lines"),
        (Answer(200, "text/plain", b"\xff\xfe\n"), "signature lines"),
        (Answer(200, "text/plain", b"\xe2\x80\x94 w1 AAAA\n"), "signature lines"),
        (Answer(200, "text/plain", b"text\n\n\xe2\x80\x94 w1 AAAAAAAA\n"), "lines alone"),
        (Answer(200, "text/plain", bytes(300_000)), "too large"),
    ],
    ids=lambda value: None if isinstance(value, str) else f"{value.status}-{len(value.body)}",
)
def test_what_a_witness_may_not_say_is_no_answer(world: World, answer: Answer, words: str) -> None:
    draft = begun(further(world))
    with pytest.raises(NoAnswer, match=words) as caught:
        Feed(URL, world.chain, HonestWitness(fails=answer)).ask(draft)
    assert str(caught.value).isprintable()


def test_a_line_that_a_witness_did_not_make_of_this_checkpoint_is_not_kept(world: World) -> None:
    kz = further(world)
    draft = begun(kz)
    older = Checkpoint(ORIGIN, 1, world.chain.root_at(1))
    wrong = cosign(THIRD, "witness.example/w1", older, NOW_S)
    stranger = cosign(NoteSigner(bytes(32)), "witness.example/w1", draft.checkpoint, NOW_S)
    assert not kz.add(draft, [wrong, stranger])
    assert "bad_signature" in kz.cosigners["w1"].trouble
    assert kz.newest is None


def test_a_witness_that_does_not_answer_is_asked_less_and_less_often(world: World) -> None:
    feed = Feed(URL, world.chain, HonestWitness())
    waits, now_s = [], 0.0
    for _ in range(12):
        feed.failed(now_s)
        before = now_s
        while not feed.is_due(now_s):
            now_s += FIRST_BACKOFF_S
        waits.append(now_s - before)
    assert waits[:3] == [5, 10, 20]
    assert waits[-1] == MAX_BACKOFF_S
    feed.succeeded()
    assert feed.is_due(now_s)


def test_the_body_of_a_request_is_that_of_the_specification() -> None:
    body = add_checkpoint_request(7, [bytes(32), b"\xff" * 32], b"origin\n8\n")
    assert body == (
        b"old 7\n"
        b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
        b"//////////////////////////////////////////8=\n"
        b"\n"
        b"origin\n8\n"
    )
    assert add_checkpoint_request(0, [], b"x") == b"old 0\n\nx"
    assert parse_witness_size(b"20852014\n") == 20852014
    for bad in (b"", b"\n", b"-1\n", b"1\n\n", b" 1\n", b"1" * 300_000):
        with pytest.raises(Malformed):
            parse_witness_size(bad)
    line = format_signature(cosign(THIRD, "w1", Checkpoint(ORIGIN, 1, bytes(32)), 5)).encode()
    assert len(parse_witness_lines(line * 3)) == 3
    with pytest.raises((Malformed, Untrue)):
        parse_witness_lines(line * 65)


def test_how_long_something_has_waited_counts_from_the_oldest_final_entry_without_further_cosignatures() -> None:
    world = World()
    kz, cn = further(world), further(world, "cn-gacc-1")
    assert kz.health(NOW_S * 1000).lag_ms == 0, "nothing is final"
    world.chain.put_cosigned(1, world.note(Checkpoint(ORIGIN, 1, world.chain.root_at(1))))
    assert (kz.health(NOW_S * 1000).size, kz.health(NOW_S * 1000).lag_ms) == (0, 0), "the genesis record is in no block"
    world.grow(3)
    finalise(world)
    of_first_ms, now_ms = world.chain.block(1).time_ms, world.chain.block(3).time_ms + 7_000
    assert kz.health(now_ms).lag_ms == now_ms - of_first_ms
    draft = begun(kz)
    answer = tell(draft, cn)
    assert answer is not None
    tell(answer, kz)
    kz.add(draft, Feed(URL, world.chain, HonestWitness()).ask(draft))
    covered, height = world.chain.size, world.chain.height
    assert (kz.health(now_ms).size, kz.health(now_ms).lag_ms) == (covered, 0)
    world.grow(2)
    assert kz.health(now_ms).lag_ms == 0, "what is not final does not wait for these"
    finalise(world)
    assert kz.health(now_ms + 60_000).lag_ms == now_ms + 60_000 - world.chain.block(height + 1).time_ms
    assert kz.health(0).lag_ms == 0, "a clock behind the blocks' time"
    assert {each.name: each.size for each in kz.health(now_ms).cosigners} == dict.fromkeys(kz.cosigners, covered)
