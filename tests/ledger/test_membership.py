"""Membership documents: what a change says, who must have signed it, and every way to cheat with one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.algorithms import EDDSA, ES256, PrivateKey
from ledger.entry import Genesis, GenesisAuthority, GenesisValidator
from ledger.errors import Malformed, Untrue
from ledger.membership import (
    HEADER,
    MAX_STEPS,
    Change,
    Register,
    Role,
    Step,
    Verb,
    ca_credential,
    check_signatures,
    newcomer,
    parse_change,
    sign_change,
    split_chain,
    split_change,
    verify_chain,
    verify_change,
)
from ledger.note import COSIGNATURE_V1, NoteSigner, VerifierKey, format_vkey


def vkey(name: str, signer: NoteSigner) -> str:
    return format_vkey(VerifierKey(name, COSIGNATURE_V1, signer.public_key))


@dataclass
class Two:
    """Two authorities, two validators each, and the keys of their registrars."""

    origin: str = "comity.example/test"
    alg: int = EDDSA
    registrars: dict[str, PrivateKey] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.registrars = {name: PrivateKey.generate(self.alg) for name in ("kz-kgd", "cn-gacc")}
        self.signers = {f"{name}-{number}": NoteSigner.generate() for name in self.registrars for number in (1, 2)}
        self.genesis = Genesis(
            origin=self.origin,
            time_ms=1,
            authorities=tuple(
                GenesisAuthority(
                    name=name,
                    country=name[:2].upper(),
                    log_key=NoteSigner.generate().public_key,
                    ca_sha256=sha256(name.encode()).digest(),
                    registrar_id=f"{name}/registrar",
                    registrar_key=key.public.cose_key,
                    validators=tuple(
                        GenesisValidator(f"{name}-{number}", self.signers[f"{name}-{number}"].public_key)
                        for number in (1, 2)
                    ),
                )
                for name, key in self.registrars.items()
            ),
            parameters={},
            contracts={"registry": 1},
        )
        self.register = Register.of_genesis(self.genesis)

    def add(self, name: str, party: str = "kz-kgd", address: str = "10.0.0.3:7000") -> Step:
        return newcomer(name, party, address, vkey(name, NoteSigner.generate()))

    def sign(self, change: Change, *names: str) -> bytes:
        data = change.text().encode()
        for name in names or self.registrars:
            data = sign_change(data, self.registrars[name], self.genesis)
        return data


@pytest.fixture(scope="module")
def two() -> Two:
    return Two()


def promote(name: str) -> Step:
    return Step(Verb.PROMOTE, name)


def demote(name: str) -> Step:
    return Step(Verb.DEMOTE, name)


def remove(name: str) -> Step:
    return Step(Verb.REMOVE, name)


def refused(call: Callable[[], object]) -> str:
    with pytest.raises((Untrue, Malformed)) as error:
        call()
    return error.value.code


# --- what people read ------------------------------------------------------------------------------------------------


def test_a_change_is_text_that_people_can_read_to_each_other(two: Two) -> None:
    change = two.register.change([two.add("kz-kgd-3"), Step(Verb.REMOVE, "cn-gacc-2")])
    lines = change.text().split("\n")
    assert lines[0] == HEADER
    assert lines[1] == "origin comity.example/test"
    assert lines[2] == f"network {sha256(two.genesis.encode()).hexdigest()}"
    assert lines[3] == "number 1"
    assert lines[4] == f"present {two.register.digest.hex()}"
    assert lines[5].startswith("add kz-kgd-3 kz-kgd 10.0.0.3:7000 kz-kgd-3+")
    assert lines[6:] == ["remove cn-gacc-2", ""]


def test_both_signatures_make_a_change_hold_whoever_signs_first(two: Two) -> None:
    change = two.register.change([two.add("kz-kgd-3")])
    notes = {two.sign(change, "kz-kgd", "cn-gacc"), two.sign(change, "cn-gacc", "kz-kgd")}
    assert len(notes) == 1
    assert verify_change(two.genesis, notes.pop()) == change


def test_a_newcomer_observes_then_votes_and_leaves_for_good(two: Two) -> None:
    first = two.register.after(two.register.change([two.add("kz-kgd-3")]))
    assert first.members["kz-kgd-3"].role is Role.OBSERVER
    second = first.after(first.change([promote("kz-kgd-3"), remove("kz-kgd-2")]))
    assert [each.name for each in second.of(Role.VOTER, "kz-kgd")] == ["kz-kgd-1", "kz-kgd-3"]
    third = second.after(second.change([demote("kz-kgd-3")]))
    assert third.members["kz-kgd-3"].role is Role.OBSERVER
    assert refused(lambda: third.change([two.add("kz-kgd-2")])) == "name_used"


def test_a_member_of_a_neutral_party_is_promoted_to_a_witness(two: Two) -> None:
    add = newcomer("harbour-1", "harbour-trust", "10.0.0.9:7000", ca_credential(b"a certificate"))
    first = two.register.after(two.register.change([add]))
    second = first.after(first.change([promote("harbour-1")]))
    assert second.members["harbour-1"].role is Role.WITNESS
    assert second.of(Role.VOTER) == two.register.of(Role.VOTER)
    parsed = parse_change(two.register.change([add]).text())
    assert parsed.steps[0].member == add.member


def test_the_chain_of_changes_leads_from_genesis_to_the_present(two: Two) -> None:
    registers, notes = [two.register], []
    for steps in ([two.add("kz-kgd-3")], [promote("kz-kgd-3")], [remove("kz-kgd-1")]):
        change = registers[-1].change(steps)
        notes.append(two.sign(change))
        registers.append(registers[-1].after(change))
    file = b"".join(notes)
    assert split_chain(file) == notes
    assert [each.digest for each in verify_chain(two.genesis, split_chain(file))] == [each.digest for each in registers]
    assert split_chain(b"") == []
    with pytest.raises(Untrue, match="change 2"):
        verify_chain(two.genesis, [notes[0], notes[2]])


# --- who must sign ---------------------------------------------------------------------------------------------------


def test_one_signature_is_not_enough_and_the_missing_one_is_named(two: Two) -> None:
    change = two.register.change([two.add("kz-kgd-3")])
    for name, other in (("kz-kgd", "cn-gacc"), ("cn-gacc", "kz-kgd")):
        note = two.sign(change, name)
        assert check_signatures(two.genesis, *split_change(note)).missing == (other,)
        with pytest.raises(Untrue, match=f"signature_missing.*missing {other}"):
            verify_change(two.genesis, note)
    assert refused(lambda: verify_change(two.genesis, change.text().encode())) == "signature_missing"


def test_the_same_side_twice_is_not_both_sides(two: Two) -> None:
    note = two.sign(two.register.change([two.add("kz-kgd-3")]), "kz-kgd")
    assert refused(lambda: sign_change(note, two.registrars["kz-kgd"], two.genesis)) == "signed_already"
    line = note.rsplit(b"\n", 2)[1]
    assert refused(lambda: verify_change(two.genesis, note + line + b"\n")) == "signed_twice"


def test_the_signatures_of_two_sides_cannot_be_swapped(two: Two) -> None:
    note = two.sign(two.register.change([two.add("kz-kgd-3")]))
    *text, first, second, _ = note.split(b"\n")
    assert refused(lambda: verify_change(two.genesis, b"\n".join([*text, second, first, b""]))) == "wrong_order"
    name = first.split(b" ")[1]
    other = second.split(b" ")[1]
    crossed = [*text, first.replace(name, other), second.replace(other, name), b""]
    assert refused(lambda: verify_change(two.genesis, b"\n".join(crossed))) == "unknown_signer"


def test_a_strangers_key_signs_nothing(two: Two) -> None:
    change = two.register.change([two.add("kz-kgd-3")])
    stranger = Two()
    assert refused(lambda: sign_change(change.text().encode(), PrivateKey.generate(), two.genesis)) == "not_a_registrar"
    forged = sign_change(change.text().encode(), stranger.registrars["cn-gacc"], stranger.genesis)
    assert refused(lambda: verify_change(two.genesis, forged)) == "unknown_signer"


def test_a_registrar_whose_key_notes_do_not_know_is_told_so() -> None:
    two = Two(alg=ES256)
    change = two.register.change([two.add("kz-kgd-3")])
    assert refused(lambda: two.sign(change)) == "registrar_key_unsuitable"


# --- what it is bound to ---------------------------------------------------------------------------------------------


def test_a_change_is_used_once(two: Two) -> None:
    change = two.register.change([two.add("kz-kgd-3")])
    after = two.register.after(change)
    assert refused(lambda: after.after(change)) == "out_of_turn"
    # Not even where the same members have the same roles again, and only the number tells.
    promoted = after.after(after.change([promote("kz-kgd-3")]))
    again = promoted.after(promoted.change([demote("kz-kgd-3")]))
    assert again.members == after.members
    assert refused(lambda: again.after(after.change([promote("kz-kgd-3")]))) == "out_of_turn"
    renumbered = replace(after.change([promote("kz-kgd-3")]), number=again.number + 1)
    assert refused(lambda: again.after(renumbered)) == "out_of_turn"


def test_a_change_of_another_network_is_refused_though_the_registrars_are_the_same(two: Two) -> None:
    genesis = replace(two.genesis, time_ms=2)
    change = Register.of_genesis(genesis).change([two.add("kz-kgd-3")])
    assert refused(lambda: two.register.after(change)) == "other_network"
    assert refused(lambda: two.register.after(replace(change, origin="elsewhere"))) == "other_network"


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_change_with_any_byte_altered_is_refused(two: Two, data: st.DataObject) -> None:
    change = two.register.change([Step(Verb.DEMOTE, "kz-kgd-2")])
    note = two.sign(change)
    position = data.draw(st.integers(0, len(note) - 1))
    altered = bytearray(note)
    altered[position] ^= data.draw(st.integers(1, 255))
    refused(lambda: verify_change(two.genesis, bytes(altered)))


# --- what it may do --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "code"),
    [
        (["remove kz-kgd-1", "remove kz-kgd-2"], "authority_without_voter"),
        (["demote cn-gacc-1", "remove cn-gacc-2"], "authority_without_voter"),
        (["remove kz-kgd-9"], "unknown_member"),
        (["promote kz-kgd-9"], "unknown_member"),
        (["promote kz-kgd-1"], "nothing_changes"),
        (["remove kz-kgd-1", "demote kz-kgd-1"], "bad_membership_change"),
        (["add kz-kgd-1 kz-kgd 10.0.0.9:1 {key:kz-kgd-1}"], "name_used"),
        (["add kz-kgd-3 kz-kgd 10.0.0.9:1 {key:kz-kgd-3}", "promote kz-kgd-3"], "bad_membership_change"),
        (["add a-1 kz-kgd h:1 {key:a-1}", "add a-2 kz-kgd h:1 {key:a-2}"], "address_used"),
        (["add a-1 kz-kgd h:1 {old:a-1}"], "key_used"),
        (["add a-1 nobody h:1 {key:a-1}"], "unknown_authority"),
        (["add a-1 kz-kgd h:1 ca:AAAA"], "not_neutral"),
        (["add a-1 neutral h:1 ca:AAAA", "add a-2 neutral h:2 ca:BBBB"], "other_ca"),
        (["add a-1 neutral h:1 ca:AAAA", "add a-2 another h:2 ca:AAAA"], "key_used"),
        (["add a-1 kz-kgd h:1 {key:a-2}"], "bad_membership_change"),
        (["add a-1 kz-kgd h:0 {key:a-1}"], "bad_membership_change"),
        (["add a-1 kz-kgd h:65536 {key:a-1}"], "bad_membership_change"),
        (["add a-1 kz-kgd {key:a-1}"], "bad_membership_change"),
        (["add A-1 kz-kgd h:1 {key:A-1}"], "bad_membership_change"),
        (["rename kz-kgd-1 kz-kgd-3"], "bad_membership_change"),
        (["remove kz-kgd-1 "], "bad_membership_change"),
        (["remove kz-kgd-1\r"], "bad_membership_change"),
        ([], "bad_membership_change"),
        ([f"remove a-{number}" for number in range(MAX_STEPS + 1)], "bad_membership_change"),
    ],
)
def test_what_a_change_may_not_do(two: Two, steps: list[str], code: str) -> None:
    def fill(line: str) -> str:
        for kind, signer in (("key", NoteSigner.generate()), ("old", two.signers["kz-kgd-1"])):
            start = line.find("{" + kind + ":")
            if start >= 0:
                name = line[start + len(kind) + 2 : line.index("}", start)]
                return line[:start] + vkey(name, signer) + line[line.index("}", start) + 1 :]
        return line

    head = two.register.change([Step(Verb.DEMOTE, "kz-kgd-1")]).text().rsplit("\n", 2)[0] + "\n"
    text = head + "".join(fill(line) + "\n" for line in steps)
    assert refused(lambda: two.register.after(parse_change(text))) == code


def test_a_key_that_left_does_not_come_back_under_another_name(two: Two) -> None:
    key = two.signers["kz-kgd-2"]
    after = two.register.after(two.register.change([Step(Verb.REMOVE, "kz-kgd-2")]))
    assert refused(lambda: after.change([newcomer("kz-kgd-9", "kz-kgd", "h:1", vkey("kz-kgd-9", key))])) == "key_used"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace("number 1", "number 01"),
        lambda text: text.replace("number 1", "number -1"),
        lambda text: text.upper(),
        lambda text: text + "\n",
        lambda text: text.removesuffix("\n"),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("origin ", "origin  "),
        lambda text: text.replace("network ", "network 00"),
        lambda text: text.replace("present ", "present\t"),
        lambda text: "\n".join(sorted(text.split("\n"))),
        lambda text: text.replace(HEADER, "comity membership change v2"),
        lambda text: "",
    ],
)
def test_a_change_has_one_spelling(two: Two, spoil: Callable[[str], str]) -> None:
    text = two.register.change([Step(Verb.DEMOTE, "kz-kgd-2")]).text()
    assert parse_change(text).text() == text
    with pytest.raises(Malformed):
        parse_change(spoil(text))


def test_a_note_that_is_no_change_is_refused(two: Two) -> None:
    assert refused(lambda: split_change(b"a text\n\n\xe2\x80\x94 a AAAAAAAA\n")) == "bad_membership_change"
    assert refused(lambda: split_change(b"\xff")) == "bad_membership_change"
    assert refused(lambda: split_change(b"x" * 40_000)) == "too_large"
    assert refused(lambda: split_chain(b"x")) == "bad_membership_change"
