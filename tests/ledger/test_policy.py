"""Policies: the grammar of tlog-policy line by line, quorums against a plain count, and forged checkpoints."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import policy as policies
from ledger.checkpoint import Checkpoint, checkpoint_body, log_signature
from ledger.cosignature import cosign
from ledger.errors import Malformed, Misuse, Untrue
from ledger.note import Note, NoteSignature, NoteSigner, format_note, format_vkey, parse_note
from ledger.policy import Group, Policy, format_policy, parse_policy, verify_checkpoint
from tests.ledger.corridor import CHECKPOINT, COSIGNERS, LOG_KEYS, ORIGIN, TIME_S, VALIDATORS, cosigned, policy_text

KZ = parse_policy(policy_text("kz"))

SIGNERS = [NoteSigner(bytes((number,)) * 32) for number in range(1, 9)]
LOG = format_vkey(SIGNERS[0].verifier("log.example/1", 1))
OTHER_LOG = format_vkey(SIGNERS[1].verifier("log.example/2", 1))
W = {
    name: format_vkey(signer.verifier(f"{name}.example", 4)) for name, signer in zip("abcdef", SIGNERS[2:], strict=True)
}


def text(*lines: str) -> bytes:
    return "".join(line + "\n" for line in lines).encode()


def test_the_policy_of_the_corridor_reads_as_written() -> None:
    assert [log.key.name for log in KZ.logs] == [ORIGIN]
    assert [witness.name for witness in KZ.witnesses] == list(VALIDATORS)
    assert KZ.groups == (
        Group("kz", 1, ("kz-kgd-1", "kz-kgd-2")),
        Group("cn", 1, ("cn-gacc-1", "cn-gacc-2")),
        Group("both", 2, ("kz", "cn")),
    )
    assert KZ.quorum == "both"
    assert format_policy(KZ) == policy_text("kz")


ACCEPTED: list[tuple[str, bytes]] = [
    ("a quorum alone", text("quorum none")),
    ("a log and no witness", text(f"log {LOG}", "quorum none")),
    ("several logs", text(f"log {LOG}", f"log {OTHER_LOG}", "quorum none")),
    ("urls", text(f"log {LOG} https://log.example/", f"witness a {W['a']} https://a.example/", "quorum a")),
    ("a single witness as quorum", text(f"witness a {W['a']}", "quorum a")),
    ("comments and empty lines", text("# x", "", " \t", "\t# y", "quorum none", "#")),
    ("spaces and tabs between and around", text(f"  log\t {LOG}\t", "\tquorum  none ")),
    ("lines after the quorum", text(f"witness a {W['a']}", "quorum a", f"witness b {W['b']}", f"log {LOG}")),
    ("a threshold by number", text(f"witness a {W['a']}", f"witness b {W['b']}", "group g 2 a b", "quorum g")),
    ("a group of one", text(f"witness a {W['a']}", "group g all a", "quorum g")),
    ("a group of groups", text(f"witness a {W['a']}", "group g any a", "group h any g", "quorum h")),
    (
        "names that are keywords",
        text(f"witness any {W['a']}", f"witness 2 {W['b']}", "group all 2 any 2", "quorum all"),
    ),
    ("names beyond ASCII", text(f"witness свидетель {W['a']}", "quorum свидетель")),
    ("names that are no UTF-8", b"witness \xff\xfe " + W["a"].encode() + b"\nquorum \xff\xfe\n"),
    ("comments that are no UTF-8", b"# \xff\nquorum none\n"),
    (
        "a log and a witness of one key",
        text(f"log {LOG}", f"witness a {format_vkey(SIGNERS[0].verifier('a', 4))}", "quorum a"),
    ),
    (
        "two groups side by side",
        text(f"witness a {W['a']}", f"witness b {W['b']}", "group g any a", "group h any b", "quorum g"),
    ),
]


@pytest.mark.parametrize(("what", "data"), ACCEPTED, ids=[what for what, _ in ACCEPTED])
def test_a_policy_may_have(what: str, data: bytes) -> None:
    policy = parse_policy(data)
    assert parse_policy(format_policy(policy)) == policy


THREE = (f"witness a {W['a']}", f"witness b {W['b']}", f"witness c {W['c']}")

REFUSED: list[tuple[str, bytes]] = [
    ("nothing", b""),
    ("no quorum", text(f"log {LOG}")),
    ("two quorums", text("quorum none", "quorum none")),
    ("a quorum that is undefined", text("quorum a")),
    ("a quorum defined later", text("quorum a", f"witness a {W['a']}")),
    ("a quorum of two names", text(*THREE, "quorum a b")),
    ("a quorum without a name", text("quorum")),
    ("no newline at the end", b"quorum none"),
    ("a carriage return", b"quorum none\r\n"),
    ("a null", b"quorum none\0\n"),
    ("a delete character", b"# \x7f\nquorum none\n"),
    ("a form feed", b"quorum\x0cnone\n"),
    ("an unknown keyword", text("quorums none")),
    ("a keyword in capitals", text("QUORUM none")),
    ("a comment after a line", text("quorum none # x")),
    ("a log without a key", text("log", "quorum none")),
    ("a log with a name", text(f"log name {LOG} url", "quorum none")),
    ("a log with a witness key", text(f"log {W['a']}", "quorum none")),
    ("a log with a spoiled key", text(f"log {LOG[:-1]}", "quorum none")),
    ("a log twice", text(f"log {LOG}", f"log {LOG}", "quorum none")),
    (
        "a log key under two names",
        text(f"log {LOG}", f"log {format_vkey(SIGNERS[0].verifier('x', 1))}", "quorum none"),
    ),
    ("a witness with a log key", text(f"witness a {LOG}", "quorum a")),
    ("a witness without a key", text("witness a", "quorum none")),
    ("a witness with four items", text(f"witness a {W['a']} url more", "quorum a")),
    ("a witness name twice", text(f"witness a {W['a']}", f"witness a {W['b']}", "quorum a")),
    ("a witness key twice", text(f"witness a {W['a']}", f"witness b {W['a']}", "quorum a")),
    (
        "a witness key under two key names",
        text(f"witness a {W['a']}", f"witness b {format_vkey(SIGNERS[2].verifier('x', 4))}", "quorum a"),
    ),
    ("a witness named none", text(f"witness none {W['a']}", "quorum none")),
    ("a group named none", text(*THREE, "group none any a", "quorum none")),
    ("none in a group", text(*THREE, "group g any none", "quorum none")),
    ("a group without members", text(*THREE, "group g any", "quorum a")),
    ("a group without a threshold", text(*THREE, "group g", "quorum a")),
    ("a group that is a witness too", text(*THREE, "group a any b", "quorum a")),
    ("a group twice", text(*THREE, "group g any a", "group g any b", "quorum g")),
    ("a group in itself", text(*THREE, "group g any g", "quorum g")),
    ("a member defined later", text("group g any a", *THREE, "quorum g")),
    ("a member that is undefined", text(*THREE, "group g any d", "quorum g")),
    ("a member twice in a group", text(*THREE, "group g any a a", "quorum g")),
    ("a member in two groups", text(*THREE, "group g any a", "group h any a b", "quorum g")),
    ("a threshold of 0", text(*THREE, "group g 0 a b", "quorum g")),
    ("a threshold above the count", text(*THREE, "group g 3 a b", "quorum g")),
    ("a threshold with a leading zero", text(*THREE, "group g 01 a b", "quorum g")),
    ("a threshold with a sign", text(*THREE, "group g +1 a b", "quorum g")),
    ("a threshold in hexadecimal", text(*THREE, "group g 0x1 a b", "quorum g")),
    ("a threshold of another script", text(*THREE, "group g ١ a b", "quorum g")),
    ("a threshold word in capitals", text(*THREE, "group g ALL a b", "quorum g")),
    ("a no-break space between items", text("quorum\u00a0none")),
]


@pytest.mark.parametrize(("what", "data"), REFUSED, ids=[what for what, _ in REFUSED])
def test_a_policy_is_malformed_with(what: str, data: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        parse_policy(data)
    assert caught.value.code == "bad_policy"


def test_the_error_names_the_line() -> None:
    with pytest.raises(Malformed, match=r"line 3: unknown keyword.*'groups'"):
        parse_policy(text("# x", f"witness a {W['a']}", "groups g any a", "quorum a"))


def test_names_that_differ_in_bytes_differ_even_if_they_look_alike() -> None:
    kelvin = parse_policy(text(f"witness K {W['a']}", f"witness \u212a {W['b']}", "quorum \u212a"))
    assert kelvin.quorum != "K"
    assert not kelvin.quorum_met_by(["K"])


def test_limits_allow_what_the_specification_asks_and_more() -> None:
    keys = [NoteSigner(number.to_bytes(32, "big")) for number in range(1, policies.MAX_WITNESSES + 2)]

    def lines(logs: int, witnesses: int, groups: int) -> bytes:
        return text(
            *(f"log {format_vkey(key.verifier('log.example', 1))}" for key in keys[:logs]),
            *(f"witness w{n} {format_vkey(key.verifier('w', 4))}" for n, key in enumerate(keys[:witnesses])),
            *(f"group g{n} any {'w0' if n == 0 else f'g{n - 1}'}" for n in range(groups)),
            "quorum none",
        )

    assert len(parse_policy(lines(32, 32, 32)).groups) == 32
    parse_policy(lines(policies.MAX_LOGS, policies.MAX_WITNESSES, policies.MAX_GROUPS))
    for logs, witnesses, groups in (
        (policies.MAX_LOGS + 1, 1, 0),
        (0, policies.MAX_WITNESSES + 1, 0),
        (0, 1, policies.MAX_GROUPS + 1),
    ):
        with pytest.raises(Malformed, match="too many"):
            parse_policy(lines(logs, witnesses, groups))
    with pytest.raises(Malformed, match="too_large"):
        parse_policy(b"\n" * (policies.MAX_POLICY_BYTES + 1))


def test_every_flipped_bit_of_the_corridors_policy_is_malformed() -> None:
    good = policy_text("kz")
    for position in range(len(good) * 8):
        data = bytearray(good)
        data[position // 8] ^= 1 << position % 8
        with pytest.raises(Malformed):
            parse_policy(bytes(data))


def test_a_policy_cut_at_any_byte_is_malformed() -> None:
    good = policy_text("kz")
    for length in range(len(good)):
        with pytest.raises(Malformed):
            parse_policy(good[:length])


def test_writing_a_policy_that_breaks_a_rule_is_misuse() -> None:
    for policy in (
        Policy(KZ.logs, KZ.witnesses, KZ.groups, "nobody"),
        Policy(KZ.logs, KZ.witnesses, KZ.groups[::-1], "both"),
        Policy(KZ.logs * 2, KZ.witnesses, KZ.groups, "both"),
        Policy(KZ.logs, KZ.witnesses, (Group("two words", 1, ("kz-kgd-1",)),), "none"),
    ):
        with pytest.raises(Misuse):
            format_policy(policy)


def by_definition(groups: dict[str, tuple[int, list[str]]], name: str, signed: set[str]) -> bool:
    """Say whether a name has witnessed, word for word as the specification does."""
    if name in groups:
        threshold, members = groups[name]
        return sum(by_definition(groups, member, signed) for member in members) >= threshold
    return name in signed


@given(st.data())
def test_a_quorum_is_met_exactly_when_its_definition_says_so(draw: st.DataObject) -> None:
    free = list("abcdef")
    groups: dict[str, tuple[int, list[str]]] = {}
    lines = [f"witness {name} {W[name]}" for name in free]
    for number in range(draw.draw(st.integers(0, 5))):
        if not free:
            break
        members = draw.draw(st.lists(st.sampled_from(free), min_size=1, unique=True))
        threshold = draw.draw(st.integers(1, len(members)))
        name = f"g{number}"
        free = [other for other in free if other not in members] + [name]
        groups[name] = (threshold, members)
        lines.append(f"group {name} {threshold} {' '.join(members)}")
    quorum = draw.draw(st.sampled_from([*"abcdef", *groups]))
    signed = draw.draw(st.sets(st.sampled_from("abcdef")))
    policy = parse_policy(text(*lines, f"quorum {quorum}"))
    assert policy.quorum_met_by(signed) == by_definition(groups, quorum, signed)


def test_every_subset_of_cosigners_is_weighed_by_both_authorities() -> None:
    for count in range(5):
        for signers in combinations(VALIDATORS, count):
            result = KZ.check(parse_note(cosigned(CHECKPOINT, *signers)))
            both = any(name.startswith("kz") for name in signers) and any(name.startswith("cn") for name in signers)
            assert result.satisfied == both
            assert set(result.signed) == set(signers)
            assert set(result.missing) == set(VALIDATORS) - set(signers)
            assert dict(result.timestamps) == {name: TIME_S + number for number, name in enumerate(signers)}
            if both:
                assert verify_checkpoint(cosigned(CHECKPOINT, *signers), KZ) == CHECKPOINT
            else:
                with pytest.raises(Untrue, match="quorum_not_met"):
                    verify_checkpoint(cosigned(CHECKPOINT, *signers), KZ)


def test_the_result_names_groups_that_signed_and_that_are_missing() -> None:
    result = KZ.check(parse_note(cosigned(CHECKPOINT, "kz-kgd-2")))
    assert (result.groups_signed, result.groups_missing) == (("kz",), ("cn", "both"))
    with pytest.raises(Untrue, match=r"signed kz-kgd-2; missing group cn, group both, kz-kgd-1, cn-gacc-1, cn-gacc-2"):
        result.check()


def test_each_authoritys_policy_knows_its_own_log_key_and_ignores_the_other_of_the_same_name() -> None:
    for country in ("kz", "cn"):
        policy = parse_policy(policy_text(country))
        verify_checkpoint(cosigned(CHECKPOINT, "kz-kgd-1", "cn-gacc-1", logs=("kz", "cn")), policy)
        verify_checkpoint(cosigned(CHECKPOINT, "kz-kgd-1", "cn-gacc-1", logs=(country,)), policy)
        other = "cn" if country == "kz" else "kz"
        with pytest.raises(Untrue, match="log_signature_missing"):
            verify_checkpoint(cosigned(CHECKPOINT, "kz-kgd-1", "cn-gacc-1", logs=(other,)), policy)


def test_a_bad_signature_of_a_known_key_spoils_the_note_even_if_the_quorum_is_met_without_it() -> None:
    good = parse_note(cosigned(CHECKPOINT, *VALIDATORS))
    for position, line in enumerate(good.signatures):
        spoiled = NoteSignature(line.name, line.key_id, line.signature[:-1] + bytes((line.signature[-1] ^ 1,)))
        lines = (*good.signatures[:position], spoiled, *good.signatures[position + 1 :])
        known = (line.name, line.key_id) != (ORIGIN, LOG_KEYS["cn"].verifier(ORIGIN, 1).key_id)
        if known:
            with pytest.raises(Untrue, match="bad_signature"):
                KZ.check(Note(good.text, lines))
        else:
            assert KZ.check(Note(good.text, lines)).satisfied


def test_signatures_moved_from_another_checkpoint_are_untrue() -> None:
    other = parse_note(cosigned(Checkpoint(ORIGIN, 12, CHECKPOINT.root), "kz-kgd-1", "cn-gacc-1"))
    with pytest.raises(Untrue, match="bad_signature"):
        verify_checkpoint(format_note(Note(checkpoint_body(CHECKPOINT), other.signatures)), KZ)


def test_a_known_name_with_another_key_is_ignored_as_the_specification_says() -> None:
    stranger = NoteSigner.generate()
    lines = (
        log_signature(LOG_KEYS["kz"], CHECKPOINT),
        cosign(COSIGNERS["kz-kgd-1"], "kz-kgd-1", CHECKPOINT, TIME_S),
        cosign(stranger, "cn-gacc-1", CHECKPOINT, TIME_S),
        NoteSignature("cn-gacc-2", b"\0\0\0\0", b"anything"),
    )
    result = KZ.check(Note(checkpoint_body(CHECKPOINT), lines))
    assert (result.signed, result.satisfied) == (("kz-kgd-1",), False)


def test_one_validator_under_the_name_of_another_does_not_make_two() -> None:
    lines = (
        log_signature(LOG_KEYS["kz"], CHECKPOINT),
        cosign(COSIGNERS["kz-kgd-1"], "kz-kgd-1", CHECKPOINT, TIME_S),
        cosign(COSIGNERS["kz-kgd-1"], "kz-kgd-1", CHECKPOINT, TIME_S + 1),
        cosign(COSIGNERS["kz-kgd-1"], "cn-gacc-1", CHECKPOINT, TIME_S),
    )
    result = KZ.check(Note(checkpoint_body(CHECKPOINT), lines))
    assert (result.signed, dict(result.timestamps)) == (("kz-kgd-1",), {"kz-kgd-1": TIME_S})


def test_a_log_key_vouches_for_its_own_origin_alone() -> None:
    elsewhere = Checkpoint("comity.example/elsewhere", CHECKPOINT.size, CHECKPOINT.root)
    body = checkpoint_body(elsewhere)
    key = LOG_KEYS["kz"].verifier(ORIGIN, 1)
    lines = (
        NoteSignature(key.name, key.key_id, LOG_KEYS["kz"].sign(body.encode())),
        *(cosign(COSIGNERS[name], name, elsewhere, TIME_S) for name in VALIDATORS),
    )
    with pytest.raises(Untrue, match="log_signature_missing"):
        verify_checkpoint(format_note(Note(body, lines)), KZ)


def test_quorum_none_asks_for_the_log_alone() -> None:
    policy = parse_policy(text(policy_text("kz").decode().split("\n")[0], "quorum none"))
    verify_checkpoint(cosigned(CHECKPOINT), policy)
    with pytest.raises(Untrue, match="log_signature_missing"):
        verify_checkpoint(cosigned(CHECKPOINT, *VALIDATORS, logs=("cn",)), policy)
