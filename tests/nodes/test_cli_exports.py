"""`comity export --format`: one subject of an archive as a document, offline, the same bytes for everybody."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest

from api.history import History, Recorded, authorities_of, read_archive
from ledger.entry import BlockRecord
from ledger.errors import Untrue
from ledger.statement import Statement
from nodes.cli import EXIT_DOES_NOT_HOLD, EXIT_HOLDS, EXIT_MISUSE, EXIT_UNAVAILABLE
from tests.api import tales
from tests.contracts import corridor as c
from tests.ledger.archives import write_archive
from tests.ledger.toy import World
from tests.nodes.test_cli import run, run_light

BLOCK_STATEMENTS = 3


def entries_of(statements: Sequence[Statement]) -> list[bytes]:
    """The genesis, then the statements in blocks; each block a minute after the one before."""
    entries = [c.genesis().encode()]
    blocks = [statements[at : at + BLOCK_STATEMENTS] for at in range(0, len(statements), BLOCK_STATEMENTS)]
    for height, block in enumerate(blocks, 1):
        first = len(entries)
        entries += [statement.raw for statement in block]
        time_ms = c.OPEN_MS + 60_000 * height
        entries.append(BlockRecord(height, time_ms, first, len(block), bytes(32), bytes(32), "kz-kgd-1").encode())
    return entries


@pytest.fixture(scope="module")
def world() -> World:
    return World()


STATEMENTS = [
    *(tales.signed(number, step, c.UCR) for number, step in enumerate(tales.DECLARATION)),
    *(tales.signed(number, step, c.MRN) for number, step in enumerate(tales.ESCORT)),
]


@pytest.fixture
def archive(tmp_path: Path, world: World) -> Path:
    write_archive(tmp_path / "archive", entries_of(STATEMENTS), world)
    (tmp_path / "border.policy").write_bytes(world.policy())
    return tmp_path / "archive"


def policy_of(archive: Path) -> Path:
    return archive.with_name("border.policy")


def test_the_history_of_a_subject_is_its_entries_with_their_block_times(archive: Path) -> None:
    history = read_archive(archive, policy_of(archive).read_bytes(), c.MRN)
    entries = entries_of(STATEMENTS)
    known = {statement.raw: statement for statement in STATEMENTS if statement.sub == c.MRN}
    expected = [(index, known[raw].id) for index, raw in enumerate(entries) if raw in known]
    assert [(recorded.index, recorded.statement.id) for recorded in history.entries] == expected
    assert (history.size, history.authorities) == (len(entries), authorities_of(c.genesis()))
    heights = {recorded.block_time_ms for recorded in history.entries}
    assert len(heights) == len(STATEMENTS) // BLOCK_STATEMENTS - 1 + (len(STATEMENTS) % BLOCK_STATEMENTS > 0)
    assert history.time_ms == max(heights)


def test_a_movement_is_exported_as_epcis_and_again_as_the_same_bytes(archive: Path, tmp_path: Path) -> None:
    document = ("export", archive, "--policy", policy_of(archive), "--format", "epcis", "--movement", c.MRN)
    assert run(*document, "--out", tmp_path / "a.jsonld").exit_code == EXIT_HOLDS
    printed = run(*document)
    assert printed.exit_code == EXIT_HOLDS, printed.output
    assert printed.stdout_bytes == (tmp_path / "a.jsonld").read_bytes()
    events = json.loads(printed.stdout)["epcisBody"]["eventList"]
    assert len({event["comity:entry"] for event in events}) == len(tales.ESCORT)


def test_a_declarations_notifications_are_exported_as_wco_responses(archive: Path) -> None:
    result = run("export", archive, "--policy", policy_of(archive), "--format", "wco", "--declaration", c.UCR)
    assert result.exit_code == EXIT_HOLDS, result.output
    assert [e.tag.partition("}")[2] for e in ElementTree.fromstring(result.stdout)].count("Response") == 4


def test_documents_are_written_on_the_light_install(archive: Path) -> None:
    document = ("export", archive, "--policy", policy_of(archive), "--format", "epcis", "--movement", c.MRN)
    done = run_light(*document)
    assert done.returncode == EXIT_HOLDS, done.stderr


def test_an_archive_that_was_altered_is_not_told_from(archive: Path) -> None:
    bundle = next((archive / "tile" / "entries").rglob("[0-9]*.p/*"))
    data = bytearray(bundle.read_bytes())
    at = data.index(b"kz/truck/t-001")
    data[at + 13] ^= 1
    bundle.write_bytes(data)
    with pytest.raises(Untrue):
        read_archive(archive, policy_of(archive).read_bytes(), c.MRN)
    result = run("export", archive, "--policy", policy_of(archive), "--format", "epcis", "--movement", c.MRN)
    assert result.exit_code == EXIT_DOES_NOT_HOLD
    assert "not those of its checkpoint" in result.output


def test_an_archive_that_the_policy_does_not_hold_for_final_is_not_told_from(archive: Path) -> None:
    stranger = archive.with_name("stranger.policy")
    stranger.write_bytes(World(seed="stranger").policy())
    result = run("export", archive, "--policy", stranger, "--format", "epcis", "--movement", c.MRN)
    assert result.exit_code == EXIT_DOES_NOT_HOLD


@pytest.mark.parametrize(
    ("options", "status"),
    [
        (("--format", "epcis"), EXIT_MISUSE),
        (("--format", "wco", "--movement", c.MRN), EXIT_MISUSE),
        (("--format", "epcis", "--movement", "19GBCKKCQSXV2FGVA9"), EXIT_MISUSE),
        (("--format", "epcis", "--movement", c.MRN, "--gateway", "http://127.0.0.1:1"), EXIT_MISUSE),
        (("--movement", c.MRN), EXIT_MISUSE),
        ((), EXIT_MISUSE),
        (("--format", "epcis", "--movement", c.make_mrn(2)), EXIT_DOES_NOT_HOLD),
        (("--format", "wco", "--declaration", "NONE"), EXIT_DOES_NOT_HOLD),
    ],
    ids=str,
)
def test_what_cannot_be_exported_says_so(archive: Path, options: tuple[str, ...], status: int) -> None:
    assert run("export", archive, "--policy", policy_of(archive), *options).exit_code == status


def test_an_archive_that_is_not_there_ends_with_3(archive: Path, tmp_path: Path) -> None:
    document = ("--policy", policy_of(archive), "--format", "epcis", "--movement", c.MRN)
    assert run("export", tmp_path / "none", *document).exit_code == EXIT_UNAVAILABLE


def test_authorities_are_found_by_name_and_by_country() -> None:
    history = History("o", 1, 0, authorities_of(c.genesis()), ())
    assert [history.authority_of(name) for name in ("kz/truck/t-001", "cn-gacc/officer", "xx/y")] == [
        "kz-kgd",
        "cn-gacc",
        "",
    ]
    assert (history.country_of("cn-gacc"), history.country_of("xx")) == ("CN", "")
    assert Recorded(1, 2, STATEMENTS[0]).index == 1
