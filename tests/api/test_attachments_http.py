"""Attachments over HTTP: who may send and read what, and no declaration on the log without its envelope."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from api.attachment_kinds import ENVELOPE, TELEMETRY
from api.client import Client, NotFound, TokenSigner, UnexpectedAnswer
from api.envelope import EnvelopePrivateKey, seal_envelope
from api.models import AttachmentResult, EnvelopeKeysDocument
from api.problems import code_of, type_of
from api.proto import gateway_pb2 as wire
from contracts.commitments import Opening
from contracts.envelope_keys import EnvelopeKeys, envelope_keys_key
from contracts.parameters import encode_parameter, parameter_key
from contracts.telemetry import Fix, batch_payload, encode_telemetry
from ledger.algorithms import EDDSA, PrivateKey
from tests.api.conftest import Running
from tests.api.fakes import ORIGIN, signed_statement
from tests.api.people import MRNS, UCR, movement, put_movement

BATCH = encode_telemetry([Fix(1_000, 1, 2, 3), Fix(2_000, 1, 2, None)])
TRUCK, DECLARANT = "kz/truck/t-001", "kz/declarant/astyk"
KZ, CN = EnvelopePrivateKey.generate(), EnvelopePrivateKey.generate()
KEYS = {"kz-kgd": KZ.public, "cn-gacc": CN.public}
OPENINGS = (Opening("value", bytes(16), {"amount": 1, "currency": "USD"}),)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def publish_keys(running: Running) -> None:
    for name, public in KEYS.items():
        record = EnvelopeKeys(name).published(public, 1_000, f"{name}/registrar", bytes(32))
        running.ledger.records[envelope_keys_key(name)] = record.encode()


def sealed(keys: dict[str, bytes] | None = None) -> bytes:
    return seal_envelope(UCR, OPENINGS, keys or KEYS).encode()


async def put(
    running: Running, who: str, data: bytes, media_type: str = TELEMETRY.media_type, name: str = ""
) -> httpx.Response:
    headers = {**running.auth(who), "content-type": media_type}
    return await running.http.put(f"/v1/attachments/{name or sha(data)}", content=data, headers=headers)


async def get(running: Running, who: str, data: bytes, statement: str = "") -> httpx.Response:
    query = {"statement": statement} if statement else {}
    return await running.http.get(f"/v1/attachments/{sha(data)}", params=query, headers=running.auth(who))


def code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, code_of(response.json()["type"])


async def test_a_batch_is_kept_once_and_given_back_as_it_came(running: Running) -> None:
    first, second = await put(running, TRUCK, BATCH), await put(running, TRUCK, BATCH)
    assert (first.status_code, second.status_code) == (201, 200)
    assert AttachmentResult.model_validate(first.json()).new
    assert not AttachmentResult.model_validate(second.json()).new
    back = await get(running, TRUCK, BATCH)
    assert (back.status_code, back.headers["content-type"], back.content) == (200, TELEMETRY.media_type, BATCH)


async def test_who_may_see_the_statement_may_read_its_batch_and_nobody_else(running: Running) -> None:
    await put(running, TRUCK, BATCH)
    put_movement(running.ledger, movement(MRNS[0]))
    statement = signed_statement(running.people[TRUCK], sub=MRNS[0], payload={"batch": batch_payload(BATCH)})
    unrelated = signed_statement(running.people[TRUCK], sub=MRNS[0], payload={"fix": {}})
    for each in (statement, unrelated):
        running.ledger.append(each.raw)
    for who in ("kz-kgd/officer", "cn-gacc/system", "kz/auditor"):
        assert (await get(running, who, BATCH)).status_code == 200
    carrier = "kz/carrier/sary"
    assert (await get(running, carrier, BATCH, statement.id_hex)).status_code == 200
    assert code(await get(running, carrier, BATCH)) == (404, "not_found")
    assert code(await get(running, carrier, BATCH, unrelated.id_hex)) == (404, "not_found")
    assert code(await get(running, "kz/declarant/other", BATCH, statement.id_hex)) == (404, "not_found")
    assert code(await get(running, carrier, b"other", statement.id_hex)) == (404, "not_found")


async def test_an_envelope_is_for_customs_and_for_whoever_sent_it(running: Running) -> None:
    publish_keys(running)
    envelope = sealed()
    assert (await put(running, DECLARANT, envelope, ENVELOPE.media_type)).status_code == 201
    payload = {"content": {"envelope_sha256": hashlib.sha256(envelope).digest()}}
    statement = signed_statement(running.people[DECLARANT], kind="declaration.lodge", sub=UCR, payload=payload)
    running.ledger.append(statement.raw)
    for who in (DECLARANT, "kz-kgd/officer", "cn-gacc/system"):
        assert (await get(running, who, envelope)).content == envelope
    for who in ("kz/carrier/sary", TRUCK):
        assert code(await get(running, who, envelope, statement.id_hex)) == (404, "not_found")


REFUSED: list[tuple[str, str, bytes, str, str, tuple[int, str]]] = [
    ("no form", TRUCK, b"\xff", TELEMETRY.media_type, "", (400, "bad_attachment")),
    ("another hash", TRUCK, BATCH, TELEMETRY.media_type, "0" * 64, (422, "attachment_differs")),
    ("no hash", TRUCK, BATCH, TELEMETRY.media_type, "x", (400, "bad_identifier")),
    ("an unknown type", TRUCK, BATCH, "text/plain", "", (415, "unsupported_media_type")),
    ("a carrier", "kz/carrier/sary", BATCH, TELEMETRY.media_type, "", (403, "not_yours_to_send")),
    ("a truck's envelope", TRUCK, BATCH, ENVELOPE.media_type, "", (403, "not_yours_to_send")),
    ("nothing", TRUCK, b"", TELEMETRY.media_type, "", (400, "empty_body")),
    ("too much", TRUCK, bytes(TELEMETRY.max_bytes + 1), TELEMETRY.media_type, "", (413, "too_large")),
]


async def test_what_is_refused_leaves_nothing(running: Running) -> None:
    store = running.gateway.attaching.store
    for what, who, data, media_type, name, expected in REFUSED:
        assert code(await put(running, who, data, media_type, name)) == expected, what
        assert (len(store), store.used_bytes) == (0, 0), what


async def test_nobody_sends_or_reads_without_a_token(running: Running) -> None:
    headers = {"content-type": TELEMETRY.media_type}
    path = f"/v1/attachments/{sha(BATCH)}"
    for response in (
        await running.http.put(path, content=BATCH, headers=headers),
        await running.http.get(path),
        await running.http.delete(path),
    ):
        assert code(response) == (401, "token_missing")


async def test_a_participant_that_has_used_its_room_is_told_so(running: Running) -> None:
    large = encode_telemetry([Fix(at_ms, 1_000_000, 1_000_000, 0) for at_ms in range(1, 13_000)])
    assert (await put(running, TRUCK, large)).status_code == 201
    other = encode_telemetry([Fix(at_ms, 1_000_000, 1_000_000, 1) for at_ms in range(1, 13_000)])
    assert code(await put(running, TRUCK, other)) == (507, "attachments_full")
    assert (await put(running, "kz/truck/t-002", other)).status_code == 201


async def test_bodies_that_come_slowly_hold_few_places_and_give_them_back(running: Running) -> None:
    more = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield BATCH[:3]
        await more.wait()
        yield BATCH[3:]

    async def send_slowly() -> httpx.Response:
        headers = {**running.auth(TRUCK), "content-type": TELEMETRY.media_type}
        return await running.http.put(f"/v1/attachments/{sha(BATCH)}", content=slowly(), headers=headers)

    slow = [asyncio.create_task(send_slowly()) for _ in range(2)]
    async with asyncio.timeout(10):
        while running.gateway.attaching.receiving < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    refused = await put(running, TRUCK, BATCH)
    assert code(refused) == (429, "overloaded")
    assert refused.headers["retry-after"] == "1"
    assert (await put(running, "kz/truck/t-002", BATCH)).status_code in (200, 201), "others are served"
    more.set()
    assert {(await task).status_code for task in slow} <= {200, 201}
    assert (await put(running, TRUCK, BATCH)).status_code == 200


async def test_a_declaration_is_taken_only_once_its_envelope_is_here(running: Running) -> None:
    publish_keys(running)
    envelope = sealed()
    payload = {"content": {"envelope_sha256": hashlib.sha256(envelope).digest()}}
    statement = signed_statement(running.people[DECLARANT], kind="declaration.lodge", sub=UCR, payload=payload)

    async def submit() -> httpx.Response:
        headers = {"content-type": 'application/cose; cose-type="cose-sign1"'}
        return await running.http.post("/v1/statements", content=statement.raw, headers=headers)

    refused = await submit()
    assert code(refused) == (409, "envelope_missing")
    assert refused.json()["id"] == statement.id_hex
    assert running.ledger.submissions == []
    await put(running, DECLARANT, envelope, ENVELOPE.media_type)
    accepted = await submit()
    assert (accepted.status_code, accepted.json()["duplicate"]) == (200, False)
    # Once the envelope is deleted, the same statement is answered as ever, and stays provable.
    path = f"/v1/attachments/{sha(envelope)}"
    assert (await running.http.delete(path, headers=running.auth("kz-kgd/officer"))).status_code == 200
    again = await submit()
    assert (again.status_code, again.json()["duplicate"]) == (200, True)


async def test_an_envelope_about_something_else_does_not_stand_for_the_statement_s(running: Running) -> None:
    publish_keys(running)
    envelope = seal_envelope("24KZKGDASTYK000000001", OPENINGS, KEYS).encode()
    await put(running, DECLARANT, envelope, ENVELOPE.media_type)
    payload = {"content": {"envelope_sha256": hashlib.sha256(envelope).digest()}}
    statement = signed_statement(running.people[DECLARANT], kind="declaration.lodge", sub=UCR, payload=payload)
    headers = {"content-type": 'application/cose; cose-type="cose-sign1"'}
    refused = await running.http.post("/v1/statements", content=statement.raw, headers=headers)
    assert code(refused) == (409, "envelope_of_other_subject")
    assert UCR in refused.json()["detail"]
    assert running.ledger.submissions == []


async def test_a_batch_does_not_pass_for_an_envelope(running: Running) -> None:
    assert (await put(running, TRUCK, BATCH)).status_code == 201
    payload = {"content": {"envelope_sha256": hashlib.sha256(BATCH).digest()}}
    statement = signed_statement(running.people[DECLARANT], kind="declaration.lodge", sub=UCR, payload=payload)
    headers = {"content-type": 'application/cose; cose-type="cose-sign1"'}
    refused = await running.http.post("/v1/statements", content=statement.raw, headers=headers)
    assert code(refused) == (409, "envelope_missing")
    assert running.ledger.submissions == []


async def test_a_sequence_and_a_stream_say_it_of_the_one_statement_and_take_the_others(running: Running) -> None:
    import grpc.aio

    from api.proto.gateway_pb2_grpc import GatewayStub

    payload = {"content": {"envelope_sha256": bytes(32)}}
    needy = signed_statement(running.people[DECLARANT], kind="declaration.lodge", sub=UCR, payload=payload)
    plain = signed_statement(running.people[TRUCK])
    headers = {"content-type": "application/cbor-seq"}
    response = await running.http.post("/v1/statements", content=needy.raw + plain.raw, headers=headers)
    refused, accepted = response.json()["results"]
    assert (refused["state"], refused["problem"]["type"]) == ("refused", type_of("envelope_missing"))
    assert accepted["state"] in ("committed", "final")
    async with grpc.aio.insecure_channel(running.grpc_target) as channel:
        call = GatewayStub(channel).Submit(iter([wire.SubmitRequest(statements=[needy.raw, plain.raw])]))
        problems = {status.id: status.problem async for reply in call for status in reply.statuses}
    assert problems[needy.id] == "envelope_missing"
    assert problems[plain.id] == ""


async def test_an_envelope_must_be_sealed_to_a_key_of_each_authority(running: Running) -> None:
    publish_keys(running)
    only_home = sealed({"kz-kgd": KZ.public})
    assert code(await put(running, DECLARANT, only_home, ENVELOPE.media_type)) == (422, "envelope_not_sealed_to_all")
    stranger = sealed({"kz-kgd": KZ.public, "cn-gacc": EnvelopePrivateKey.generate().public})
    assert code(await put(running, DECLARANT, stranger, ENVELOPE.media_type)) == (422, "envelope_not_sealed_to_all")


@pytest.mark.parametrize(("ago_s", "taken"), [(3_599, True), (3_601, False)])
async def test_a_key_of_before_is_sealed_to_for_as_long_as_a_statement_may_be_on_its_way(
    running: Running, ago_s: int, taken: bool
) -> None:
    """Governed: the parameter says how old a statement may be when it is taken."""
    running.ledger.records[parameter_key("iat_skew_hard_s")] = encode_parameter(3_600)
    old = EnvelopePrivateKey.generate()
    replaced_ms = int((time.time() - ago_s) * 1000)
    publish_keys(running)
    record = EnvelopeKeys("cn-gacc").published(old.public, 1_000, "cn-gacc/registrar", bytes(32))
    record = record.published(CN.public, replaced_ms, "cn-gacc/registrar", bytes(32))
    running.ledger.records[envelope_keys_key("cn-gacc")] = record.encode()
    response = await put(running, DECLARANT, sealed({"kz-kgd": KZ.public, "cn-gacc": old.public}), ENVELOPE.media_type)
    if taken:
        assert response.status_code == 201
    else:
        assert code(response) == (422, "envelope_not_sealed_to_all")
        assert "cn-gacc: is sealed to a key of before" in response.json()["detail"]
        assert CN.kid.hex() in response.json()["detail"]


async def test_the_keys_are_shown_to_all_with_the_statement_that_published_each(running: Running) -> None:
    empty = EnvelopeKeysDocument.model_validate((await running.http.get("/v1/envelope-keys")).json())
    assert {(a.authority, len(a.keys)) for a in empty.authorities} == {("cn-gacc", 0), ("kz-kgd", 0)}
    publish_keys(running)
    shown = EnvelopeKeysDocument.model_validate((await running.http.get("/v1/envelope-keys")).json())
    assert {a.authority: a.keys[-1].public for a in shown.authorities} == {n: k.hex() for n, k in KEYS.items()}


async def test_who_published_a_key_may_be_read_and_proved_by_any_participant(running: Running) -> None:
    payload = {"authority": "cn-gacc", "key": CN.public}
    registrar = PrivateKey.generate(EDDSA)
    statement = signed_statement(
        registrar,
        kind="registry.publish_envelope_key",
        iss="cn-gacc/registrar",
        sub="cn-gacc/registrar",
        payload=payload,
    )
    running.ledger.append(statement.raw)
    response = await running.http.get(f"/v1/statements/{statement.id_hex}", headers=running.auth(DECLARANT))
    assert response.status_code == 200


async def test_only_its_own_authority_deletes(running: Running) -> None:
    await put(running, TRUCK, BATCH)
    path = f"/v1/attachments/{sha(BATCH)}"
    for who in ("cn-gacc/system", TRUCK, "kz/auditor"):
        assert code(await running.http.delete(path, headers=running.auth(who))) == (404, "not_found")
    officer = running.auth("kz-kgd/officer")
    assert (await running.http.delete(path, headers=officer)).status_code == 200
    assert code(await running.http.delete(path, headers=officer)) == (404, "not_found")
    assert code(await get(running, TRUCK, BATCH)) == (404, "not_found")


async def test_metrics_count_what_is_kept_and_what_was_damaged(running: Running) -> None:
    await put(running, TRUCK, BATCH)
    text = (await running.http.get(running.metrics_url)).text
    assert 'comity_gateway_attachments{kind="telemetry"} 1.0' in text
    assert f'comity_gateway_attachment_bytes{{kind="telemetry"}} {float(len(BATCH))}' in text
    assert "comity_gateway_attachments_damaged 0.0" in text


def _client(key: PrivateKey, answers: Iterator[httpx.Response], seen: list[httpx.Request]) -> Client:
    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return next(answers)

    signer = TokenSigner(key, participant=TRUCK, origin=ORIGIN)
    transport = httpx.MockTransport(handle)
    return Client("http://gateway", signer=signer, transport=transport, sleep=lambda seconds: None)


def test_the_client_sends_again_and_believes_no_bytes_of_another_hash() -> None:
    seen: list[httpx.Request] = []
    kept: dict[str, Any] = {"sha256": sha(BATCH), "kind": "telemetry", "size_bytes": 1, "new": True}
    answers = [
        httpx.Response(503),
        httpx.Response(201, json=kept),
        httpx.Response(200, content=BATCH),
        httpx.Response(200, content=BATCH + b"\0"),
        httpx.Response(404),
    ]
    with _client(PrivateKey.generate(EDDSA), iter(answers), seen) as client:
        assert client.put_attachment(TELEMETRY.media_type, BATCH)
        assert client.attachment(sha(BATCH), statement_id="ab" * 32) == BATCH
        with pytest.raises(UnexpectedAnswer, match="expected bytes of hash"):
            client.attachment(sha(BATCH))
        with pytest.raises(NotFound):
            client.attachment(sha(BATCH))
    assert [(request.method, request.url.raw_path.decode()) for request in seen[:3]] == [
        ("PUT", f"/v1/attachments/{sha(BATCH)}"),
        ("PUT", f"/v1/attachments/{sha(BATCH)}"),
        ("GET", f"/v1/attachments/{sha(BATCH)}?statement={'ab' * 32}"),
    ]
    assert all(request.headers["authorization"].startswith("Bearer ") for request in seen)
