"""How the network is, in plain words; whether this process lives."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from api.core import Gateway
from api.examples import EXAMPLE_STATUS
from api.expiry import Ending, nearing
from api.lanes import HEALTH_MISSES_MAX
from api.models import Health, NetworkStatus
from api.routes.common import NO_STORE, GatewayDep, example, json_response
from api.tokens import audience_of

router = APIRouter(tags=["status"])


def network_status(gateway: Gateway) -> dict[str, Any]:
    """What the best validator says, and how each of our own does."""
    pool = gateway.pool
    best = pool.best_status()
    validators = []
    for lane in pool.lanes:
        status = lane.status
        reachable = lane.up and lane.misses < HEALTH_MISSES_MAX
        validators.append(
            {
                "name": lane.name,
                "reachable": reachable,
                "ready": reachable and status is not None and status.ready and not status.halted,
                "leader": status.leader if status else "",
                "size": status.size if status else 0,
                "final_size": status.final_size if status else 0,
                "halted": status.halted if status else "",
            }
        )
    authorities = [
        {
            "name": authority.name,
            "country": authority.country,
            "reachable": authority.reachable,
            "validators_reachable": list(authority.validators_reachable),
            "validators_missing": list(authority.validators_missing),
            "last_cosigned_size": authority.last_cosigned_size,
            "last_cosigned_at_s": authority.last_cosigned_at_s,
        }
        for authority in (best.authorities if best is not None else ())
    ]
    return {
        "origin": gateway.config.origin,
        "gateway": gateway.config.name,
        "authority": gateway.config.authority,
        "token_audience": audience_of(gateway.config.origin, gateway.config.authority),
        "state": best.state if best else f"no validator of {gateway.config.authority} answers this gateway",
        "ready": best is not None and best.ready and not best.halted,
        "size": best.size if best else 0,
        "height": best.height if best else 0,
        "final_size": max(pool.finality.size, best.final_size if best else 0),
        "final_lag_ms": best.final_lag_ms if best else 0,
        "authorities": authorities,
        "validators": validators,
        "protocol_effective": best.protocol_effective if best else 0,
        "protocols": [
            {
                "validator": spoken.validator,
                "lowest": spoken.lowest,
                "highest": spoken.highest,
                "release": spoken.release,
                "refusal": spoken.refusal,
            }
            for spoken in (best.protocols if best is not None else ())
        ],
        "endings": _endings(gateway),
        "evidence": _evidence(gateway),
        "releases_needed": list(best.releases_needed) if best is not None else [],
        "further": _further(gateway),
    }


def _further(gateway: Gateway) -> dict[str, Any] | None:
    """Of the validator that has most; a line that one of them has, the others have been told."""
    said = [lane.status.further for lane in gateway.pool.lanes if lane.status and lane.status.HasField("further")]
    if not said:
        return None
    most = max(said, key=lambda each: (each.size, -each.lag_ms))
    cosigners = [
        {"name": each.name, "size": each.size, "time_s": each.time_s, "trouble": each.trouble}
        for each in most.cosigners
    ]
    return {"size": most.size, "lag_ms": most.lag_ms, "cosigners": cosigners}


def _evidence(gateway: Gateway) -> list[str]:
    """What our validators have evidence of, each thing once."""
    said = (words for lane in gateway.pool.lanes if lane.status for words in lane.status.evidence)
    return list(dict.fromkeys(said))


def _endings(gateway: Gateway) -> list[dict[str, Any]]:
    """What is near its end, of this gateway and of all of its validators."""
    now_ms = time.time_ns() // 1_000_000
    said = {
        Ending(each.what, each.ends_ms) for lane in gateway.pool.lanes if lane.status for each in lane.status.endings
    }
    return [
        {"what": each.what, "ends_ms": each.ends_ms, "within_days": each.within_days(now_ms)}
        for each in nearing({*said, *gateway.endings}, now_ms)
    ]


@router.get(
    "/v1/status",
    operation_id="getStatus",
    summary="How the network is, in plain words",
    response_model=NetworkStatus,
    responses={200: example(EXAMPLE_STATUS)},
)
async def get_status(gateway: GatewayDep) -> Response:
    return json_response(network_status(gateway), 200, NO_STORE)


@router.get(
    "/healthz",
    operation_id="getHealth",
    summary="Whether the process lives",
    response_model=Health,
    responses={200: example({"status": "ok", "detail": "alive"})},
)
async def get_health() -> Response:
    return json_response({"status": "ok", "detail": "alive"}, 200, NO_STORE)


@router.get(
    "/readyz",
    operation_id="getReadiness",
    summary="Whether statements can be made final now",
    response_model=Health,
    responses={
        200: example({"status": "ok", "detail": "ready"}),
        503: {"model": Health, **example({"status": "unavailable", "detail": "waiting for cn-gacc"}, "Not now")},
    },
)
async def get_readiness(gateway: GatewayDep) -> Response:
    status = network_status(gateway)
    if gateway.stopping.is_set():
        return json_response({"status": "unavailable", "detail": "stopping"}, 503, NO_STORE)
    if not status["ready"]:
        return json_response({"status": "unavailable", "detail": status["state"]}, 503, NO_STORE)
    return json_response({"status": "ok", "detail": status["state"]}, 200, NO_STORE)
