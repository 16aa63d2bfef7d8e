"""The report says what happened, including what must not have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.chaos.checker import PROPERTIES, Violation
from tests.chaos.machine import SWITCH, Ability
from tests.chaos.report import BEGIN_TABLE, END_TABLE, as_markdown, as_section, summary, write, write_into
from tests.chaos.run import FaultRecord, Outcome

ABILITIES = {SWITCH: Ability(SWITCH, False, "/dev/net/tun: permission denied")}
ABOUT = {"commit": "0123456789ab", "cores": "2"}


def _outcome() -> Outcome:
    outcome = Outcome(seed=7, minutes=5)
    outcome.verdicts = {name: [] for name in PROPERTIES}
    outcome.counts = {"submit committed": 10, "submit unknown": 2}
    outcome.skipped = {"loss": "no switch"}
    outcome.records = [
        FaultRecord(1, "kill", "kill -9 of kz-kgd-1", 10.0, 12.0, ["a note"], 1.5, 0.25, 3.0),
        FaultRecord(2, "kill", "kill -9 of kz-kgd-2", 20.0, 22.0, [], 0.5, None, None),
    ]
    return outcome


def test_a_fault_from_which_the_network_did_not_come_back_is_not_counted_as_survived() -> None:
    assert summary(_outcome())["kill"]["injected"] == 2
    assert summary(_outcome())["kill"]["survived"] == 1


def test_the_report_names_what_was_skipped_and_why() -> None:
    text = as_markdown(_outcome(), ABILITIES, ABOUT)
    assert "skipped: no switch" in text
    assert "/dev/net/tun: permission denied" in text
    assert "a note" in text
    assert "never" in text


def test_a_violation_is_in_the_title_and_in_full() -> None:
    outcome = _outcome()
    outcome.verdicts["at_most_once"] = [Violation("at_most_once", "aa stands at 1 and at 2")]
    assert not outcome.holds
    text = as_markdown(outcome, ABILITIES, ABOUT)
    assert text.startswith("# Chaos: VIOLATIONS")
    assert "aa stands at 1 and at 2" in text


def test_a_run_without_verdicts_does_not_hold() -> None:
    assert not Outcome(seed=1, minutes=1).holds


def test_both_files_are_written_and_the_json_can_be_computed_with(tmp_path: Path) -> None:
    write(tmp_path, _outcome(), ABILITIES, ABOUT)
    document = json.loads((tmp_path / "report.json").read_text())
    assert document["holds"] is True
    assert document["commit"] == "0123456789ab"
    assert (tmp_path / "report.md").read_text().startswith("# Chaos: everything held")


def test_a_document_gets_the_table_of_a_run_in_its_place_and_keeps_the_rest(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text(f"before\n{BEGIN_TABLE}\nold\n{END_TABLE}\nafter\n")
    write_into(document, as_section(_outcome(), ABOUT))
    write_into(document, as_section(_outcome(), ABOUT))
    text = document.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert text.count("| kill | SIGKILL of one validator | 1 of 2 | nothing |") == 1


def test_a_run_with_a_violation_does_not_say_that_nothing_was_lost() -> None:
    outcome = _outcome()
    outcome.verdicts["at_most_once"] = [Violation("at_most_once", "aa stands at 1 and at 2")]
    assert "| nothing |" not in as_section(outcome, ABOUT)
    assert "Violated: at_most_once." in as_section(outcome, ABOUT)


def test_a_document_without_the_place_is_left_alone(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text("nothing marked\n")
    with pytest.raises(ValueError, match="no place"):
        write_into(document, "section")
    assert document.read_text() == "nothing marked\n"
