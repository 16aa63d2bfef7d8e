"""Governance over HTTP: what is open, approved and in force, for anybody who asks."""

from __future__ import annotations

from api.models import GovernanceDocument, ParametersDocument, RecordDocument
from api.problems import type_of
from tests.api.conftest import Running
from tests.contracts.governing import CN, Governed, contract, parameter

PROPOSAL = "kz-kgd/2026-014"


def governed(running: Running) -> Governed:
    """A ledger with a proposal that is in force, one approved and one open, in the fake validator's records."""
    ledger = Governed.begin()
    ledger.agree(PROPOSAL, parameter("offer_lapse_s", 3_600))
    ledger.until(ledger.proposal(PROPOSAL).effect_height)
    ledger.agree("kz-kgd/2026-015", parameter("corridor_m", 3_000), contract("escort", 1, 99, "9.0.0"))
    basis = {"agreement": "Smart Customs pilot", "article": "4", "to": "2025-07-01"}
    ledger.propose("cn-gacc/7", {"legal_basis": basis}, who=CN)
    running.ledger.records |= ledger.state.records
    return ledger


async def test_parameters_say_what_holds_since_when_and_what_waits(running: Running) -> None:
    ledger = governed(running)
    response = await running.http.get("/v1/parameters")
    found = {each.name: each for each in ParametersDocument.model_validate(response.json()).parameters}
    lapse, corridor, posts = found["offer_lapse_s"], found["corridor_m"], found["posts"]
    assert (lapse.value, lapse.default) == (3_600, 1_800)
    assert lapse.since is not None
    proposal = ledger.proposal(PROPOSAL)
    assert (lapse.since.proposal, lapse.since.height) == (PROPOSAL, proposal.effect_height)
    assert lapse.since.statement == proposal.statement.hex()
    assert (corridor.value, corridor.since, corridor.pending) == (2_000, None, "kz-kgd/2026-015")
    assert (posts.lowest, posts.since, posts.pending) == (None, None, None)


async def test_what_is_open_and_what_waits_is_listed_and_which_release_is_missing(running: Running) -> None:
    governed(running)
    document = GovernanceDocument.model_validate((await running.http.get("/v1/governance")).json())
    assert document.authorities == ["kz-kgd", "cn-gacc"]
    assert [each["id"] for each in document.open] == ["cn-gacc/7"]
    assert [each["id"] for each in document.approved] == ["kz-kgd/2026-015"]
    assert {each.name for each in document.contracts} == {"registry", "declaration", "escort", "governance"}
    assert len(document.missing) == 1
    assert "install release 9.0.0 before" in document.missing[0]


async def test_a_proposal_is_shown_for_ever(running: Running) -> None:
    ledger = governed(running)
    response = await running.http.get(f"/v1/governance/{PROPOSAL}")
    record = RecordDocument.model_validate(response.json()).record
    assert (record["state"], record["proposal"]) == ("in_force", ledger.proposal(PROPOSAL).statement.hex())
    assert record["changes"] == [{"parameter": {"name": "offer_lapse_s", "from": 1_800, "to": 3_600}}]
    assert [each["authority"] for each in record["approvals"]] == ["kz-kgd", "cn-gacc"]


async def test_a_proposal_that_is_not_there_or_has_no_form_is_a_problem(running: Running) -> None:
    for path, status, code in (
        ("/v1/governance/kz-kgd/nothing", 404, "not_found"),
        ("/v1/governance/KZ", 400, "bad_identifier"),
        ("/v1/governance/kz-kgd/a/b", 400, "bad_identifier"),
    ):
        response = await running.http.get(path)
        assert (response.status_code, response.json()["type"]) == (status, type_of(code)), path


async def test_a_network_without_governance_has_parameters_and_no_authorities_that_govern(running: Running) -> None:
    assert (await running.http.get("/v1/governance")).json()["authorities"] == []
    values = (await running.http.get("/v1/parameters")).json()["parameters"]
    assert all(each["value"] == each["default"] and each["since"] is None for each in values)
