"""api/tokens.py and api/access.py: every way to ask for what is not one's own."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import jwt
import pytest

from api.access import REMEMBERED_S, Access
from api.problems import PROBLEMS, Problem, type_of
from api.tokens import TOKEN_MAX_BYTES, parse_token, sign_token, verify_token
from contracts.catalogue import CONTRACTS
from contracts.movement import Reading, terminals_at_work
from contracts.registry import REVOKED, SUSPENDED
from ledger.algorithms import EDDSA, ES256, PrivateKey
from tests.api.conftest import Running, bearer
from tests.api.fakes import ORIGIN, FakeLedger, signed_statement
from tests.api.people import (
    MRNS,
    OTHER_UCR,
    UCR,
    declaration,
    enrol,
    enrol_people,
    movement,
    participant,
    put_declaration,
    put_movement,
    with_key_state,
)

DECLARANT = "kz/declarant/astyk"


class Asking:
    """An `Access` over a fake ledger, with a clock that a test moves."""

    def __init__(self) -> None:
        self.ledger = FakeLedger()
        self.people = enrol_people(self.ledger)
        self.now_s = time.time()
        self.questions = 0
        self.access = Access(ORIGIN, self.records, lambda: self.now_s)

    async def records(self, keys: Any) -> dict[str, bytes]:
        self.questions += 1
        return {key: self.ledger.records[key] for key in keys if key in self.ledger.records}

    async def refused(self, token: str) -> str:
        with pytest.raises(Problem) as caught:
            await self.access.authenticate(f"Bearer {token}")
        assert PROBLEMS[caught.value.code].status == 401
        return caught.value.code


@pytest.fixture
def asking() -> Asking:
    return Asking()


@pytest.mark.parametrize("alg", [EDDSA, ES256])
async def test_a_token_of_an_enrolled_key_opens(asking: Asking, alg: int) -> None:
    key = PrivateKey.generate(alg)
    enrol(asking.ledger, participant("kz/truck/t-9", key, ("truck",)))
    token = sign_token(key, issuer="kz/truck/t-9", origin=ORIGIN, now_s=int(asking.now_s))
    principal = await asking.access.authenticate(f"Bearer {token}")
    assert (principal.id, principal.roles, principal.sees_all) == ("kz/truck/t-9", frozenset({"truck"}), False)


async def test_a_token_for_one_authority_s_gateways_opens_nothing_at_the_other_s(asking: Asking) -> None:
    """What one side's gateway is shown, it could show to the other side's in the participant's name."""
    key, now_s = asking.people[DECLARANT], int(asking.now_s)
    gateways = {
        name: Access(ORIGIN, asking.records, lambda: asking.now_s, authority=name) for name in ("kz-kgd", "cn-gacc")
    }
    for name, gateway in gateways.items():
        token = sign_token(key, issuer=DECLARANT, origin=ORIGIN, now_s=now_s, authority=name)
        assert (await gateway.authenticate(f"Bearer {token}")).id == DECLARANT
        other = next(each for each in gateways.values() if each is not gateway)
        with pytest.raises(Problem) as caught:
            await other.authenticate(f"Bearer {token}")
        assert caught.value.code == "token_wrong_audience"


@pytest.mark.parametrize("aud", [f"{ORIGIN}#", f"{ORIGIN}#kz", f"{ORIGIN}#kz-kgd#", f"{ORIGIN}#KZ-KGD", "#kz-kgd"])
async def test_an_audience_that_is_almost_the_right_one_is_another(asking: Asking, aud: str) -> None:
    gateway = Access(ORIGIN, asking.records, lambda: asking.now_s, authority="kz-kgd")
    with pytest.raises(Problem) as caught:
        await gateway.authenticate(f"Bearer {bearer(asking.people[DECLARANT], DECLARANT, aud=aud)}")
    assert caught.value.code == "token_wrong_audience"


async def test_a_token_of_a_client_of_before_is_taken_and_counted_until_the_operator_refuses_such(
    asking: Asking,
) -> None:
    token = f"Bearer {bearer(asking.people[DECLARANT], DECLARANT)}"
    lenient = Access(ORIGIN, asking.records, lambda: asking.now_s, authority="kz-kgd")
    assert (await lenient.authenticate(token)).id == DECLARANT
    assert lenient.unbound_taken == 1
    bound = sign_token(
        asking.people[DECLARANT], issuer=DECLARANT, origin=ORIGIN, now_s=int(asking.now_s), authority="kz-kgd"
    )
    await lenient.authenticate(f"Bearer {bound}")
    assert lenient.unbound_taken == 1
    strict = Access(ORIGIN, asking.records, lambda: asking.now_s, authority="kz-kgd", unbound_tokens=False)
    with pytest.raises(Problem) as caught:
        await strict.authenticate(token)
    assert caught.value.code == "token_wrong_audience"
    assert "#kz-kgd" in caught.value.detail


async def test_customs_roles_of_either_authority_and_auditors_see_all(asking: Asking) -> None:
    for who, sees_all in (
        ("kz-kgd/officer", True),
        ("cn-gacc/system", True),
        ("kz/auditor", True),
        (DECLARANT, False),
        ("kz/terminal/gate-1", False),
    ):
        principal = await asking.access.authenticate("bearer " + bearer(asking.people[who], who))
        assert principal.sees_all is sees_all


async def test_tokens_that_are_forged_or_out_of_their_time_are_refused_by_name(asking: Asking) -> None:
    key = asking.people[DECLARANT]
    now_s = int(asking.now_s)
    stranger = PrivateKey.generate(EDDSA)
    kid = {"kid": key.public.kid.hex()}
    cases: list[tuple[str, str]] = [
        (bearer(stranger, DECLARANT), "token_untrusted"),
        (bearer(stranger, DECLARANT, headers=kid), "token_untrusted"),
        (bearer(key, "kz/declarant/other"), "token_untrusted"),
        (bearer(key, "kz/nobody"), "token_untrusted"),
        (bearer(key, DECLARANT, aud="comity.example/other"), "token_wrong_audience"),
        (bearer(key, DECLARANT, aud=None), "token_malformed"),
        (bearer(key, DECLARANT, aud=[ORIGIN, "x"]), "token_malformed"),
        (bearer(key, DECLARANT, exp=None), "token_malformed"),
        (bearer(key, DECLARANT, iat=None), "token_malformed"),
        (bearer(key, DECLARANT, iss=None), "token_malformed"),
        (bearer(key, DECLARANT, iat=now_s - 400, exp=now_s - 100), "token_expired"),
        (bearer(key, DECLARANT, iat=now_s + 60, exp=now_s + 120), "token_expired"),
        (bearer(key, DECLARANT, nbf=now_s + 60), "token_expired"),
        (bearer(key, DECLARANT, exp=now_s + 301, iat=now_s), "token_too_long"),
        (bearer(key, DECLARANT, iat=now_s - 10**9), "token_too_long"),
        (bearer(key, DECLARANT, exp=now_s + 60.5), "token_malformed"),
        (bearer(key, DECLARANT, iat=True), "token_malformed"),
        (bearer(key, DECLARANT, headers={"kid": "00"}), "token_malformed"),
        (bearer(key, DECLARANT, headers={"kid": key.public.kid.hex().upper()}), "token_malformed"),
        ("a.b.c", "token_malformed"),
        ("..", "token_malformed"),
        ("é" * 10, "token_malformed"),
        ("A" * (TOKEN_MAX_BYTES + 1), "token_malformed"),
    ]
    for token, code in cases:
        assert await asking.refused(token) == code, token


async def test_the_algorithm_is_the_enrolled_keys_and_never_the_tokens_choice(asking: Asking) -> None:
    key = asking.people[DECLARANT]
    claims = {"iss": DECLARANT, "aud": ORIGIN, "iat": int(asking.now_s), "exp": int(asking.now_s) + 60}
    kid = {"kid": key.public.kid.hex()}

    def part(value: dict[str, Any]) -> bytes:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

    unsigned = part({"alg": "none", "typ": "JWT"} | kid) + b"." + part(claims) + b"."
    assert await asking.refused(unsigned.decode()) == "token_malformed"
    assert await asking.refused(unsigned.decode() + "AA") == "token_untrusted"
    # The public key as the secret of a MAC.
    head = part({"alg": "HS256", "typ": "JWT"} | kid) + b"." + part(claims)
    mac = hmac.new(key.public.material, head, hashlib.sha256).digest()
    forged = head + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")
    assert await asking.refused(forged.decode()) == "token_untrusted"
    other = PrivateKey.generate(ES256)
    crossed = jwt.encode(claims, other.to_pem(), "ES256", kid)
    assert await asking.refused(crossed) == "token_untrusted"


async def test_every_flipped_bit_of_a_good_token_is_refused(asking: Asking) -> None:
    token = bearer(asking.people[DECLARANT], DECLARANT)
    for position in range(0, len(token) - 2, 7):
        flipped = token[:position] + chr(ord(token[position]) ^ 1) + token[position + 1 :]
        assert (await asking.refused(flipped)).startswith("token_")


async def test_headers_that_bear_no_token_are_told_apart(asking: Asking) -> None:
    for header, code in ((None, "token_missing"), ("", "token_missing"), ("Basic eA==", "token_malformed")):
        with pytest.raises(Problem, match=code):
            await asking.access.authenticate(header)
    with pytest.raises(Problem, match="token_malformed"):
        await asking.access.authenticate("Bearer ")


@pytest.mark.parametrize("state", [REVOKED, SUSPENDED])
async def test_a_key_that_is_taken_away_opens_no_more_within_seconds(asking: Asking, state: str) -> None:
    key = asking.people[DECLARANT]
    token = bearer(key, DECLARANT)
    person = participant(DECLARANT, key, ("declarant",))
    principal = await asking.access.authenticate(f"Bearer {token}")
    enrol(asking.ledger, with_key_state(person, state))
    await asking.access.authenticate(f"Bearer {token}")
    asking.now_s += REMEMBERED_S + 0.1
    assert await asking.refused(token) == "token_untrusted"
    with pytest.raises(Problem, match="token_untrusted"):
        await asking.access.still(principal)


async def test_a_key_whose_time_is_over_does_not_open(asking: Asking) -> None:
    key = asking.people[DECLARANT]
    enrol(asking.ledger, participant(DECLARANT, key, ("declarant",), until_ms=int(asking.now_s * 1000) - 1))
    assert await asking.refused(bearer(key, DECLARANT)) == "token_untrusted"


async def test_a_remembered_token_ends_when_it_ends(asking: Asking) -> None:
    now_s = int(asking.now_s)
    token = bearer(asking.people[DECLARANT], DECLARANT, iat=now_s - 60, exp=now_s + 1)
    await asking.access.authenticate(f"Bearer {token}")
    questions = asking.questions
    await asking.access.authenticate(f"Bearer {token}")
    assert asking.questions == questions
    asking.now_s += 12
    assert await asking.refused(token) == "token_expired"


def test_a_token_is_read_without_being_believed() -> None:
    key = PrivateKey.generate(EDDSA)
    text = sign_token(key, issuer=DECLARANT, origin=ORIGIN, now_s=1_000)
    token = parse_token(text)
    assert (token.issuer, token.kid) == (DECLARANT, key.public.kid)
    assert verify_token(token, key.public, audiences=(ORIGIN,), now_s=1_000) == (1_240, ORIGIN)
    with pytest.raises(Problem, match="token_untrusted"):
        verify_token(token, PrivateKey.generate(EDDSA).public, audiences=(ORIGIN,), now_s=1_000)


async def test_who_may_see_what(running: Running) -> None:
    put_declaration(running.ledger, declaration(UCR, DECLARANT, carrier="kz/carrier/sary"))
    put_declaration(running.ledger, declaration(OTHER_UCR, "kz/declarant/other"))
    put_movement(running.ledger, movement(MRNS[0]))
    put_movement(running.ledger, movement(MRNS[1], ucr=OTHER_UCR, truck="kz/truck/t-002"))
    everyone = {"kz-kgd/officer", "cn-gacc/system", "kz/auditor"}
    own = signed_statement(running.people["kz/terminal/gate-1"], iss="kz/terminal/gate-1", sub=MRNS[0])
    running.ledger.append(own.raw)
    registry = signed_statement(kind="registry.rotate", iss="kz-kgd/registrar", sub="kz/truck/t-002")
    running.ledger.append(registry.raw)
    lodged = signed_statement(kind="declaration.lodge", iss=DECLARANT, sub=UCR)
    running.ledger.append(lodged.raw)
    carriers = {"kz/carrier/sary", "cn/carrier/receiver"}
    # Both movements are on their way to the border: their departure side's gates wait for them.
    gates = {"kz/terminal/gate-1", "kz/terminal/gate-2"}
    table: dict[str, set[str]] = {
        f"/v1/declarations/{UCR}": everyone | {DECLARANT, "kz/carrier/sary"},
        f"/v1/declarations/{UCR.replace('/', '%2F')}": everyone | {DECLARANT, "kz/carrier/sary"},
        f"/v1/movements/{MRNS[0]}": everyone | carriers | gates | {DECLARANT, "kz/truck/t-001"},
        f"/v1/movements/{MRNS[1]}": everyone | carriers | gates | {"kz/declarant/other", "kz/truck/t-002"},
        "/v1/participants/kz/truck/t-001": everyone | {"kz/truck/t-001"},
        f"/v1/statements/{own.id_hex}": everyone | carriers | gates | {DECLARANT, "kz/truck/t-001"},
        f"/v1/statements/{own.id_hex}/proof": everyone | carriers | gates | {DECLARANT, "kz/truck/t-001"},
        f"/v1/statements/{registry.id_hex}": everyone | {"kz/truck/t-002"},
        f"/v1/statements/{lodged.id_hex}": everyone | {DECLARANT, "kz/carrier/sary"},
        "/log/tile/entries/000.p/3": everyone,
    }
    nothing = await running.http.get(f"/v1/statements/{'0' * 64}", headers=running.auth(DECLARANT))
    for path, allowed in table.items():
        for who in running.people:
            response = await running.http.get(path, headers=running.auth(who))
            assert response.status_code == (200 if who in allowed else 404), (path, who, response.text)
            if who not in allowed:
                # What is not yours looks like what is not there.
                expected = nothing.json() | {"instance": response.json()["instance"]}
                assert response.json() == expected
        response = await running.http.get(path)
        assert (response.status_code, response.json()["type"]) == (401, type_of("token_missing"))
        assert response.headers["www-authenticate"].startswith("Bearer")
        response = await running.http.get(path, headers={"authorization": "Bearer x.y.z"})
        assert response.status_code == 401


async def test_what_a_terminal_or_seal_took_part_in_is_its_own(asking: Asking) -> None:
    record = replace(movement(MRNS[0], state="discharged"), by="kz/terminal/gate-1")
    put_movement(asking.ledger, record)
    terminal = await asking.access.authenticate(
        "Bearer " + bearer(asking.people["kz/terminal/gate-1"], "kz/terminal/gate-1")
    )
    assert await asking.access.may_see_movement(terminal, MRNS[0])
    assert not await asking.access.may_see_movement(terminal, MRNS[1])
    assert not await asking.access.may_see_statement(terminal, "governance.propose", "kz-kgd/registrar", "x")


# In which state of a movement that neither took part in a terminal of which side sees it: the sides whose terminals the
# movement waits for, or may, and at the border both. Written from the domain's table.
SEEN_BY = {
    "planned": "kz",
    "loaded": "kz",
    "sealed": "",
    "started": "kz",
    "refused": "",
    "at_border": "kz cn",
    "offered": "kz cn",
    "disputed": "",
    "handed_over": "cn",
    "arrived": "",
    "unloaded": "",
    "discrepancy": "",
    "recovery": "",
    "discharged": "",
    "returned": "",
    "held": "",
    "overdue": "",
    "aborted": "",
}
GATES = {"kz": "kz/terminal/gate-2", "cn": "cn/terminal/gate-101"}


async def _asks(asking: Asking, who: str) -> Any:
    return await asking.access.authenticate("Bearer " + bearer(asking.people[who], who))


@pytest.mark.parametrize("state", SEEN_BY)
async def test_a_terminal_sees_the_movements_that_wait_for_its_side_and_no_others(asking: Asking, state: str) -> None:
    put_movement(asking.ledger, movement(MRNS[0], state=state))
    offer = ("escort.offer", "kz/terminal/gate-1", MRNS[0])
    for side, who in GATES.items():
        terminal = await _asks(asking, who)
        sees = side in SEEN_BY[state].split()
        assert await asking.access.may_see_movement(terminal, MRNS[0]) is sees
        assert await asking.access.may_see_record(terminal, "escort", MRNS[0]) is sees
        assert await asking.access.may_see_statement(terminal, *offer) is sees


def test_terminals_see_a_movement_exactly_where_the_table_has_a_row_for_them() -> None:
    """The other way round: from the contract's own rows. A resolved row for a terminal is a state in which it sees."""
    for version in (1, 2):
        rows = CONTRACTS[("escort", version)].machines[0].transitions
        for state in CONTRACTS[("escort", version)].machines[0].states:
            record = movement(MRNS[0], state=state)
            if SEEN_BY[state] == "cn":
                record = replace(record, custody=replace(record.custody, authority="cn-gacc"))
            sides = set()
            for authority in ("kz-kgd", "cn-gacc"):
                issuer: Any = SimpleNamespace(authority=authority, id="x", roles=("terminal",))
                context: Any = SimpleNamespace(record=record, issuer=issuer)
                at_work = [w for (s, _), row in rows.items() if s == state for w in row.who if w.role == "terminal"]
                if any(who.side(context) for who in at_work):
                    sides.add(authority)
            assert terminals_at_work(record) == sides, (version, state)


async def test_what_a_terminal_of_the_other_side_still_does_not_see(asking: Asking) -> None:
    """It is offered a movement. It sees that, and nothing of what is in it or of anything else."""
    put_declaration(asking.ledger, declaration(UCR, DECLARANT))
    put_movement(asking.ledger, movement(MRNS[0], state="offered"))
    put_movement(asking.ledger, movement(MRNS[1], ucr=OTHER_UCR, state="started"))
    gate = await _asks(asking, GATES["cn"])
    access = asking.access
    assert not gate.sees_all
    assert await access.may_see_movement(gate, MRNS[0])
    assert not await access.may_see_movement(gate, MRNS[1])  # not at the border yet
    assert not await access.may_see_declaration(gate, UCR)
    assert not await access.may_see_record(gate, "declaration", UCR)
    assert not await access.may_see_statement(gate, "declaration.lodge", DECLARANT, UCR)
    assert not await access.may_see_statement(gate, "registry.enrol", "kz-kgd/registrar", "kz/truck/t-001")
    assert not await access.may_see_record(gate, "registry", "kz/terminal/gate-1")
    assert not await access.may_see_statement(gate, "governance.propose", "kz-kgd/registrar", "kz-kgd/2026-1")


async def test_only_the_role_of_a_terminal_opens_an_offer_and_only_while_it_stands(asking: Asking) -> None:
    put_movement(asking.ledger, movement(MRNS[0], state="offered"))
    for who in ("kz/truck/t-002", "kz/declarant/other"):
        assert not await asking.access.may_see_movement(await _asks(asking, who), MRNS[0])
    gate = await _asks(asking, GATES["cn"])
    assert await asking.access.may_see_movement(gate, MRNS[0])
    put_movement(asking.ledger, movement(MRNS[0], state="returned"))  # both sides decided so
    asking.now_s += REMEMBERED_S + 0.1
    assert not await asking.access.may_see_movement(gate, MRNS[0])
    # Whoever took it over keeps it for its own.
    read = Reading((), 1, GATES["cn"], 1, bytes(32))
    put_movement(asking.ledger, replace(movement(MRNS[0], state="discharged"), acceptance=read))
    asking.now_s += REMEMBERED_S + 0.1
    assert await asking.access.may_see_movement(gate, MRNS[0])


async def test_a_gate_lists_what_is_offered_to_its_side_and_reads_the_offer(running: Running) -> None:
    put_declaration(running.ledger, declaration(UCR, DECLARANT))
    put_movement(running.ledger, movement(MRNS[0], state="offered"))
    put_movement(running.ledger, movement(MRNS[1], truck="kz/truck/t-002"))
    gate = running.auth(GATES["cn"])
    listed = (await running.http.get("/v1/movements?state=offered", headers=gate)).json()["movements"]
    assert [each["mrn"] for each in listed] == [MRNS[0]]
    assert [each["mrn"] for each in (await running.http.get("/v1/movements", headers=gate)).json()["movements"]] == [
        MRNS[0]
    ]
    offered = signed_statement(running.people["kz/terminal/gate-1"], iss="kz/terminal/gate-1", sub=MRNS[0])
    running.ledger.append(offered.raw)
    assert (await running.http.get(f"/v1/statements/{offered.id_hex}", headers=gate)).status_code == 200
    assert (await running.http.get(f"/v1/declarations/{UCR}", headers=gate)).status_code == 404
    assert (await running.http.get(f"/v1/movements/{MRNS[1]}", headers=gate)).status_code == 404
