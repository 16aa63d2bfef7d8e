"""Log keys and CAs that take the place of others: what counts at which height. Attacks first."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from contracts.authority_keys import AuthorityKeys, Waiting
from ledger.checkpoint import Checkpoint, log_signature
from ledger.cosignature import cosign
from ledger.note import NoteSignature, NoteSigner, parse_note
from ledger.policy import Log, Policy
from ledger.tenure import Tenure
from nodes import certificates
from nodes.certificates import NotThePeer, PeerDirectory, certificate_sha256
from nodes.config import AuthorityEntry, ValidatorConfig
from nodes.cosigning import Cosigner, Finality
from nodes.identity import Identity
from nodes.keys_in_force import KeysInForce
from tests.nodes.world import ORIGIN, World

KZ, CN = "kz-kgd", "cn-gacc"
WORLD = World()
OLD, CN_KEY = WORLD.log_keys[KZ], WORLD.log_keys[CN]
NEW = NoteSigner.generate()
ROOT = bytes(range(32))
BEFORE = {KZ: (OLD.public_key,), CN: (CN_KEY.public_key,)}
OVERLAP = {KZ: (NEW.public_key, OLD.public_key), CN: (CN_KEY.public_key,)}
AFTER = {KZ: (NEW.public_key,), CN: (CN_KEY.public_key,)}


def checkpoint(size: int, root: bytes = ROOT) -> Checkpoint:
    return Checkpoint(ORIGIN, size, root)


def lines(name: str, size: int, *log_keys: NoteSigner) -> tuple[NoteSignature, ...]:
    at = checkpoint(size)
    return (*(log_signature(key, at) for key in log_keys), cosign(WORLD.cosigners[name], name, at, 1_800_000_000))


def no_root(size: int) -> bytes:
    return bytes(32)


def final_at(log_keys: Mapping[str, tuple[bytes, ...]], *kz_keys: NoteSigner) -> bytes | None:
    """The note of size 5, where these count, the Chinese side has signed it, and the Kazakh side by these keys."""
    finality = WORLD.finality()
    finality.executed(checkpoint(5), log_keys)
    finality.receive("cn-gacc-1", 5, ROOT, lines("cn-gacc-1", 5, CN_KEY), no_root)
    finality.receive("kz-kgd-1", 5, ROOT, lines("kz-kgd-1", 5, *kz_keys), no_root)
    final = finality.conclude()
    return None if final is None else final[1]


# --- the log's line --------------------------------------------------------------------------------------------------


def test_the_old_key_makes_nothing_final_after_its_end() -> None:
    assert final_at(BEFORE, OLD) is not None
    assert final_at(AFTER, OLD) is None
    assert final_at(AFTER, NEW) is not None


def test_the_new_key_makes_nothing_final_before_its_height() -> None:
    assert final_at(BEFORE, NEW) is None


def test_neither_key_stands_for_the_other_authority() -> None:
    finality = WORLD.finality()
    finality.executed(checkpoint(5), AFTER)
    for name in ("kz-kgd-1", "cn-gacc-1"):
        finality.receive(name, 5, ROOT, lines(name, 5, NEW), no_root)
    assert finality.conclude() is None


def test_in_the_overlap_either_key_is_enough_and_both_lines_are_kept() -> None:
    assert final_at(OVERLAP, OLD) is not None
    assert final_at(OVERLAP, NEW) is not None
    note = final_at(OVERLAP, OLD, NEW)
    assert note is not None
    ids = [line.key_id for line in parse_note(note).signatures if line.name == ORIGIN]
    assert ids == [log_signature(key, checkpoint(5)).key_id for key in (NEW, OLD, CN_KEY)]


def test_a_forged_line_of_the_new_key_is_refused_and_counted() -> None:
    finality = WORLD.finality()
    finality.executed(checkpoint(5), AFTER)
    forged = replace(log_signature(NEW, checkpoint(5)), signature=bytes(64))
    finality.receive("kz-kgd-1", 5, ROOT, (forged, *lines("kz-kgd-1", 5)), no_root)
    finality.receive("cn-gacc-1", 5, ROOT, lines("cn-gacc-1", 5, CN_KEY), no_root)
    assert finality.refused == 1
    assert finality.conclude() is None


def test_a_line_of_the_new_key_that_comes_before_we_are_as_far_is_of_use_then() -> None:
    """Whoever is ahead signs with a key of which we have not heard yet."""
    finality = WORLD.finality()
    finality.executed(checkpoint(4), BEFORE)
    finality.receive("kz-kgd-1", 5, ROOT, lines("kz-kgd-1", 5, NEW), no_root)
    finality.receive("cn-gacc-1", 5, ROOT, lines("cn-gacc-1", 5, CN_KEY), no_root)
    finality.executed(checkpoint(5), AFTER)
    for early in finality.early():
        finality.receive(*early, no_root)
    assert finality.conclude() is not None


def test_what_is_open_is_judged_by_the_keys_of_its_own_height() -> None:
    finality = WORLD.finality()
    finality.executed(checkpoint(5), BEFORE)
    finality.executed(checkpoint(6), AFTER)
    finality.receive("cn-gacc-1", 5, ROOT, lines("cn-gacc-1", 5, CN_KEY), no_root)
    finality.receive("kz-kgd-1", 5, ROOT, lines("kz-kgd-1", 5, NEW), no_root)
    assert finality.conclude() is None
    finality.receive("kz-kgd-1", 5, ROOT, lines("kz-kgd-1", 5, OLD), no_root)
    assert finality.conclude() is not None


@pytest.mark.parametrize(
    ("log_keys", "signer", "held"), [(AFTER, OLD, False), (AFTER, NEW, True), (BEFORE, NEW, False)]
)
def test_another_root_is_evidence_only_by_a_key_that_counts(
    log_keys: Mapping[str, tuple[bytes, ...]], signer: NoteSigner, held: bool
) -> None:
    finality = WORLD.finality()
    finality.executed(checkpoint(5), log_keys)
    other = Checkpoint(ORIGIN, 5, bytes(32))
    divergence = finality.receive("kz-kgd-1", 5, bytes(32), (log_signature(signer, other),), no_root)
    assert (divergence is not None) is held


def test_a_validator_signs_by_those_of_its_log_keys_that_count() -> None:
    def signed(counting: Mapping[str, tuple[bytes, ...]], *held: NoteSigner) -> list[bytes]:
        cosigner = Cosigner("kz-kgd-1", WORLD.cosigners["kz-kgd-1"], held, None)
        found = cosigner.sign(checkpoint(5), cosigner.intend(checkpoint(5), 100), frozenset(counting[KZ]))
        assert found[-1].name == "kz-kgd-1"
        return [line.key_id for line in found[:-1]]

    old, new = (log_signature(key, checkpoint(5)).key_id for key in (OLD, NEW))
    assert signed(BEFORE, OLD, NEW) == [old]
    assert signed(OVERLAP, OLD, NEW) == [old, new]
    assert signed(AFTER, OLD, NEW) == [new]
    # Whoever forgot the new key cosigns all the same; a colleague may have it.
    assert signed(AFTER, OLD) == []


def test_a_note_of_any_time_is_read_again_at_the_start() -> None:
    for log_keys, signer in ((BEFORE, OLD), (AFTER, NEW)):
        note = final_at(log_keys, signer)
        assert note is not None
        policy = replace(
            WORLD.policy(),
            logs=(*WORLD.policy().logs, Log(replace(WORLD.policy().logs[0].key, public_key=NEW.public_key))),
        )
        assert Finality(WORLD.genesis, policy, note).final_size == 5


# --- whose CA counts -------------------------------------------------------------------------------------------------

NOW = datetime.datetime.now(datetime.UTC)
FIRST, SECOND, THIRD = (certificates.create_authority(KZ, "KZ", NOW) for _ in range(3))
CHINESE = certificates.create_authority(CN, "CN", NOW)
HASH = {each: certificate_sha256(each.certificate_pem) for each in (FIRST, SECOND, THIRD, CHINESE)}
HEIGHT, CHANGED_MS, OVERLAP_MS = 40, 1_800_000_000_000, 60_000
TENURES = (
    Tenure(KZ, HASH[FIRST], 0, HEIGHT, CHANGED_MS + OVERLAP_MS),
    Tenure(KZ, HASH[SECOND], HEIGHT),
)
CN_TENURES = (Tenure(CN, HASH[CHINESE], 0),)
LOG_TENURES = {
    KZ: (Tenure(KZ, OLD.public_key, 0, HEIGHT, CHANGED_MS + OVERLAP_MS), Tenure(KZ, NEW.public_key, HEIGHT)),
    CN: (Tenure(CN, CN_KEY.public_key, 0),),
}


@dataclass
class Site:
    """A validator's files."""

    kz_file: tuple[certificates.CertificateAuthority, ...] = (FIRST, SECOND)
    named: bytes | None = None
    log_keys: tuple[NoteSigner, ...] = (OLD, NEW)
    policy: Policy = field(default_factory=WORLD.policy)
    certificate: bytes = b""
    authority: str = KZ

    def at(self, keys: AuthorityKeys, height: int, time_ms: int) -> KeysInForce:
        entries = (AuthorityEntry(KZ, "KZ", Path("kz.pem"), self.named), AuthorityEntry(CN, "CN", Path("cn.pem")))
        config = cast(
            ValidatorConfig,
            _Config(self.authority, entries, policy=Path("network.policy"), certificate=Path("certificate.pem")),
        )
        files = {
            KZ: {HASH[each]: each.certificate_pem for each in self.kz_file},
            CN: {HASH[CHINESE]: CHINESE.certificate_pem},
        }
        identity = cast(Identity, _Identity(WORLD.genesis, self.policy, self.log_keys, files))
        return KeysInForce(config, identity, self.certificate, keys, height, time_ms)


@dataclass
class _Config:
    authority: str
    authorities: tuple[AuthorityEntry, ...]
    policy: Path
    certificate: Path


@dataclass
class _Identity:
    genesis: Any
    policy: Policy
    log_keys: tuple[NoteSigner, ...]
    cas: dict[str, dict[bytes, bytes]]


def keys(
    *kz: Tenure, waiting: tuple[Waiting, ...] = (), log: dict[str, tuple[Tenure, ...]] | None = None
) -> AuthorityKeys:
    return AuthorityKeys(log or {KZ: LOG_TENURES[KZ][:1], CN: LOG_TENURES[CN]}, {KZ: kz, CN: CN_TENURES}, (), waiting)


ALONE = keys(Tenure(KZ, HASH[FIRST], 0))
APPROVED = keys(Tenure(KZ, HASH[FIRST], 0), waiting=(Waiting(KZ, HASH[SECOND], HEIGHT, "kz-kgd/1"),))
CHANGED = keys(*TENURES)


@pytest.mark.parametrize(
    ("when", "state", "height", "time_ms", "taken"),
    [
        ("before anything is proposed", ALONE, 5, CHANGED_MS, {FIRST}),
        ("approved, the block before its height", APPROVED, HEIGHT - 1, CHANGED_MS, {FIRST}),
        ("at its height", CHANGED, HEIGHT, CHANGED_MS, {FIRST, SECOND}),
        ("the last moment of the overlap", CHANGED, HEIGHT + 9, CHANGED_MS + OVERLAP_MS - 1, {FIRST, SECOND}),
        ("after it", CHANGED, HEIGHT + 9, CHANGED_MS + OVERLAP_MS, {SECOND}),
    ],
)
def test_a_peer_is_taken_by_the_cas_that_count_there_and_by_no_other(
    when: str, state: AuthorityKeys, height: int, time_ms: int, taken: set[certificates.CertificateAuthority]
) -> None:
    # The file holds a third one too, that nobody ever agreed on.
    believed = Site(kz_file=(FIRST, SECOND, THIRD)).at(state, height, time_ms).cas()
    directory = PeerDirectory({"kz-kgd-1": KZ, "cn-gacc-1": CN}, believed)
    for ca in (FIRST, SECOND, THIRD):
        certificate, _ = certificates.issue(ca, "kz-kgd-1", NOW)
        if ca in taken:
            assert directory.identify_certificate(certificate) == "kz-kgd-1", when
        else:
            with pytest.raises(NotThePeer, match="not issued by the CA of kz-kgd"):
                directory.identify_certificate(certificate)
        forged, _ = certificates.issue(ca, "cn-gacc-1", NOW)
        with pytest.raises(NotThePeer, match="not issued by the CA of cn-gacc"):
            directory.identify_certificate(forged)


def test_whoever_lacks_the_certificate_in_force_believes_nobody_of_that_authority_after_the_overlap() -> None:
    site = Site(kz_file=(FIRST,))
    assert site.at(CHANGED, HEIGHT, CHANGED_MS).cas()[KZ] == FIRST.certificate_pem
    at = site.at(CHANGED, HEIGHT, CHANGED_MS + OVERLAP_MS)
    assert at.cas()[KZ] == b""
    assert any(
        "kz.pem lacks the CA certificate of kz-kgd that is in force since height 40" in each for each in at.to_do()
    )
    certificate, _ = certificates.issue(FIRST, "kz-kgd-1", NOW)
    with pytest.raises(NotThePeer):
        PeerDirectory({"kz-kgd-1": KZ}, at.cas()).identify_certificate(certificate)


def test_a_ca_that_the_configuration_names_is_believed_until_the_ledger_knows_better() -> None:
    """A validator that was away for the whole overlap knows the old one alone, and nobody has a certificate of that."""
    site = Site(kz_file=(SECOND,), named=HASH[SECOND])
    assert site.at(ALONE, 5, CHANGED_MS).cas()[KZ] == SECOND.certificate_pem
    # On its way it comes by the approval, and needs the blocks from there to the height.
    assert site.at(APPROVED, 5, CHANGED_MS).cas()[KZ] == SECOND.certificate_pem
    assert site.at(CHANGED, HEIGHT, CHANGED_MS).cas()[KZ] == SECOND.certificate_pem
    # And that it is over.
    ended = Site(kz_file=(FIRST,), named=HASH[FIRST])
    assert ended.at(CHANGED, HEIGHT, CHANGED_MS + OVERLAP_MS).cas()[KZ] == b""


def test_following_the_ledger_says_when_something_else_counts_and_only_then() -> None:
    at = Site().at(ALONE, 5, CHANGED_MS - 1)
    assert not at.follow(ALONE, 6, CHANGED_MS - 1)
    assert not at.follow(APPROVED, 7, CHANGED_MS - 1)
    assert at.follow(CHANGED, HEIGHT, CHANGED_MS)
    assert not at.follow(CHANGED, HEIGHT + 1, CHANGED_MS + OVERLAP_MS - 1)
    assert at.follow(CHANGED, HEIGHT + 2, CHANGED_MS + OVERLAP_MS)
    assert not at.follow(CHANGED, HEIGHT + 3, CHANGED_MS + OVERLAP_MS + 1)


# --- in words --------------------------------------------------------------------------------------------------------


def test_nothing_is_asked_of_an_operator_before_anything_is_decided() -> None:
    certificate, _ = certificates.issue(FIRST, "kz-kgd-1", NOW)
    assert Site(certificate=certificate, kz_file=(FIRST,), log_keys=(OLD,)).at(ALONE, 5, CHANGED_MS).to_do() == []


def test_an_operator_is_told_what_to_put_in_place_before_the_height_and_after_it() -> None:
    old, _ = certificates.issue(FIRST, "kz-kgd-1", NOW)
    site = Site(kz_file=(FIRST,), log_keys=(OLD,), certificate=old)
    both_wait = AuthorityKeys(
        APPROVED.log_keys, APPROVED.cas, (Waiting(KZ, NEW.public_key, HEIGHT, "kz-kgd/1"),), APPROVED.cas_waiting
    )
    ahead = site.at(both_wait, 5, CHANGED_MS).to_do()
    assert len(ahead) == 2
    assert "from height 40 on the log key" in ahead[0]
    assert "from height 40 on kz-kgd has the CA with SHA-256 " + HASH[SECOND].hex() in ahead[1]
    in_force = keys(*TENURES, log=LOG_TENURES)
    late = Site(kz_file=(FIRST, SECOND), log_keys=(OLD,), certificate=old)
    assert "counts for the overlap only" in late.at(in_force, HEIGHT, CHANGED_MS).to_do()[0]
    assert "certificate.pem is of the CA before" in late.at(in_force, HEIGHT, CHANGED_MS).to_do()[1]
    over = late.at(in_force, HEIGHT, CHANGED_MS + OVERLAP_MS).to_do()
    assert "none of our log keys counts since height 40" in over[0]
    assert "is refused by the others" in over[1]


def test_an_operator_is_told_that_the_policy_file_is_that_of_before() -> None:
    new, _ = certificates.issue(SECOND, "kz-kgd-1", NOW)
    in_force = keys(*TENURES, log=LOG_TENURES)
    told = Site(certificate=new).at(in_force, HEIGHT, CHANGED_MS).to_do()
    assert len(told) == 1
    assert "network.policy does not name the log key in force" in told[0]


def test_the_policy_for_our_own_disk_knows_every_log_key_that_our_authority_had() -> None:
    at = Site().at(keys(*TENURES, log=LOG_TENURES), HEIGHT, CHANGED_MS)
    known = at.known_to(WORLD.policy(), KZ)
    assert [log.key.public_key for log in known.logs] == [OLD.public_key, NEW.public_key]
    assert known.quorum == WORLD.policy().quorum
    before = Site().at(ALONE, 5, CHANGED_MS)
    assert before.known_to(WORLD.policy(), KZ) == WORLD.policy()
