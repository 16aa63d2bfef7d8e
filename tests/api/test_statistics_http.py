"""Dwell times over HTTP: who may ask, which days, and the bytes that two sides compare."""

from __future__ import annotations

import asyncio
from typing import Any

from api.models import DwellTimes
from api.problems import type_of
from api.proto import validator_pb2 as wire
from contracts import dwell
from tests.api.conftest import Running
from tests.api.fakes import ORIGIN, signed_statement

OFFICER = "kz-kgd/officer"
MEASURED = [
    dwell.Measured("KZ/BAKHTY", "departure", "queue", 20_000 * dwell.DAY_MS, took) for took in (5_000, 7_000, 9_000)
]


def measure(running: Running) -> None:
    """What the validators have measured, and a log that is long enough to speak of."""
    running.ledger.append(signed_statement().raw)
    for figure in dwell.figures(MEASURED):
        running.ledger.dwell.append(
            wire.DwellFigure(
                post=figure.post,
                side=figure.side,
                interval=figure.interval,
                day=figure.day or 0,
                count=figure.count,
                p50_ms=figure.p50_ms,
                p95_ms=figure.p95_ms,
                max_ms=figure.max_ms,
            )
        )


async def test_the_answer_is_the_document_that_is_computed_from_the_log(running: Running) -> None:
    measure(running)
    response = await running.http.get("/v1/statistics/dwell", headers=running.auth(OFFICER))
    shown = DwellTimes.model_validate(response.json())
    assert (shown.figures[0].all.p95_ms, shown.figures[0].days[0].day) == (9_000, "2024-10-04")
    assert response.content == dwell.encoded(dwell.document(ORIGIN, 3, 19_994, 20_000, "", dwell.figures(MEASURED)))
    # Another gateway of the other side asks its own validators and says the same.
    again = await running.http.get("/v1/statistics/dwell", params={"size": 3}, headers=running.auth("cn-gacc/system"))
    assert again.content == response.content


async def test_days_post_and_size_are_handed_on(running: Running) -> None:
    measure(running)
    query: dict[str, Any] = {"post": "KZ/BAKHTY@46660000,82750000", "from": "2026-11-01", "to": "2026-11-30", "size": 2}
    response = await running.http.get("/v1/statistics/dwell", params=query, headers=running.auth("kz/auditor"))
    document = response.json()
    assert (document["post"], document["from"], document["to"], document["size"]) == (
        "KZ/BAKHTY",
        "2026-11-01",
        "2026-11-30",
        2,
    )


async def test_how_busy_a_post_is_is_for_authorities_and_auditors(running: Running) -> None:
    for who in ("kz/declarant/astyk", "kz/carrier/sary", "kz/truck/t-001", "kz/terminal/gate-1"):
        response = await running.http.get("/v1/statistics/dwell", headers=running.auth(who))
        assert (response.status_code, response.json()["type"]) == (404, type_of("not_found")), who
    assert (await running.http.get("/v1/statistics/dwell")).status_code == 401


NO_QUESTIONS: list[tuple[Any, ...]] = [
    ({"from": "2026-11-01"}, "bad_request", "from and to go together"),
    ({"from": "2026-11-02", "to": "2026-11-01"}, "bad_request", "days: expected 1 to 92"),
    ({"from": "2026-01-01", "to": "2026-12-31"}, "bad_request", "got 365"),
    ({"from": "1969-12-31", "to": "1970-01-05"}, "bad_request", "from 1970-01-02 on"),
    ({"from": "1.11.2026", "to": "2026-11-01"}, "bad_request", "query.from: input should be a valid date"),
    ({"post": "Bakhty"}, "bad_identifier", "post: place: character 2"),
    ({"size": 0}, "bad_request", "greater than or equal to 1"),
    ({"size": 99}, "bad_request", "size: expected at most the 3 that are final, got 99"),
]


async def test_a_question_that_is_none_says_what_is_wrong(running: Running) -> None:
    measure(running)
    async with asyncio.timeout(5):
        await running.gateway.pool.finality.beyond(2)
    for query, code, detail in NO_QUESTIONS:
        response = await running.http.get("/v1/statistics/dwell", params=query, headers=running.auth(OFFICER))
        assert response.json()["type"] == type_of(code), response.text
        assert detail in response.json()["detail"]


async def test_while_the_index_is_made_the_caller_is_told_to_come_again(running: Running) -> None:
    for validator in running.validators:
        validator.indexed = 1
    response = await running.http.get("/v1/statistics/dwell", headers=running.auth(OFFICER))
    assert (response.status_code, response.json()["type"]) == (503, type_of("index_incomplete"))
