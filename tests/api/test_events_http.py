"""The event stream: nothing missing, nothing twice, nothing that is not one's own, whatever is cut where."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

import pytest

from api import core
from api.exchange import Event, EventParser
from api.models import EventData
from api.problems import type_of
from contracts.registry import REVOKED
from tests.api.conftest import Running
from tests.api.fakes import signed_statement
from tests.api.people import enrol, participant, with_key_state

OFFICER = "kz-kgd/officer"


async def listen(
    running: Running, count: int, *, who: str = OFFICER, first: int | None = None, last_id: str | None = None
) -> tuple[list[Event], EventParser]:
    """The first `count` events of one connection."""
    headers = running.auth(who) | ({} if last_id is None else {"last-event-id": last_id})
    parser = EventParser(0)
    events: list[Event] = []
    query = {} if first is None else {"from": first}
    async with asyncio.timeout(5), running.http.stream("GET", "/v1/events", headers=headers, params=query) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        if count == 0:
            return events, parser
        async with aclosing(cast("AsyncGenerator[bytes]", response.aiter_bytes())) as chunks:
            async for chunk in chunks:
                events += parser.feed(chunk)
                if len(events) >= count:
                    break
    return events[:count], parser


async def test_what_was_final_before_and_what_becomes_final_after_come_in_one_order(running: Running) -> None:
    raws = [signed_statement().raw for _ in range(300)]
    for raw in raws[:280]:
        running.ledger.append(raw)

    async def grow() -> None:
        for raw in raws[280:]:
            await asyncio.sleep(0.005)
            running.ledger.append(raw)

    growing = asyncio.create_task(grow())
    events, _ = await listen(running, 300)
    await growing
    assert [event.raw for event in events] == raws
    assert [event.index for event in events] == list(range(1, 600, 2))


async def test_resuming_after_any_event_gives_exactly_the_rest(running: Running) -> None:
    raws = [signed_statement().raw for _ in range(8)]
    for raw in raws:
        running.ledger.append(raw)
    for seen in range(8):
        index = 2 * seen + 1
        rest = raws[seen + 1 :]
        events, _ = await listen(running, len(rest), last_id=str(index))
        assert [event.raw for event in events] == rest
        events, _ = await listen(running, len(raws[seen:]), first=index)
        assert [event.raw for event in events] == raws[seen:]
    # What a reconnecting listener says counts more than where it once began.
    events, _ = await listen(running, 1, first=0, last_id="13")
    assert events[0].index == 15


async def test_what_is_not_final_is_not_shown(running: Running) -> None:
    running.ledger.append(signed_statement().raw)
    running.ledger.finalise_at_once = False
    late = signed_statement().raw
    running.ledger.append(late)
    listening = asyncio.create_task(listen(running, 2))
    await asyncio.sleep(0.2)
    assert not listening.done()
    running.ledger.finalise()
    events, _ = await listening
    assert events[1].raw == late


async def test_one_sees_ones_own_and_still_moves_on(running: Running) -> None:
    mine = [signed_statement(sub="26KZAAAAAAAAAAAAK4") for _ in range(3)]
    for statement in mine:
        running.ledger.append(statement.raw)
        for _ in range(4):
            running.ledger.append(signed_statement(iss="kz/truck/t-002", sub="26KZAAAAAAAAAAAAK4").raw)
    events, parser = await listen(running, 3, who="kz/truck/t-001")
    assert [event.raw for event in events] == [statement.raw for statement in mine]
    assert parser.resume_at > events[-1].index


async def test_a_subject_can_be_asked_for_alone(running: Running) -> None:
    about = [signed_statement(sub="26KZAAAAAAAAAAAAK4") for _ in range(2)]
    for statement in (signed_statement(), about[0], signed_statement(), about[1]):
        running.ledger.append(statement.raw)
    parser = EventParser(0)
    events: list[Event] = []
    query = {"subject": "26KZAAAAAAAAAAAAK4"}
    async with running.http.stream("GET", "/v1/events", headers=running.auth(OFFICER), params=query) as response:
        async for chunk in response.aiter_bytes():
            events += parser.feed(chunk)
            if len(events) == 2:
                break
    assert [event.raw for event in events] == [statement.raw for statement in about]


async def test_a_quiet_stream_says_that_it_lives_and_how_far_it_is(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.gateway.heartbeat_s = 0.05
    running.ledger.append(signed_statement().raw)
    text = ""
    async with running.http.stream("GET", "/v1/events", headers=running.auth(OFFICER)) as response:
        async for chunk in response.aiter_text():
            text += chunk
            if text.count(": final up to 2") > 2:
                break
    assert "id: 2\n\n" in text
    assert text.startswith("retry: ")


async def test_every_event_fits_its_model(running: Running) -> None:
    statement = signed_statement()
    running.ledger.append(statement.raw)
    async with running.http.stream("GET", "/v1/events", headers=running.auth(OFFICER)) as response:
        async for line in response.aiter_lines():
            if line.startswith("data: "):
                data = EventData.model_validate(json.loads(line.removeprefix("data: ")))
                break
    assert (data.index, data.id, data.iss) == (1, statement.id_hex, statement.iss)


async def test_positions_that_are_no_index_are_refused(running: Running) -> None:
    for last_id in ("-1", "x", "1.5", "9" * 20, "٣"):
        headers = running.auth(OFFICER) | {"last-event-id": last_id}
        response = await running.http.get("/v1/events", headers=[(k.encode(), v.encode()) for k, v in headers.items()])
        assert response.json()["type"] == type_of("bad_event_position"), last_id
    for first in ("-1", "x", str(2**64)):
        response = await running.http.get("/v1/events", params={"from": first}, headers=running.auth(OFFICER))
        assert response.json()["type"] == type_of("bad_request")
    assert (await running.http.get("/v1/events")).status_code == 401


async def test_a_stream_ends_once_its_key_no_longer_counts(running: Running) -> None:
    who = "kz/carrier/sary"
    running.gateway.recheck_s = running.gateway.heartbeat_s = 0.05
    running.gateway.pool.finality.advance(1, b"")
    person = participant(who, running.people[who], ("carrier",))
    async with asyncio.timeout(5), running.http.stream("GET", "/v1/events", headers=running.auth(who)) as response:
        enrol(running.ledger, with_key_state(person, REVOKED))
        text = "".join([chunk async for chunk in response.aiter_text()])
    assert "event: problem" in text
    assert type_of("token_untrusted") in text


async def test_streams_beyond_the_limit_are_told_to_come_later(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.gateway.event_streams = running.gateway.config.limits.event_streams_max
    response = await running.http.get("/v1/events", headers=running.auth(OFFICER))
    assert (response.status_code, response.json()["type"]) == (429, type_of("too_many_streams"))
    assert response.headers["retry-after"] == "5"


async def test_a_validator_that_lags_makes_no_gap(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "LAGGING_PAUSE_S", 0.01)
    raws = [signed_statement().raw for _ in range(3)]
    for raw in raws:
        running.ledger.append(raw)
    # The gateway was told of 7 final entries; the one it asks knows of 3, then of all.
    running.ledger.final_size = 3
    running.gateway.pool.finality.advance(7, b"note")
    listening = asyncio.create_task(listen(running, 3))
    await asyncio.sleep(0.2)
    running.ledger.final_size = 7
    events, _ = await listening
    assert [event.raw for event in events] == raws
