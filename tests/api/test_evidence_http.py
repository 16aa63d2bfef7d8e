"""Evidence over HTTP: whose it is, who sees it, and that the bytes are those that a validator made."""

from __future__ import annotations

import pytest

from api.models import EvidenceList, NetworkStatus
from ledger.evidence import MEDIA_TYPE, Claim
from ledger.evidence_check import check_evidence
from tests.api.conftest import Running
from tests.api.fakes import EVIDENCE_PAGE
from tests.ledger.evidence import BUNDLES, WORLD

BUNDLE = BUNDLES[Claim.TWO_ROOTS]


@pytest.fixture
def seen(running: Running) -> Running:
    assert running.ledger.evidence is not None
    running.ledger.evidence[BUNDLE.id] = BUNDLE.encode()
    return running


@pytest.mark.parametrize("who", ["kz-kgd/officer", "cn-gacc/system", "kz/auditor"])
async def test_customs_of_both_authorities_and_auditors_are_shown_evidence(seen: Running, who: str) -> None:
    response = await seen.http.get("/v1/evidence", headers=seen.auth(who))
    assert response.status_code == 200
    (row,) = EvidenceList.model_validate(response.json()).evidence
    assert (row.id, row.claim, row.size_bytes) == (BUNDLE.id, "two_roots", len(BUNDLE.encode()))
    # Each of its validators was asked: one may know of a lie that another was not told.
    assert len(row.validators) == 2
    raw = await seen.http.get(f"/v1/evidence/{BUNDLE.id}", headers=seen.auth(who))
    assert raw.headers["content-type"] == MEDIA_TYPE
    assert check_evidence([WORLD.policy()], raw.content).holds


@pytest.mark.parametrize("who", ["kz/declarant/astyk", "kz/truck/t-001", "cn/carrier/receiver"])
async def test_others_are_told_that_there_is_nothing(seen: Running, who: str) -> None:
    for path in ("/v1/evidence", f"/v1/evidence/{BUNDLE.id}"):
        assert (await seen.http.get(path, headers=seen.auth(who))).status_code == 404
        assert (await seen.http.get(path)).status_code == 401


async def test_what_is_not_there_and_what_is_no_id_are_no_answers(seen: Running) -> None:
    officer = seen.auth("kz-kgd/officer")
    assert (await seen.http.get(f"/v1/evidence/{'0' * 64}", headers=officer)).status_code == 404
    for bad in ("x", BUNDLE.id.upper(), "..%2f..%2fetc"):
        assert (await seen.http.get(f"/v1/evidence/{bad}", headers=officer)).status_code in (404, 422, 400)


async def test_validators_of_an_older_release_have_none_and_that_is_an_answer(running: Running) -> None:
    running.ledger.evidence = None
    response = await running.http.get("/v1/evidence", headers=running.auth("kz-kgd/officer"))
    assert response.json() == {"evidence": []}


async def test_without_a_validator_nobody_says_that_there_is_none(seen: Running) -> None:
    officer = seen.auth("kz-kgd/officer")
    assert (await seen.http.get("/v1/evidence", headers=officer)).status_code == 200
    for validator in seen.validators:
        await validator.stop()
    response = await seen.http.get("/v1/evidence", headers=officer)
    assert response.status_code == 503


async def test_the_status_of_the_network_has_a_place_for_it(running: Running) -> None:
    assert NetworkStatus.model_validate((await running.http.get("/v1/status")).json()).evidence == []


@pytest.mark.parametrize("pages", [True, False], ids=["this release", "one that begins anew each time"])
async def test_more_bundles_than_fit_a_message_are_all_listed(running: Running, pages: bool) -> None:
    ids = [f"{number:064x}" for number in range(3 * EVIDENCE_PAGE + 1)]
    running.ledger.evidence = dict.fromkeys(ids, BUNDLE.encode())
    running.ledger.pages_evidence = pages
    officer = running.auth("kz-kgd/officer")
    rows = EvidenceList.model_validate((await running.http.get("/v1/evidence", headers=officer)).json()).evidence
    assert [row.id for row in rows] == (ids if pages else ids[:EVIDENCE_PAGE])
    assert (await running.http.get(f"/v1/evidence/{ids[-1]}", headers=officer)).status_code == (200 if pages else 404)
