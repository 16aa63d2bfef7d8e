"""Dwell times as a validator keeps them, against the log read from its beginning: the same bytes at every size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import dwell
from ledger.archive import export_archive
from ledger.chain import Chain
from ledger.checkpoint import Checkpoint, checkpoint_body
from ledger.note import Note, format_note
from ledger.store import MemoryStore
from nodes import dwell_rows
from nodes.cli import EXIT_DOES_NOT_HOLD, EXIT_HOLDS, EXIT_MISUSE, EXIT_UNAVAILABLE, comity
from nodes.dwell_rows import TooMany, measured_in, whole_blocks
from nodes.network import policy_text
from tests.nodes.test_log_index import MRNS, WORLD, Ledger, plan

OTHER_POST = {"exit_post": "KZ/DOSTYK@45250000,82480000"}
EVENTS = st.one_of(
    st.tuples(st.just("escort.plan"), st.sampled_from(MRNS), st.sampled_from([plan(), {**plan(), **OTHER_POST}])),
    st.tuples(
        st.sampled_from(
            [
                f"escort.{event}"
                for event in (
                    "reach_border",
                    "offer",
                    "accept",
                    "accept_with_differences",
                    "refuse_handover",
                    "resolve",
                    "arrive",
                    "unload",
                    "position",
                    "abort",
                )
            ]
        ),
        st.sampled_from(MRNS),
        st.just({"as_declared": True}),
    ),
)


def kept(ledger: Ledger, size: int, post: str = "") -> bytes:
    """As a validator answers."""
    size, time_ms = whole_blocks(ledger.chain, size)
    first, last = dwell.days_before(time_ms)
    found = dwell.figures(ledger.index.measured(post, first, last, size))
    return dwell.encoded(dwell.document("o", size, first, last, post, found))


def read(chain: Chain, size: int, post: str = "") -> bytes:
    """As an auditor computes it."""
    reading = dwell.LogReading([])
    reading.read(chain.entries(0, chain.size), size)
    first, last = dwell.days_before(reading.last_time_ms)
    within = [each for each in reading.measured if first <= dwell.day_of(each.ended_ms) <= last]
    found = dwell.figures(each for each in within if post in ("", each.post))
    return dwell.encoded(dwell.document("o", reading.size, first, last, post, found))


def pass_over(ledger: Ledger, mrn: str = MRNS[0]) -> None:
    """One passage as it should be, a block each."""
    ledger.append(("escort.plan", mrn, {**plan(), "truck": "kz/x"}))
    ledger.append(("escort.reach_border", mrn, {}))
    ledger.append(
        ("escort.resume", mrn, {"truck": "kz/y"})
    )  # every test statement is of one issuer: now it is the gate
    for event in ("reach_border", "offer", "accept", "arrive"):
        ledger.append((f"escort.{event}", mrn, {}))
    ledger.append(("escort.unload", mrn, {"as_declared": True}))


@settings(max_examples=10, deadline=None)
@given(st.lists(st.lists(EVENTS, max_size=5), max_size=8))
def test_both_ways_give_the_same_bytes_at_every_size_of_every_log(blocks: list[list[Any]]) -> None:
    ledger = Ledger()
    for events in blocks:
        ledger.append(*events)
    for size in range(1, ledger.chain.size + 1):
        for post in ("", "KZ/DOSTYK"):
            assert kept(ledger, size, post) == read(ledger.chain, size, post)


def test_a_passage_leaves_its_intervals_and_nothing_of_itself() -> None:
    ledger = Ledger()
    pass_over(ledger)
    document = json.loads(kept(ledger, ledger.chain.size))
    took = {(each["interval"], each["side"]): each["all"]["max_ms"] for each in document["figures"]}
    assert took == {
        ("queue", "departure"): 2000,
        ("offer", "departure"): 1000,
        ("answer", "destination"): 1000,
        ("border", "departure"): 4000,
        ("border", "destination"): 4000,
        ("approach", "destination"): 1000,
        ("unloading", "destination"): 1000,
    }
    assert not list(ledger.store.iterate(dwell_rows.PASSAGE, dwell_rows.PASSAGE + b"\xff"))


def test_made_again_in_slices_they_are_the_same_to_the_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nodes.log_index.SLICE_ENTRIES", 3)
    ledger = Ledger()
    for mrn in MRNS:
        pass_over(ledger, mrn)
    live = ledger.rows()
    ledger.store.write(dict.fromkeys(live))
    again = ledger.reopened()
    again.made_again()
    assert again.rows() == live


def test_of_more_than_are_counted_at_once_the_caller_is_told() -> None:
    ledger = Ledger()
    pass_over(ledger)
    first, last = dwell.days_before(WORLD.time_ms + 60_000)
    assert len(list(measured_in(ledger.store, "", first, last, ledger.chain.size, 7))) == 7
    with pytest.raises(TooMany, match="ask for one post, or for fewer days"):
        list(measured_in(ledger.store, "", first, last, ledger.chain.size, 6))


@pytest.fixture
def archive(tmp_path: Path) -> tuple[Ledger, Path, Path]:
    """A log of two passages, exported as an auditor gets it."""
    ledger = Ledger(MemoryStore())
    for mrn in MRNS:
        pass_over(ledger, mrn)
    chain = ledger.chain
    checkpoint = Checkpoint(WORLD.genesis.origin, chain.size, chain.root)
    lines = [line for name in ("kz-kgd-1", "cn-gacc-1") for line in WORLD.lines(name, checkpoint)]
    note = format_note(Note(checkpoint_body(checkpoint), tuple(lines)))
    policy = policy_text(WORLD.genesis, "kz-kgd").encode()
    (tmp_path / "policy").write_bytes(policy)
    export_archive(chain, tmp_path / "archive", policy, note)
    return ledger, tmp_path / "archive", tmp_path / "policy"


def run(*arguments: object) -> Any:
    return CliRunner().invoke(comity, [str(argument) for argument in arguments])


def test_the_command_gives_the_bytes_that_a_validator_gives(archive: tuple[Ledger, Path, Path]) -> None:
    ledger, directory, policy = archive
    for size in (ledger.chain.size, ledger.chain.size - 4):
        result = run("dwell", directory, "--policy", policy, "--json", "--size", size)
        assert result.exit_code == EXIT_HOLDS
        assert result.stdout_bytes == kept(ledger, size).replace(b'"o"', b'"comity.example/test"') + b"\n"
    shown = run("dwell", directory, "--policy", policy, "--post", "CNBKT")
    assert "CNBKT                destination  answer     all" in shown.stdout
    assert "1.000 s" in shown.stdout
    assert "KZ/" not in shown.stdout
    empty = run("dwell", directory, "--policy", policy, "--from", "2020-01-01", "--to", "2020-01-31")
    assert "no interval ended on these days" in empty.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["--size", "100000"], EXIT_MISUSE, "--size: expected at most"),
        (["--post", "nowhere"], EXIT_MISUSE, "--post: place: character 1"),
        (["--from", "2026-01-01"], EXIT_MISUSE, "--from and --to go together"),
        (["--from", "2026-01-01", "--to", "2026-12-31"], EXIT_MISUSE, "days: expected 1 to 92, got 365"),
        (["--from", "2026-02-01", "--to", "2026-01-31"], EXIT_MISUSE, "days: expected 1 to 92, got 0"),
        (["--from", "yesterday", "--to", "2026-01-31"], EXIT_MISUSE, "does not match the format"),
    ],
)
def test_the_command_says_what_was_called_wrongly(
    archive: tuple[Ledger, Path, Path], arguments: list[str], status: int, says: str
) -> None:
    _, directory, policy = archive
    result = run("dwell", directory, "--policy", policy, *arguments)
    assert (result.exit_code, says in result.output) == (status, True), result.output


def test_nothing_is_shown_of_an_archive_that_is_not_what_was_cosigned(archive: tuple[Ledger, Path, Path]) -> None:
    _, directory, policy = archive
    assert run("dwell", directory / "none", "--policy", policy).exit_code == EXIT_UNAVAILABLE
    (bundle,) = (directory / "tile/entries").rglob("000.p/*")
    data = bundle.read_bytes()
    at = data.index(b"CNBKT")
    bundle.write_bytes(data[:at] + b"CNTCS" + data[at + 5 :])
    result = run("dwell", directory, "--policy", policy)
    assert (result.exit_code, result.stdout) == (EXIT_DOES_NOT_HOLD, "")
    assert "the entries hash to" in result.output
    (directory / "checkpoint").write_bytes(b"not one")
    assert run("dwell", directory, "--policy", policy).exit_code == EXIT_DOES_NOT_HOLD
