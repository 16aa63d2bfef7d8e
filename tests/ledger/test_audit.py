"""The audit against archives that were tampered with, and against logs that were never right."""

from __future__ import annotations

import os
import random
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from ledger import audit_chunks, audit_processes
from ledger.algorithms import PrivateKey, PublicKey
from ledger.archive import archive_policy, export_archive
from ledger.audit import AuditReport, Check, audit_archive
from ledger.audit_report import MAX_FAULTS_PER_CHECK
from ledger.checkpoint import Checkpoint, parse_checkpoint
from ledger.cosignature import MlDsaCosigner, cosign
from ledger.entry import BlockRecord, Genesis, parse_entry
from ledger.errors import Misuse, Untrue
from ledger.merkle import leaf_hash
from ledger.note import COSIGNATURE_V1, Note, NoteSignature, NoteSigner, format_note, format_vkey, parse_note
from ledger.policy import parse_policy
from ledger.statement import Statement, verify_statement
from tests.ledger.archives import edit, entries_of, entry_at, flip, naive_root, write_archive
from tests.ledger.toy import ORIGIN, Replay, ToyBlock, World

BLOCKS = 90


@pytest.fixture(scope="module")
def world() -> World:
    grown = World()
    grown.grow(BLOCKS, 3)
    return grown


@pytest.fixture(autouse=True)
def signatures_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same few hundred statements are audited a thousand times over: the outcome of each check is remembered."""
    monkeypatch.setattr(audit_chunks, "verify_statement", remembered)


@cache
def remembered_outcome(raw: bytes, cose_key: bytes) -> Untrue | None:
    statement = parse_entry(raw)
    try:
        if isinstance(statement, Statement):
            verify_statement(statement, PublicKey.from_cose_key(cose_key))
    except Untrue as error:
        return error
    return None


def remembered(statement: Statement, key: PublicKey) -> None:
    outcome = remembered_outcome(statement.raw, key.cose_key)
    if outcome is not None:
        raise Untrue(outcome.code, outcome.args[0])


@pytest.fixture
def archive(world: World, tmp_path: Path) -> Path:
    export_archive(world.chain, tmp_path / "archive", world.policy(), world.note())
    return tmp_path / "archive"


def audit(directory: Path, world: World, jobs: int = 1) -> AuditReport:
    return audit_archive(directory, world.policy(), world.replay, jobs)


def checks(report: AuditReport) -> set[Check]:
    return {fault.check for fault in report.faults}


def entries(report: AuditReport, check: Check) -> list[int | None]:
    return [fault.entry for fault in report.faults if fault.check is check]


# --- what is right ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("authority", ["kz-kgd", "cn-gacc"])
def test_a_true_archive_holds_under_the_policy_of_either_authority(world: World, archive: Path, authority: str) -> None:
    steps: list[tuple[int, int]] = []
    report = audit_archive(archive, world.policy(authority), world.replay, 1, lambda *step: steps.append(step))
    assert report.faults == ()
    assert report.holds
    assert (report.origin, report.size, report.root) == (ORIGIN, world.chain.size, world.chain.root)
    assert (report.entries, report.blocks, report.height_compared) == (world.chain.size, BLOCKS + 1, BLOCKS + 1)
    assert report.statements == world.chain.size - BLOCKS - 2
    assert report.missing == ()
    assert set(report.signed.values()) == {world.time_ms // 1000}
    assert steps[-1] == (world.chain.size, world.chain.size)


def test_several_processes_find_what_one_finds(world: World, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_processes, "MIN_PARALLEL_BUNDLES", 1)
    assert audit(archive, world, 2).holds
    edit(archive / "tile/entries/000", flip(9000))
    edit(archive / "tile/0/000", flip(64))
    shutil.rmtree(archive / "tile/1")
    found = audit(archive, world, 2)
    assert found == audit(archive, world, 1)
    assert len(checks(found)) >= 3


def test_one_missing_validator_is_told_and_is_no_fault(world: World, archive: Path) -> None:
    (archive / "checkpoint").write_bytes(world.note(without=("cn-gacc-2",)))
    report = audit(archive, world)
    assert report.holds
    assert report.missing == ("cn-gacc-2",)


def test_a_log_of_nothing_but_its_genesis_holds(tmp_path: Path) -> None:
    world = World()
    write_archive(tmp_path, entries_of(world), world)
    assert audit(tmp_path, world).holds


def test_the_report_can_be_given_as_json(world: World, archive: Path) -> None:
    edit(archive / "tile/entries/000", flip(5000))
    found = audit(archive, world).as_dict()
    assert found["holds"] is False
    assert [each["number"] for each in found["checks"]] == list(range(1, 17))  # type: ignore[attr-defined]
    assert all("entry" in each for each in found["faults"])  # type: ignore[attr-defined]


def test_an_audit_of_nothing_is_misuse(world: World, tmp_path: Path) -> None:
    for directory, jobs in ((tmp_path / "no", 1), (tmp_path, 0), (tmp_path, 1000)):
        with pytest.raises(Misuse):
            audit_archive(directory, world.policy(), world.replay, jobs)
    assert not audit(tmp_path, world).holds


# --- one altered byte ------------------------------------------------------------------------------------------------


def test_a_flipped_byte_in_any_file_is_a_fault_and_in_a_bundle_names_its_entry(world: World, archive: Path) -> None:
    chooser = random.Random(11)
    for path in sorted(each for each in archive.rglob("*") if each.is_file()):
        name = str(path.relative_to(archive))
        data = path.read_bytes()
        for position in sorted({0, len(data) - 1, *(chooser.randrange(len(data)) for _ in range(8))}):
            mask = chooser.choice((1, 0x20, 0x80, 0xFF))
            path.write_bytes(flip(position, mask)(data))
            report = audit(archive, world)
            assert not report.holds, f"byte {position} of {name}"
            assert len(report.faults) <= 12, [str(fault) for fault in report.faults]
            if name.startswith("tile/entries/"):
                index = int(name.split("/")[2][:3]) * 256 + entry_at(data, position)
                assert index in [fault.entry for fault in report.faults], f"byte {position} of {name}"
        path.write_bytes(data)
    assert audit(archive, world).holds


def test_every_length_in_a_bundle_may_be_altered_and_only_that_entry_is_told(world: World, archive: Path) -> None:
    path = archive / "tile/entries/000"
    data = path.read_bytes()
    start = 0
    for number in range(256):
        if number % 37 == 0 or number == 255:
            for position, mask in ((start, 1), (start + 1, 0x10), (start + 1, 0xFF)):
                path.write_bytes(flip(position, mask)(data))
                report = audit(archive, world)
                assert [(fault.check, fault.entry) for fault in report.faults] == [(Check.FILES, number)]
        start += 2 + int.from_bytes(data[start : start + 2], "big")


def test_one_flip_is_few_faults_and_later_faults_are_still_told(world: World, archive: Path) -> None:
    first, second = archive / "tile/entries/000", next(archive.glob("tile/entries/001.p/*"))
    position = len(first.read_bytes()) // 2
    entry = entry_at(first.read_bytes(), position)
    edit(first, flip(position))
    alone = audit(archive, world)
    assert {fault.entry for fault in alone.faults} == {entry}
    assert Check.TILES in checks(alone)
    assert alone.not_comparable_from == entry
    later = 256 + entry_at(second.read_bytes(), 9000)
    edit(second, flip(9000))
    both = audit(archive, world)
    assert {fault.entry for fault in both.faults} == {entry, later}


def test_an_altered_tile_is_told_from_an_altered_entry(world: World, archive: Path) -> None:
    edit(archive / "tile/0/000", flip(32 * 10))
    report = audit(archive, world)
    assert [(fault.check, fault.entry, fault.file) for fault in report.faults] == [(Check.TILES, 10, "tile/0/000")]
    assert "tile was altered" in report.faults[0].message
    # The entries are all there and true: they were executed to the end.
    assert (report.height_compared, report.not_comparable_from) == (BLOCKS + 1, None)


def test_an_entry_altered_together_with_its_tile_shows_in_the_hash_above_and_in_the_root(
    world: World, archive: Path
) -> None:
    forged = entries_of(world)
    victim = next(index for index in range(100, 200) if isinstance(parse_entry(forged[index]), Statement))
    forged[victim] = forged[victim][:-1] + bytes((forged[victim][-1] ^ 1,))
    bundle = b"".join(len(each).to_bytes(2, "big") + each for each in forged[:256])
    (archive / "tile/entries/000").write_bytes(bundle)
    (archive / "tile/0/000").write_bytes(b"".join(map(leaf_hash, forged[:256])))
    report = audit(archive, world)
    assert {Check.TILES, Check.ROOT, Check.SIGNATURES} <= checks(report)
    assert entries(report, Check.SIGNATURES) == [victim]


# --- files -----------------------------------------------------------------------------------------------------------


def test_every_missing_file_is_told(world: World, archive: Path) -> None:
    for path in sorted(each for each in archive.rglob("*") if each.is_file()):
        data = path.read_bytes()
        path.unlink()
        report = audit(archive, world)
        assert str(path.relative_to(archive)) in [fault.file for fault in report.faults]
        path.write_bytes(data)


def test_every_file_cut_short_or_grown_is_told(world: World, archive: Path) -> None:
    for path in sorted(each for each in archive.rglob("*") if each.is_file()):
        data = path.read_bytes()
        for wrong in (b"", data[:-1], data + b"\x00", data + data):
            path.write_bytes(wrong)
            assert not audit(archive, world).holds, (path, len(wrong))
        path.write_bytes(data)


def test_a_run_of_missing_bundles_is_one_fault_and_the_rest_is_still_audited(tmp_path: Path) -> None:
    world = World()
    world.grow(3, 255)
    write_archive(tmp_path, entries_of(world), world)
    (tmp_path / "tile/entries/000").unlink()
    (tmp_path / "tile/entries/001").unlink()
    edit(tmp_path / "tile/entries/002", flip(3000))
    report = audit(tmp_path, world)
    assert entries(report, Check.FILES) == [0]
    assert any(fault.entry is not None and fault.entry >= 512 for fault in report.faults)
    assert Check.ROOT not in checks(report)
    # With their tiles gone too, the level above bridges the gap.
    (tmp_path / "tile/0/000").unlink()
    (tmp_path / "tile/0/001").unlink()
    assert Check.ROOT not in checks(audit(tmp_path, world))
    shutil.rmtree(tmp_path / "tile/1")
    assert Check.ROOT in checks(audit(tmp_path, world))


def test_whatever_else_lies_in_the_directory_is_told_and_never_waited_for(world: World, archive: Path) -> None:
    (archive / "extra").write_bytes(b"")
    (archive / "tile/0/009").write_bytes(bytes(8192))
    (archive / "tile/0/000.p").mkdir()
    (archive / "tile/0/000.p/7").write_bytes((archive / "tile/0/000").read_bytes()[:224])
    (archive / "tile/x").mkdir()
    (archive / "tile/x/000").write_bytes(b"")
    os.mkfifo(archive / "pipe")
    (archive / "loop").symlink_to(archive)
    report = audit(archive, world)
    told = {fault.file for fault in report.faults if fault.check is Check.NOTHING_ELSE}
    assert told == {"extra", "tile/0/009", "tile/0/000.p/7", "tile/x/000", "pipe", "loop"}
    assert checks(report) == {Check.NOTHING_ELSE}
    for name in ("tile/entries/000", "tile/0/000", "checkpoint", "policy", "tile/1/000.p/1"):
        (archive / name).unlink()
        os.mkfifo(archive / name)
    assert not audit(archive, world).holds


# --- checkpoint and policy -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("without", "expected"),
    [
        (("cn-gacc-1", "cn-gacc-2"), {Check.QUORUM}),
        (("kz-kgd",), {Check.LOG_SIGNATURE}),
        (("kz-kgd", "kz-kgd-1", "kz-kgd-2"), {Check.LOG_SIGNATURE, Check.QUORUM}),
    ],
)
def test_a_checkpoint_without_who_must_sign_is_told(
    world: World, archive: Path, without: tuple[str, ...], expected: set[Check]
) -> None:
    (archive / "checkpoint").write_bytes(world.note(without=without))
    assert checks(audit(archive, world)) == expected


def test_cosigners_that_are_no_validators_count_where_the_auditors_policy_names_them(
    world: World, archive: Path
) -> None:
    """A validator's ML-DSA key, which the genesis record has not, and a third party's witness, named with its URL."""
    quantum_safe, third = MlDsaCosigner(bytes(32)), NoteSigner(bytes(range(32)))
    vkeys = (quantum_safe.verifier("kz-kgd-1"), third.verifier("witness.example/w1", COSIGNATURE_V1))
    further = (
        f"witness pq {format_vkey(vkeys[0])}\nwitness w1 {format_vkey(vkeys[1])} https://witness.example/\n"
        "group all-of-them all both pq w1\nquorum all-of-them\n"
    )
    policy = world.policy().replace(b"quorum both\n", further.encode())
    note = parse_note(world.note())
    checkpoint = parse_checkpoint(note.text)
    lines = (quantum_safe.cosign("kz-kgd-1", checkpoint, 5), cosign(third, "witness.example/w1", checkpoint, 7))

    def audited(*signatures: NoteSignature) -> AuditReport:
        (archive / "checkpoint").write_bytes(format_note(Note(note.text, (*note.signatures, *signatures))))
        (archive / "policy").write_bytes(archive_policy(parse_policy(policy)))
        return audit_archive(archive, policy, world.replay, 1)

    report = audited(*lines)
    assert report.faults == ()
    assert (report.signed["pq"], report.signed["w1"]) == (5, 7)
    assert checks(audited(lines[0])) == checks(audited(lines[1])) == {Check.QUORUM}
    assert checks(audited(lines[0], replace(lines[1], signature=bytes(72)))) == {Check.QUORUM, Check.SIGNATURE_LINES}


def test_signature_lines_of_strangers_repeated_or_bad_are_told(world: World, archive: Path) -> None:
    note = parse_note(world.note())
    stranger = parse_note(World(seed="strangers").note()).signatures[0]
    bad = replace(note.signatures[3], signature=note.signatures[4].signature)
    for signatures in ((*note.signatures, stranger), (*note.signatures, note.signatures[0]), (*note.signatures, bad)):
        (archive / "checkpoint").write_bytes(format_note(Note(note.text, signatures)))
        assert Check.SIGNATURE_LINES in checks(audit(archive, world))


def test_a_checkpoint_of_another_size_or_root_is_told_and_a_huge_size_ends(world: World, archive: Path) -> None:
    wrong = [
        Checkpoint(ORIGIN, world.chain.size - 1, world.chain.root_at(world.chain.size - 1)),
        Checkpoint(ORIGIN, world.chain.size, bytes(32)),
        Checkpoint(ORIGIN, world.chain.size + 1, world.chain.root),
        Checkpoint(ORIGIN, (1 << 63) - 1, world.chain.root),
        Checkpoint("log.example/other", world.chain.size, world.chain.root),
    ]
    for checkpoint in wrong:
        (archive / "checkpoint").write_bytes(world.note(checkpoint))
        report = audit(archive, world)
        assert not report.holds
        assert len(report.faults) < 40
        unsigned = parse_note(world.note(checkpoint))
        lines = parse_note(world.note()).signatures
        (archive / "checkpoint").write_bytes(format_note(Note(unsigned.text, lines)))
        assert not audit(archive, world).holds


def test_a_policy_that_is_not_the_auditors_is_told(world: World, archive: Path) -> None:
    other = World(seed="other")
    (archive / "policy").write_bytes(archive_policy(parse_policy(other.policy())))
    assert checks(audit(archive, world)) == {Check.ARCHIVE_POLICY}
    report = audit_archive(archive, other.policy(), world.replay)
    assert {Check.LOG_SIGNATURE, Check.QUORUM, Check.GENESIS} <= checks(report)
    assert Check.POLICY in checks(audit_archive(archive, b"quorum nobody\n", world.replay))
    weaker = world.policy().replace(b"group both all", b"group both any")
    (archive / "policy").write_bytes(weaker)
    assert Check.ARCHIVE_POLICY in checks(audit(archive, world))


# --- logs that were never right: hashes and signatures of the checkpoint are all in order ----------------------------


def rewritten(world: World, tmp_path: Path, change: dict[int, bytes], insert: dict[int, bytes] | None = None) -> Path:
    """The archive of the world's entries with some replaced and some put in, and everything above them made to fit."""
    forged: list[bytes] = []
    for index, raw in enumerate(entries_of(world)):
        forged += [insert[index]] if insert and index in insert else []
        forged.append(change.get(index, raw))
    write_archive(tmp_path / "forged", forged, world)
    return tmp_path / "forged"


def record_index(world: World, height: int) -> int:
    record = world.chain.block(height)
    return record.first + record.count


def test_a_statement_that_its_author_never_signed_is_told(world: World, tmp_path: Path) -> None:
    index = world.chain.block(30).first
    raw = world.chain.entry(index)
    report = audit(rewritten(world, tmp_path, {index: raw[:-1] + bytes((raw[-1] ^ 1,))}), world)
    assert entries(report, Check.SIGNATURES) == [index]
    assert entries(report, Check.OUTCOMES) == [index]


def test_a_statement_of_a_key_that_nobody_enrolled_is_told(world: World, tmp_path: Path) -> None:
    outsider = World(seed="outside")
    outsider.keys["kz/truck/0"] = PrivateKey.generate()
    index = world.chain.block(30).first
    report = audit(rewritten(world, tmp_path, {index: outsider.add("kz/truck/0", "c1").raw}), world)
    assert entries(report, Check.SIGNATURES) == [index]
    assert entries(report, Check.OUTCOMES) == [index]


def test_a_statement_of_a_revoked_key_is_told_where_it_stands_and_not_before(tmp_path: Path) -> None:
    world = World()
    world.append(world.enrol("kz/truck/1"))
    world.append(world.add("kz/truck/1", "c1"))
    world.append(world.revoke("kz/truck/1"))
    late = world.add("kz/truck/1", "c1")
    world.chain.append_block(9, world.time_ms, "kz-kgd-1", [late], {"counter/c1": (2).to_bytes(8, "big")})
    write_archive(tmp_path, entries_of(world), world)
    report = audit(tmp_path, world)
    assert entries(report, Check.OUTCOMES) == [world.chain.size - 2]
    assert entries(report, Check.STATE_ROOTS) == [world.chain.size - 1]
    assert Check.SIGNATURES not in checks(report)


def test_a_statement_that_stands_twice_is_told(world: World, tmp_path: Path) -> None:
    first, again = world.chain.block(20).first, world.chain.block(60).first
    report = audit(rewritten(world, tmp_path, {again: world.chain.entry(first)}), world)
    assert entries(report, Check.UNIQUE) == [again]
    assert str(first) in next(fault.message for fault in report.faults if fault.check is Check.UNIQUE)


def test_a_cti_that_its_issuer_used_before_is_told(tmp_path: Path) -> None:
    world = World()
    world.append(world.enrol("kz/truck/1"))
    one = world.add("kz/truck/1", "c1")
    world._count -= 1
    world.append(one, world.enrol("kz/truck/2"))
    world._count -= 1
    other = world.add("kz/truck/1", "c2")
    world._count -= 1
    world.append(world.add("kz/truck/1", "c3"))
    world.append(other)
    write_archive(tmp_path, entries_of(world), world)
    report = audit(tmp_path, world)
    assert checks(report) == {Check.UNIQUE}
    assert len(report.faults) == 2


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("height", 99),
        ("time_ms", 1),
        ("first", 1),
        ("count", 0),
        ("previous", bytes(32)),
        ("state_root", bytes(32)),
        ("proposer", "stranger"),
    ],
)
def test_a_block_record_with_anything_wrong_is_told_there(
    world: World, tmp_path: Path, member: str, value: object
) -> None:
    index = record_index(world, 30)
    forged = replace(world.chain.block(30), **{member: value})  # type: ignore[arg-type]
    report = audit(rewritten(world, tmp_path, {index: forged.encode()}), world)
    expected = Check.STATE_ROOTS if member == "state_root" else Check.BLOCKS
    assert index in entries(report, expected)
    assert len(report.faults) <= 5


def test_the_first_block_of_another_state_is_told_and_no_later_one_but_later_forgeries_are(
    world: World, tmp_path: Path
) -> None:
    index, later = record_index(world, 30), world.chain.block(70).first
    raw = world.chain.entry(later)
    forged = replace(world.chain.block(30), state_root=bytes(32)).encode()
    report = audit(rewritten(world, tmp_path, {index: forged, later: raw[:-1] + bytes((raw[-1] ^ 1,))}), world)
    assert entries(report, Check.STATE_ROOTS) == [index]
    assert (report.height_compared, report.not_comparable_from) == (29, index)
    assert entries(report, Check.SIGNATURES) == [later]


def test_entries_out_of_place_are_told(world: World, tmp_path: Path) -> None:
    raw = entries_of(world)
    cases = {
        "no genesis": raw[1:],
        "a second genesis": [*raw[:50], raw[0], *raw[50:]],
        "no block record at the end": raw[:-1],
        "a block record left out": [each for index, each in enumerate(raw) if index != record_index(world, 40)],
        "a statement ahead of the enrolment that it needs": [raw[0], raw[5], *raw[2:5], raw[1], *raw[6:]],
        "rubbish": [*raw[:77], b"rubbish", *raw[78:]],
        "a statement put in": [*raw[:50], World(seed="x").enrol("kz/truck/9").raw, *raw[50:]],
    }
    for name, forged in cases.items():
        shutil.rmtree(tmp_path / "forged", ignore_errors=True)
        write_archive(tmp_path / "forged", forged, world)
        report = audit(tmp_path / "forged", world)
        assert not report.holds, name
        assert len(report.faults) < 12, name


def test_a_genesis_of_other_keys_is_told(world: World, tmp_path: Path) -> None:
    other = World(seed="other")
    genesis = parse_entry(entries_of(world)[0])
    assert isinstance(genesis, Genesis)
    forged = replace(genesis, authorities=other.genesis.authorities)
    report = audit(rewritten(world, tmp_path, {0: forged.encode()}), world)
    assert entries(report, Check.GENESIS) == [0] * 5
    renamed = replace(genesis, origin="log.example/renamed")
    assert Check.GENESIS in checks(audit(rewritten(world, tmp_path / "b", {0: renamed.encode()}), world))


class Careless(Replay):
    """Contracts that forget to check signatures, or that break."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.fault = fault

    def begin_block(self, state: object, time_ms: int, height: int) -> ToyBlock:
        block = super().begin_block(state, time_ms, height)  # type: ignore[arg-type]

        def execute(statement: Statement, check_signature: object) -> tuple[int, str]:
            if self.fault is not None:
                raise self.fault
            return ToyBlock.execute(block, statement, lambda statement, key: None)

        block.execute = execute  # type: ignore[method-assign]
        return block


def test_contracts_that_do_not_ask_for_the_signature_are_told(world: World, archive: Path) -> None:
    report = audit_archive(archive, world.policy(), Careless())
    assert len(entries(report, Check.SIGNATURES)) == min(report.statements, MAX_FAULTS_PER_CHECK)


def test_contracts_that_break_end_the_comparison_and_not_the_audit(world: World, archive: Path) -> None:
    report = audit_archive(archive, world.policy(), Careless(RecursionError("deep")))
    assert entries(report, Check.OUTCOMES) == [1]
    assert (report.not_comparable_from, report.entries) == (1, world.chain.size)


def test_faults_beyond_the_limit_are_counted(world: World, tmp_path: Path) -> None:
    raw = entries_of(world)
    write_archive(tmp_path, [raw[0], *(b"rubbish %d" % number for number in range(1500))], world)
    report = audit(tmp_path, world)
    assert len(entries(report, Check.ENTRIES)) == MAX_FAULTS_PER_CHECK
    assert report.uncounted == {Check.ENTRIES: 1500 - MAX_FAULTS_PER_CHECK}


def test_the_naive_root_is_that_of_the_chain(world: World) -> None:
    assert naive_root([leaf_hash(raw) for raw in entries_of(world)]) == world.chain.root
    assert BlockRecord.decode(entries_of(world)[-1]) == world.chain.last_block


def test_the_document_lists_the_checks_as_the_code_does() -> None:
    document = (Path(__file__).parents[2] / "docs/audit.md").read_text()
    rows = [line for line in document.splitlines() if line.startswith("| ") and line[2].isdigit()]
    assert rows == [f"| {int(check)} | `{check.name.lower()}` | {check.sentence} |" for check in Check]
