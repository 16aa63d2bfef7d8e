"""The description of the interface: whole, with an example of everything, each of which is what its model says."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import pytest

from api.config import GatewayConfig
from api.core import Gateway
from api.http import create_app
from api.models import Health, NetworkStatus
from api.problems import CONTENT_TYPE, OUTCOME_PROBLEMS, PROBLEMS, Problem, code_of, of_malformed, type_of
from api.validators import ValidatorPool
from contracts.outcome import Outcome
from tests.api.conftest import Running
from tests.api.fakes import ORIGIN, signed_statement
from tests.api.people import MRNS, UCR, declaration, movement, put_declaration, put_movement


@pytest.fixture
async def description() -> dict[str, Any]:
    config = GatewayConfig("kz-kgd-gateway-1", "kz-kgd", ORIGIN, ())
    return create_app(Gateway(config, ValidatorPool((), None))).openapi()


def operations(description: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method, path, operation)
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    ]


def validate(value: Any, schema: dict[str, Any], description: dict[str, Any]) -> None:
    """Holds a value against a schema of the description."""
    whole = {"components": description["components"], **schema}
    jsonschema.Draft202012Validator(whole).validate(value)


async def test_every_example_is_what_its_schema_says(description: dict[str, Any]) -> None:
    checked = 0
    for _, path, operation in operations(description):
        for status, response in operation["responses"].items():
            content = response.get("content", {})
            assert content, (path, status)
            for media_type, body in content.items():
                if "json" in media_type:
                    schema = body["schema"]
                else:
                    assert "example" in body, (path, status, media_type)
                    continue
                examples = [example["value"] for example in body.get("examples", {}).values()]
                examples += [body["example"]] if "example" in body else []
                assert examples, (path, status, media_type)
                for example in examples:
                    validate(example, schema, description)
                    checked += 1
    assert checked > 100


async def test_every_operation_is_described_and_those_that_need_a_token_say_so(description: dict[str, Any]) -> None:
    for _, path, operation in operations(description):
        assert operation["operationId"]
        assert operation["summary"]
        assert ("security" in operation) == ("401" in operation["responses"]), path
        for parameter in operation.get("parameters", ()):
            assert parameter.get("description") or parameter["name"] == "limit", (path, parameter["name"])
    assert "HTTPValidationError" not in json.dumps(description)


async def test_every_operation_answers_as_described(running: Running, description: dict[str, Any]) -> None:
    statement = signed_statement()
    running.ledger.append(statement.raw)
    put_declaration(running.ledger, declaration())
    put_movement(running.ledger, movement(MRNS[0]))
    values = {"ucr": UCR, "mrn": MRNS[0], "path": "0/000.p/3"}
    exercised = set()
    for method, path, operation in operations(description):
        identifier = "kz/truck/t-001" if "participants" in path or "governance" in path else statement.id_hex
        url = path
        for name in re.findall(r"{(\w+)}", path):
            url = url.replace("{" + name + "}", values.get(name, identifier))
        if operation["operationId"] == "getEvents":
            url += "?from=x"  # a stream that ends
        content = statement.raw if method == "post" else None
        headers = running.auth("kz-kgd/officer") | {"content-type": "application/cose"}
        response = await running.http.request(method, url, content=content, headers=headers)
        media_type = response.headers["content-type"].partition(";")[0]
        assert str(response.status_code) in operation["responses"], (path, response.text)
        described = operation["responses"][str(response.status_code)]["content"]
        assert media_type in described, (path, media_type)
        if media_type == "application/json":
            validate(response.json(), described[media_type]["schema"], description)
        exercised.add(operation["operationId"])
    assert len(exercised) == len(operations(description)) > 15


async def test_the_description_is_served(running: Running) -> None:
    assert (await running.http.get("/openapi.json")).json()["info"]["title"] == "Comity gateway"


async def test_no_page_is_served_that_would_load_scripts_from_elsewhere(running: Running) -> None:
    for path in ("/docs", "/redoc", "/docs/oauth2-redirect"):
        assert (await running.http.get(path)).status_code == 404, path


async def test_metrics_are_at_their_own_address_alone(running: Running) -> None:
    response = await running.http.get(running.metrics_url)
    assert response.status_code == 200
    assert "comity_gateway_in_flight_bytes 0.0" in response.text
    assert (await running.http.get("/metrics")).status_code == 404
    elsewhere = running.metrics_url.removesuffix("/metrics")
    for path in ("/", "/v1/status", "/v1/checkpoint", "/healthz"):
        assert (await running.http.get(elsewhere + path)).status_code == 404, path
    assert (await running.http.post(running.metrics_url)).status_code == 405


async def test_what_is_not_there_is_a_problem_document_too(running: Running) -> None:
    for method, path, code in (
        ("GET", "/nothing", "not_found"),
        ("DELETE", "/v1/statements", "method_not_allowed"),
        ("GET", "/v1/statements", "method_not_allowed"),
    ):
        response = await running.http.request(method, path)
        assert response.headers["content-type"] == CONTENT_TYPE
        assert response.json()["type"] == type_of(code)


async def test_the_state_of_the_network_is_named_in_plain_words(running: Running) -> None:
    status = NetworkStatus.model_validate((await running.http.get("/v1/status")).json())
    assert (status.ready, status.state) == (True, "ready")
    assert [validator.name for validator in status.validators] == ["kz-kgd-1", "kz-kgd-2"]
    assert (await running.http.get("/readyz")).status_code == 200
    running.ledger.missing = ("cn-gacc",)
    for _ in range(100):
        response = await running.http.get("/readyz")
        if response.status_code == 503:
            break
    assert "waiting for cn-gacc" in Health.model_validate(response.json()).detail
    status = NetworkStatus.model_validate((await running.http.get("/v1/status")).json())
    assert {authority.name: authority.reachable for authority in status.authorities} == {
        "kz-kgd": True,
        "cn-gacc": False,
    }
    metrics = (await running.http.get(running.metrics_url)).text
    assert 'comity_gateway_authority_reachable{authority="cn-gacc"} 0.0' in metrics
    assert 'comity_gateway_requests_total{operation="getReadiness",status="503"}' in metrics


def test_types_are_urns_that_lead_back_to_their_codes() -> None:
    for code in PROBLEMS:
        assert re.fullmatch(r"urn:comity:problem:[a-z0-9-]+", type_of(code))
        assert code_of(type_of(code)) == code


def test_outcomes_that_have_a_type_of_their_own_are_outcomes() -> None:
    facts = {outcome.fact for outcome in Outcome}
    assert set(OUTCOME_PROBLEMS) <= facts
    assert set(OUTCOME_PROBLEMS.values()) <= set(PROBLEMS)


def test_a_code_newer_than_the_table_is_still_a_problem_of_its_kind() -> None:
    assert of_malformed("brand_new", "why").document()["type"] == type_of("malformed_statement")
    assert Problem("overloaded", retry_after_ms=1).headers() == {"Retry-After": "1"}
    assert Problem("overloaded", retry_after_ms=1001).headers() == {"Retry-After": "2"}
    assert Problem("not_found").headers() == {}
