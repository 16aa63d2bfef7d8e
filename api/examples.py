"""Examples of what a gateway answers, for its description: one passage of the corridor, told the same everywhere.

Each is valid under its model in `api.models`; a test of the description holds it to that.
"""

from __future__ import annotations

from typing import Any

EXAMPLE_ID = "6f1c2f6b0c9d7a3e5b8d4f20a1c3e5f7092b4d6f8a1c3e5072b4d6f8091a3c5e"
EXAMPLE_UCR = "26KZBKT/000123"
EXAMPLE_MRN = "19GBCKKCQSXV2FGVA8"

EXAMPLE_RESULT: dict[str, Any] = {
    "id": EXAMPLE_ID,
    "state": "final",
    "index": 4711,
    "height": 812,
    "block_time_ms": 1_795_312_800_123,
    "duplicate": False,
}
EXAMPLE_RECORD: dict[str, Any] = {
    "id": EXAMPLE_ID,
    "state": "final",
    "index": 4711,
    "height": 812,
    "block_time_ms": 1_795_312_800_123,
    "cosigned_at_s": {"cn-gacc": 1_795_312_800, "kz-kgd": 1_795_312_800},
    "kind": "escort.reach_border",
    "iss": "kz/truck/t-001",
    "sub": EXAMPLE_MRN,
    "iat_s": 1_795_312_799,
    "statement": "0oRYbqQBJwN4",
}
EXAMPLE_AUTHORITY: dict[str, Any] = {
    "name": "cn-gacc",
    "country": "CN",
    "reachable": False,
    "validators_reachable": [],
    "validators_missing": ["cn-gacc-1", "cn-gacc-2"],
    "last_cosigned_size": 4700,
    "last_cosigned_at_s": 1_795_312_790,
}
EXAMPLE_STATUS: dict[str, Any] = {
    "origin": "comity.example/bakhty-baketu",
    "gateway": "kz-kgd-gateway-1",
    "authority": "kz-kgd",
    "token_audience": "comity.example/bakhty-baketu#kz-kgd",
    "state": "waiting for cn-gacc: nothing becomes committed until it is back",
    "ready": False,
    "size": 4712,
    "height": 812,
    "final_size": 4700,
    "final_lag_ms": 10_250,
    "authorities": [EXAMPLE_AUTHORITY],
    "validators": [
        {
            "name": "kz-kgd-1",
            "reachable": True,
            "ready": False,
            "leader": "",
            "size": 4712,
            "final_size": 4700,
            "halted": "",
        }
    ],
    "protocol_effective": 1,
    "protocols": [{"validator": "cn-gacc-1", "lowest": 1, "highest": 1, "release": "", "refusal": ""}],
    "endings": [{"what": "certificate of kz-kgd-1", "ends_ms": 1_797_000_000_000, "within_days": 30}],
    "evidence": [],
    "releases_needed": [],
    "further": {
        "size": 4650,
        "lag_ms": 42_000,
        "cosigners": [{"name": "w1", "size": 4650, "time_s": 1_795_312_770, "trouble": "cannot be reached: timed out"}],
    },
}
EXAMPLE_MEMBERSHIP: dict[str, Any] = {
    "number": 1,
    "digest": EXAMPLE_ID,
    "text": "comity membership v1\norigin comity.example/bakhty-baketu\nnetwork 6f1c…\nnumber 1\nvoter cn-gacc-1 …\n",
    "committed": True,
    "joint": False,
    "members": [
        {
            "name": "kz-kgd-3",
            "party": "kz-kgd",
            "role": "observer",
            "address": "10.0.0.3:7000",
            "reachable": True,
            "leader": False,
            "size": 4700,
            "behind": 12,
        }
    ],
    "changes": ["comity membership change v1\norigin comity.example/bakhty-baketu\n…\n\n— kz-kgd/registrar …\n"],
}
EXAMPLE_CHANGE_REPLY: dict[str, Any] = {"state": "committed", "number": 1, "detail": ""}
EXAMPLE_EVIDENCE: dict[str, Any] = {
    "evidence": [
        {
            "id": EXAMPLE_ID,
            "claim": "two_roots",
            "words": "cn-gacc-2 signed both of two histories that cannot both be true (sizes 4712 and 4712)",
            "size_bytes": 1912,
            "validators": ["kz-kgd-1"],
        }
    ]
}
EXAMPLE_CHECKPOINT: dict[str, Any] = {
    "origin": "comity.example/bakhty-baketu",
    "size": 4700,
    "root": EXAMPLE_ID,
    "note": "comity.example/bakhty-baketu\n4700\nbxwvawydej5bjU8gocPl9wkrTW+KHD5QcrTW+AkaPF4=\n\n— …\n",
}
EXAMPLE_FURTHER: dict[str, Any] = {
    "size": 4700,
    "note": EXAMPLE_CHECKPOINT["note"],
    "cosigners": [
        {"name": "kz-kgd-1-ml-dsa", "size": 4700, "time_s": 1_795_312_800, "trouble": ""},
        {"name": "w1", "size": 4650, "time_s": 1_795_312_770, "trouble": "cannot be reached: timed out"},
    ],
}
EXAMPLE_EVENT: dict[str, Any] = {
    "index": 4711,
    "id": EXAMPLE_ID,
    "height": 812,
    "block_time_ms": 1_795_312_800_123,
    "kind": "escort.reach_border",
    "iss": "kz/truck/t-001",
    "sub": EXAMPLE_MRN,
    "iat_s": 1_795_312_799,
    "statement": "0oRYbqQBJwN4",
}
