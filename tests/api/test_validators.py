"""api/validators.py against validators that fail in every way they may."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial

import pytest

from api.answers import Accepted, Answer, Refused, Rejected, Unavailable
from api.config import ValidatorEndpoint
from api.lanes import HEALTH_MISSES_MAX
from api.problems import Problem
from api.proto import validator_pb2 as wire
from api.validators import ValidatorPool
from ledger.merkle import leaf_hash
from tests.api.fakes import FakeLedger, FakeValidator, signed_statement


def _always(result: wire.Result, raw: bytes) -> wire.Result:
    return result


async def submit(pool: ValidatorPool, raw: bytes) -> Answer:
    future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    pool.streams.submit(leaf_hash(raw), raw, future.set_result)
    return await future


async def until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - what it waits for has no event
            await asyncio.sleep(0.01)


async def test_a_statement_is_accepted_and_its_finality_follows(pool: ValidatorPool, ledger: FakeLedger) -> None:
    answer = await submit(pool, signed_statement().raw)
    assert isinstance(answer, Accepted)
    assert (answer.index, answer.height, answer.duplicate) == (1, 1, False)
    assert await asyncio.wait_for(pool.finality.beyond(answer.index), 60) == ledger.final_size == 3
    assert pool.finality.checkpoint == ledger.note()


async def test_the_same_statement_again_is_a_duplicate_with_the_same_place(pool: ValidatorPool) -> None:
    raw = signed_statement().raw
    first, again = await submit(pool, raw), await submit(pool, raw)
    assert isinstance(first, Accepted)
    assert again == Accepted(first.index, first.height, first.block_time_ms, True)


async def test_the_same_statement_at_the_same_time_travels_once_and_answers_both(
    pool: ValidatorPool, ledger: FakeLedger
) -> None:
    raw = signed_statement().raw
    answers = await asyncio.gather(*(submit(pool, raw) for _ in range(5)))
    assert len(set(answers)) == 1
    assert ledger.submissions == [raw]


async def test_rejection_refusal_and_overload_are_told_apart(pool: ValidatorPool, ledger: FakeLedger) -> None:
    refused = wire.Refused
    cases: list[tuple[wire.Result, Answer]] = [
        (
            wire.Result(rejected=wire.Rejected(code=307, name="declaration_not_released")),
            Rejected(307, "declaration_not_released"),
        ),
        (
            wire.Result(rejected=wire.Rejected(code=107, name="payload_field_wrong_type", detail="d")),
            Rejected(107, "payload_field_wrong_type", "d"),
        ),
        (
            wire.Result(refused=refused(reason=refused.UNTRUE, code="bad_signature", detail="d")),
            Refused(False, "bad_signature", "d"),
        ),
        (
            wire.Result(refused=refused(reason=refused.MALFORMED, code="wrong_tag", detail="d")),
            Refused(True, "wrong_tag", "d"),
        ),
        (
            wire.Result(refused=refused(reason=refused.OVERLOADED, detail="full", retry_after_ms=700)),
            Unavailable("overloaded", "full", 700),
        ),
        (wire.Result(), Unavailable("validators_unreachable", "a validator gave no outcome", 1000)),
    ]
    for result, expected in cases:
        ledger.decide = partial(_always, result)
        assert await submit(pool, signed_statement().raw) == expected


async def test_many_statements_travel_in_few_messages(pool: ValidatorPool, validators: list[FakeValidator]) -> None:
    await submit(pool, signed_statement().raw)
    raws = [signed_statement().raw for _ in range(600)]
    answers = await asyncio.gather(*(submit(pool, raw) for raw in raws))
    assert all(isinstance(answer, Accepted) and not answer.duplicate for answer in answers)
    assert len(validators[0].batches) <= 6


async def test_statements_go_to_the_leader_when_it_is_ours(
    pool: ValidatorPool, validators: list[FakeValidator]
) -> None:
    validators[0].leader = validators[1].leader = "kz-kgd-2"
    await until(lambda: all(lane.status is not None and lane.status.leader == "kz-kgd-2" for lane in pool.lanes))
    await submit(pool, signed_statement().raw)
    assert (validators[0].ordered, validators[1].ordered) == (0, 1)


async def test_a_stream_that_breaks_in_mid_flight_loses_nothing_and_doubles_nothing(
    pool: ValidatorPool, validators: list[FakeValidator], ledger: FakeLedger
) -> None:
    await submit(pool, signed_statement().raw)
    validators[0].break_after = 1
    raws = [signed_statement().raw for _ in range(300)]
    answers = await asyncio.gather(*(submit(pool, raw) for raw in raws))
    assert all(isinstance(answer, Accepted) for answer in answers)
    assert [raw for raw, _ in ledger.entries if raw in set(raws)] == raws
    assert pool.streams.resent > 0


async def test_it_closes_at_any_moment_of_connecting(validators: list[FakeValidator]) -> None:
    endpoints = [ValidatorEndpoint(each.name, "127.0.0.1", each.port) for each in validators]
    for moment in range(60):
        pool = ValidatorPool(endpoints, None)
        await pool.start()
        for _ in range(moment):
            await asyncio.sleep(0)
        await asyncio.sleep(moment % 6 / 1000)
        closing = asyncio.create_task(pool.close())
        done, _ = await asyncio.wait({closing}, timeout=10)
        assert done, f"still closing, begun {moment} turns after the start"


async def test_a_validator_that_is_killed_is_replaced_and_found_again_when_it_is_back(
    pool: ValidatorPool, validators: list[FakeValidator]
) -> None:
    await submit(pool, signed_statement().raw)
    await validators[0].stop()
    assert isinstance(await submit(pool, signed_statement().raw), Accepted)
    assert validators[1].ordered == 1
    await validators[0].start()
    await until(lambda: pool.lanes[0].up)
    await validators[1].stop()
    assert isinstance(await submit(pool, signed_statement().raw), Accepted)
    assert validators[0].ordered == 2


async def test_a_validator_that_hangs_with_its_connection_open_is_left(
    pool: ValidatorPool, validators: list[FakeValidator], ledger: FakeLedger
) -> None:
    await submit(pool, signed_statement().raw)
    validators[0].silent = validators[0].deaf = True
    answer = await asyncio.wait_for(submit(pool, signed_statement().raw), 60)
    # The silent one had ordered it, so the other knows it already.
    assert isinstance(answer, Accepted)
    assert answer.duplicate
    assert len(ledger.entries) == 5


async def test_a_validator_without_a_leader_passes_the_statement_to_the_other(
    pool: ValidatorPool, validators: list[FakeValidator]
) -> None:
    await submit(pool, signed_statement().raw)
    validators[0].no_leader = True
    assert isinstance(await submit(pool, signed_statement().raw), Accepted)
    assert validators[1].ordered == 1


async def test_no_leader_anywhere_is_said_once_each_was_asked(
    pool: ValidatorPool, validators: list[FakeValidator], ledger: FakeLedger
) -> None:
    for validator in validators:
        validator.no_leader = True
    await until(lambda: all(lane.up for lane in pool.lanes))
    answer = await submit(pool, signed_statement().raw)
    assert answer == Unavailable("not_ordered_in_time", "no leader", 1000)
    assert len(ledger.submissions) == 2


async def test_an_absent_authority_is_named_with_when_to_come_again(pool: ValidatorPool, ledger: FakeLedger) -> None:
    ledger.missing = ("cn-gacc",)
    answer = await submit(pool, signed_statement().raw)
    assert isinstance(answer, Unavailable)
    assert (answer.code, answer.missing_authorities, answer.retry_after_ms) == (
        "authority_unreachable",
        ("cn-gacc",),
        2500,
    )
    assert "waiting for cn-gacc" in answer.detail
    await until(lambda: pool.missing_authorities() == ("cn-gacc",))


async def test_with_every_validator_gone_the_answer_comes_soon(
    pool: ValidatorPool, validators: list[FakeValidator]
) -> None:
    for validator in validators:
        await validator.stop()
    await until(lambda: not any(lane.up for lane in pool.lanes))
    began_s = time.monotonic()
    answer = await submit(pool, signed_statement().raw)
    assert isinstance(answer, Unavailable)
    assert answer.code == "validators_unreachable"
    assert time.monotonic() - began_s < 2
    with pytest.raises(Problem, match="validators_unreachable"):
        await pool.statement(bytes(32))


async def test_a_statement_submitted_before_any_connection_waits_for_one(ledger: FakeLedger) -> None:
    validator = FakeValidator("kz-kgd-1", ledger)
    await validator.start()
    pool = ValidatorPool([ValidatorEndpoint("kz-kgd-1", "127.0.0.1", validator.port)], None)
    await pool.start()
    try:
        assert isinstance(await submit(pool, signed_statement().raw), Accepted)
    finally:
        await pool.close()
        await validator.stop()


async def test_silence_is_answered_within_the_time_out(pool: ValidatorPool, validators: list[FakeValidator]) -> None:
    for validator in validators:
        validator.silent = True
    began_s = time.monotonic()
    answer = await submit(pool, signed_statement().raw)
    assert isinstance(answer, Unavailable)
    assert answer.code == "not_ordered_in_time"
    assert 2.9 < time.monotonic() - began_s < 5
    assert pool.streams.in_flight == 0


async def test_more_in_flight_than_allowed_is_turned_away_at_once(ledger: FakeLedger) -> None:
    validator = FakeValidator("kz-kgd-1", ledger)
    validator.silent = True
    await validator.start()
    pool = ValidatorPool([ValidatorEndpoint("kz-kgd-1", "127.0.0.1", validator.port)], None, in_flight_max=2)
    await pool.start()
    waiting = [asyncio.create_task(submit(pool, signed_statement().raw)) for _ in range(2)]
    await asyncio.sleep(0)
    answer = await submit(pool, signed_statement().raw)
    assert isinstance(answer, Unavailable)
    assert answer.code == "overloaded"
    await pool.close()
    assert {(await task).code for task in waiting} == {"shutting_down"}  # type: ignore[union-attr]
    assert isinstance(await submit(pool, signed_statement().raw), Unavailable)
    await validator.stop()


async def test_more_bytes_in_flight_than_allowed_are_turned_away_until_some_are_answered(ledger: FakeLedger) -> None:
    validator = FakeValidator("kz-kgd-1", ledger)
    await validator.start()
    small = [signed_statement() for _ in range(3)]
    large = signed_statement(payload={"n": bytes(4_000)})
    limit_bytes = len(large.raw) + len(small[0].raw)
    endpoint = ValidatorEndpoint("kz-kgd-1", "127.0.0.1", validator.port)
    pool = ValidatorPool([endpoint], None, in_flight_max_bytes=limit_bytes)
    first = asyncio.create_task(submit(pool, large.raw))
    second = asyncio.create_task(submit(pool, small[0].raw))
    await asyncio.sleep(0)
    assert pool.streams.in_flight_bytes == limit_bytes
    answer = await asyncio.wait_for(submit(pool, small[1].raw), 60)
    assert isinstance(answer, Unavailable)
    assert (answer.code, answer.retry_after_ms) == ("overloaded", 1000)
    again = asyncio.create_task(submit(pool, large.raw))  # on its way already: it costs nothing more
    await pool.start()
    assert isinstance(await first, Accepted)
    assert isinstance(await second, Accepted)
    assert isinstance(await again, Accepted)
    assert pool.streams.in_flight_bytes == 0
    assert isinstance(await submit(pool, small[2].raw), Accepted)
    await pool.close()
    await validator.stop()


async def test_an_answer_that_comes_too_late_takes_nothing_from_the_same_statement_sent_anew(
    ledger: FakeLedger,
) -> None:
    validator = FakeValidator("kz-kgd-1", ledger)
    validator.answer_delay_s = 0.6
    await validator.start()
    endpoint = ValidatorEndpoint("kz-kgd-1", "127.0.0.1", validator.port)
    pool = ValidatorPool([endpoint], None, submit_timeout_s=0.4)
    await pool.start()
    await until(lambda: pool.lanes[0].up)
    raw = signed_statement().raw
    late = await submit(pool, raw)
    assert isinstance(late, Unavailable)
    answers: list[Answer] = []
    for _ in range(2):
        pool.streams.submit(leaf_hash(raw), raw, answers.append)
    await until(lambda: len(answers) == 2)
    assert (pool.streams.in_flight, pool.streams.in_flight_bytes) == (0, 0)
    await pool.close()
    await validator.stop()


async def test_questions_are_answered_by_another_validator_when_the_best_is_gone(
    pool: ValidatorPool, validators: list[FakeValidator]
) -> None:
    raw = signed_statement().raw
    await submit(pool, raw)
    await validators[0].stop()
    info = await pool.statement(leaf_hash(raw))
    assert (info.found, info.statement) == (True, raw)


async def _final(pool: ValidatorPool) -> bytes:
    """A statement that this gateway knows to be final."""
    raw = signed_statement().raw
    answer = await submit(pool, raw)
    assert isinstance(answer, Accepted)
    await asyncio.wait_for(pool.finality.beyond(answer.index), 60)
    return leaf_hash(raw)


@pytest.mark.parametrize("lagging", [0, 1])
async def test_what_is_final_is_not_gone_again_because_a_validator_that_answers_is_behind(
    pool: ValidatorPool, validators: list[FakeValidator], lagging: int
) -> None:
    statement_id = await _final(pool)
    validators[lagging].behind_at = 1
    for _ in range(5):
        assert (await pool.statement(statement_id)).final
        assert (await pool.proof(statement_id)).final
        assert (await pool.records_reply(["registry/kz/truck/t-001"])).size >= pool.finality.size
        assert (await pool.list_records("registry/", "", 10)).size >= pool.finality.size


async def test_what_is_final_is_not_called_less_by_a_validator_that_lacks_the_cosignatures(
    pool: ValidatorPool, validators: list[FakeValidator], ledger: FakeLedger
) -> None:
    statement_id = await _final(pool)
    ledger.final_size = 1  # all have executed it, none has it final
    with pytest.raises(Problem) as caught:
        await pool.statement(statement_id)
    assert caught.value.code == "validators_unreachable"
    ledger.final_size = len(ledger.entries)
    assert (await pool.statement(statement_id)).final


async def test_while_all_that_answer_are_behind_the_answer_is_not_now_and_never_no(
    pool: ValidatorPool, validators: list[FakeValidator]
) -> None:
    statement_id = await _final(pool)
    for validator in validators:
        validator.behind_at = 1
    questions = (pool.statement(statement_id), pool.proof(statement_id), pool.records_reply(["registry/x"]))
    for answer in await asyncio.gather(*questions, return_exceptions=True):
        assert isinstance(answer, Problem)
        assert "behind the 3 entries that are final" in str(answer)


async def test_a_validator_that_catches_up_in_time_answers(
    pool: ValidatorPool, validators: list[FakeValidator]
) -> None:
    statement_id = await _final(pool)
    for validator in validators:
        validator.behind_at = 1
    asking = asyncio.create_task(pool.statement(statement_id))
    await until(lambda: all("GetStatement" in validator.calls for validator in validators))
    validators[1].behind_at = None
    assert (await asking).final


async def test_what_is_nowhere_is_answered_so_by_a_validator_that_has_everything(
    pool: ValidatorPool, validators: list[FakeValidator]
) -> None:
    await _final(pool)
    validators[0].behind_at = 1
    assert not (await pool.statement(bytes(32))).found
    assert not (await pool.proof(bytes(32))).found


async def test_finality_is_followed_through_another_validator_when_one_breaks(
    pool: ValidatorPool, validators: list[FakeValidator], ledger: FakeLedger
) -> None:
    await submit(pool, signed_statement().raw)
    await pool.finality.beyond(2)
    following = next(v for v in validators if v.calls.count("Follow"))
    await following.stop()
    answer = await submit(pool, signed_statement().raw)
    assert isinstance(answer, Accepted)
    assert await asyncio.wait_for(pool.finality.beyond(answer.index), 60) == ledger.final_size


async def test_finality_is_followed_again_when_streams_open_before_the_status_is_answered(
    pool: ValidatorPool, validators: list[FakeValidator], ledger: FakeLedger
) -> None:
    await submit(pool, signed_statement().raw)
    for validator in validators:
        await validator.stop()
    await until(lambda: all(lane.misses >= HEALTH_MISSES_MAX and not lane.up for lane in pool.lanes))
    for validator in validators:
        validator.deaf = True  # as one that is busy with its recovery
        await validator.start()
    await until(lambda: all(lane.up for lane in pool.lanes))
    await asyncio.sleep(0.1)
    for validator in validators:
        validator.deaf = False
    answer = await submit(pool, signed_statement().raw)
    assert isinstance(answer, Accepted)
    assert await asyncio.wait_for(pool.finality.beyond(answer.index), 60) == ledger.final_size
