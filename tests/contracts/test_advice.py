"""Every outcome says what it means and what helps, and names the statements that can meet it."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.advice import ADVICE, STATEMENT_OUTCOMES, advice_of, kinds_by_outcome
from contracts.outcome import Outcome
from contracts.reference import anchor, outcomes_text
from tests.contracts import corridor as c
from tests.contracts import stages as s

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("outcome", Outcome, ids=lambda outcome: outcome.fact)
def test_an_outcome_says_in_sentences_what_it_means_and_what_to_do(outcome: Outcome) -> None:
    advice = advice_of(outcome)
    assert advice.means.endswith(".")
    assert advice.do.endswith(".")
    assert outcome.fact not in advice.means, "the name again explains nothing"


def test_a_number_without_advice_is_told_with_what_to_do_about_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(ADVICE, Outcome.SEAL_NOT_INTACT)
    with pytest.raises(LookupError, match=r"325 seal_not_intact has no row in contracts/advice\.py"):
        advice_of(Outcome.SEAL_NOT_INTACT)


def test_every_outcome_but_those_of_the_kernel_is_met_by_some_kind_of_statement() -> None:
    kinds = kinds_by_outcome()
    unmet = {outcome for outcome in Outcome if outcome not in kinds and outcome not in STATEMENT_OUTCOMES}
    assert {outcome for outcome in unmet if outcome is not Outcome.ACCEPTED and outcome < 900} == set()


def test_a_page_of_outcomes_has_an_anchor_for_each() -> None:
    headings = [line[3:].replace(" ", "-") for line in outcomes_text().splitlines() if line.startswith("## ")]
    assert headings == [anchor(outcome) for outcome in Outcome]


def test_a_kind_that_meets_an_outcome_is_one_of_those_that_the_page_names() -> None:
    ledger = s.declaration_at("registered")
    payload = {"number": "no number of this country"}
    assert ledger.send("declaration.accept", "kz-kgd/officer", c.UCR, payload) is Outcome.DECLARATION_NUMBER_INVALID
    assert "declaration.accept" in kinds_by_outcome()[Outcome.DECLARATION_NUMBER_INVALID]
