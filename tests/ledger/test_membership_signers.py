"""Which keys sign changes of the membership: a deputy's beside the registrar's, a new one for one that is lost."""

from __future__ import annotations

import pytest

from ledger.algorithms import ES256, PrivateKey
from ledger.membership import (
    MAX_SIGNERS,
    Change,
    Register,
    Step,
    Verb,
    parse_change,
    sign_change,
    signed_change,
    signer_key,
    verify_chain,
    verify_change,
)
from tests.ledger.test_membership import Two, refused, remove

DEPUTY = PrivateKey.generate()


@pytest.fixture(scope="module")
def two() -> Two:
    return Two()


def trust(name: str = "kz-kgd", key: PrivateKey = DEPUTY, who: str = "kz-kgd/deputy") -> Step:
    return Step(Verb.TRUST, name, signer=signer_key(who, key.public.cose_key))


def distrust(name: str, key: PrivateKey, who: str) -> Step:
    return Step(Verb.DISTRUST, name, signer=signer_key(who, key.public.cose_key))


def signed(register: Register, change: Change, *keys: PrivateKey) -> bytes:
    data = change.text().encode()
    for key in keys:
        data = sign_change(data, key, register)
    return data


def after(two: Two, *steps: Step, on: Register | None = None) -> Register:
    register = on or two.register
    return register.after(register.change(steps))


def test_as_long_as_no_key_was_changed_the_text_of_a_register_is_as_it_always_was(two: Two) -> None:
    assert "signer" not in two.register.text()
    assert "signer" not in after(two, two.add("kz-kgd-3")).text()
    lines = after(two, two.add("kz-kgd-3"), trust()).text().splitlines()
    assert [line.split("+")[0] for line in lines if line.startswith("signer")] == [
        "signer cn-gacc cn-gacc/registrar",
        "signer kz-kgd kz-kgd/deputy",
        "signer kz-kgd kz-kgd/registrar",
    ]


def test_a_change_of_keys_is_one_spelling_too(two: Two) -> None:
    change = two.register.change([two.add("kz-kgd-3"), trust()])
    assert parse_change(change.text()) == change
    assert change.text().splitlines()[-1].startswith("trust kz-kgd kz-kgd/deputy+")


def test_a_lost_registrars_key_is_replaced_by_a_deputy_that_was_trusted_before(two: Two) -> None:
    first = two.register.change([two.add("kz-kgd-3"), trust()])
    notes = [two.sign(first)]
    register = two.register.after(first)
    lost = two.registrars["kz-kgd"]
    steps = [two.add("kz-kgd-4", address="10.0.0.4:7000"), distrust("kz-kgd", lost, "kz-kgd/registrar")]
    second = register.change(steps)
    notes.append(signed(register, second, DEPUTY, two.registrars["cn-gacc"]))
    third = register.after(second)
    assert verify_chain(two.genesis, notes)[-1].digest == third.digest
    # From then on the lost key signs nothing, whoever found it.
    change = third.change([two.add("kz-kgd-5", address="10.0.0.5:7000")])
    assert refused(lambda: signed(third, change, lost)) == "not_a_registrar"
    forged = sign_change(sign_change(change.text().encode(), lost, two.genesis), two.registrars["cn-gacc"], two.genesis)
    assert refused(lambda: verify_change(third, forged)) == "unknown_signer"
    assert refused(lambda: verify_chain(two.genesis, [*notes, forged])) == "unknown_signer"


def test_two_keys_of_one_authority_are_one_signature(two: Two) -> None:
    register = after(two, two.add("kz-kgd-3"), trust())
    change = register.change([remove("kz-kgd-3")])
    note = signed(register, change, DEPUTY)
    assert refused(lambda: sign_change(note, two.registrars["kz-kgd"], register)) == "signed_already"
    assert refused(lambda: verify_change(register, note)) == "signature_missing"
    assert verify_change(register, signed(register, change, two.registrars["cn-gacc"], DEPUTY)) == change


def test_a_key_trusted_by_a_change_does_not_sign_that_very_change(two: Two) -> None:
    change = two.register.change([two.add("kz-kgd-3"), trust()])
    assert refused(lambda: signed(two.register, change, DEPUTY)) == "not_a_registrar"
    note = signed(two.register.after(change), change, DEPUTY, two.registrars["cn-gacc"])
    assert refused(lambda: verify_chain(two.genesis, [note])) == "unknown_signer"


def test_what_may_not_be(two: Two) -> None:
    member = two.add("kz-kgd-3")
    own, other = two.registrars["kz-kgd"], two.registrars["cn-gacc"]
    for steps, code in (
        ([trust()], "no_member_step"),
        ([member, trust("ru-fts")], "unknown_authority"),
        ([member, trust(key=own)], "key_used"),
        ([member, trust(key=other)], "key_used"),
        ([member, distrust("kz-kgd", DEPUTY, "kz-kgd/deputy")], "unknown_signer"),
        ([member, distrust("kz-kgd", other, "cn-gacc/registrar")], "unknown_signer"),
        ([member, distrust("kz-kgd", own, "kz-kgd/registrar")], "authority_without_signer"),
        ([member, trust(), trust()], "bad_membership_change"),
    ):
        assert refused(lambda steps=steps: two.register.change(steps)) == code, code  # type: ignore[misc]


def test_an_authority_has_a_bounded_number_of_keys(two: Two) -> None:
    keys = [trust(key=PrivateKey.generate(), who=f"kz-kgd/d{number}") for number in range(MAX_SIGNERS)]
    register = after(two, two.add("kz-kgd-3"), *keys[:-1])
    assert refused(lambda: register.change([remove("kz-kgd-3"), keys[-1]])) == "too_many_signers"


def test_only_a_key_that_notes_know_can_sign(two: Two) -> None:
    key = PrivateKey.generate(ES256).public.cose_key
    assert refused(lambda: signer_key("kz-kgd/deputy", key)) == "registrar_key_unsuitable"
    text = two.register.change([two.add("kz-kgd-3"), trust()]).text()
    head, _, line = text.rstrip("\n").rpartition("\n")
    cosigner = head.rpartition(" ")[2]
    assert refused(lambda: parse_change(f"{head}\ntrust kz-kgd {cosigner}\n")) == "bad_membership_change"
    assert refused(lambda: parse_change(f"{head}\n{line} {line}\n")) == "bad_membership_change"


def test_a_note_is_put_together_from_signatures_that_were_given_elsewhere(two: Two) -> None:
    first = two.register.change([two.add("kz-kgd-3"), trust()])
    notes = [two.sign(first)]
    register = two.register.after(first)
    text = register.change([remove("kz-kgd-3")]).text()
    signatures = {"cn-gacc": two.registrars["cn-gacc"].sign(text.encode()), "kz-kgd": DEPUTY.sign(text.encode())}
    note = signed_change(two.genesis, notes, text, signatures)
    assert verify_chain(two.genesis, [*notes, note])[-1].number == 2
    assert refused(lambda: signed_change(two.genesis, [], text, signatures)) in ("bad_signature", "other_network")
    missing = {"kz-kgd": signatures["kz-kgd"]}
    assert refused(lambda: signed_change(two.genesis, notes, text, missing)) == "signature_missing"
    crossed = {"kz-kgd": signatures["cn-gacc"], "cn-gacc": signatures["kz-kgd"]}
    assert refused(lambda: signed_change(two.genesis, notes, text, crossed)) == "bad_signature"
