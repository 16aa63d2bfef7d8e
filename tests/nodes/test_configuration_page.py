"""The page of keys: every key that the loaders take is there, with the default and the limits that the code has."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from api.config import AttachmentLimits, RequestLimits
from nodes import config as reading
from nodes.config import ConfigError, FurtherEntry, Tuning, load_gateway_config, load_validator_config
from nodes.network import init_network

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
VALIDATOR, GATEWAY = (re.split(r"(?m)^## ", part)[0] for part in re.split(r"(?m)^## `\w+\.toml`$", PAGE)[1:])
WHOLE = {
    "validator.toml": """
[further]
policy = "further.policy"
interval_s = 5
[tuning]
tick_ms = 50
""",
    "gateway.toml": """
[public_tls]
certificate = "public.pem"
certificate_key = "public.key"
[limits]
page_items = 3
[reference]
unlisted = "report"
""",
}


def rows(part: str) -> dict[str, list[str]]:
    """Key -> the other columns, of all tables in a part; those of a section as `section.key`."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in part.splitlines():
        heading = re.fullmatch(r"### `\[(\w+)\]`", line)
        section = f"{heading[1]}." if heading else section
        row = re.fullmatch(r"\| `([a-z_0-9.]+)` \| (.*) \|", line)
        if row:
            assert section + row[1] not in found
            found[section + row[1]] = row[2].split(" | ")
    return found


def made(tmp_path: Path, name: str) -> tuple[Path, Callable[[Path], object]]:
    """A file as `comity network init` writes it, and what reads it."""
    network = init_network(
        tmp_path / "net", origin="comity.example/test", authorities=[("kz-kgd", "KZ"), ("cn-gacc", "CN")]
    )
    if name == "validator.toml":
        return network.validators[0].config, load_validator_config
    return network.gateways[0].config, load_gateway_config


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Every key that a loader looks for, whether it is there or not."""
    keys: set[str] = set()
    take, contains = reading._Table._take, reading._Table.__contains__

    def note(table: Any, key: str) -> None:
        where = table._where.partition("[")[0]
        keys.add(f"{where}.{key}" if where else key)

    def noted_take(table: Any, key: str, kind: type, expected: str) -> Any:
        note(table, key)
        return take(table, key, kind, expected)

    def noted_contains(table: Any, key: str) -> bool:
        note(table, key)
        return contains(table, key)

    monkeypatch.setattr(reading._Table, "_take", noted_take)
    monkeypatch.setattr(reading._Table, "__contains__", noted_contains)
    return keys


@pytest.mark.parametrize(
    ("name", "part", "tables"),
    [
        ("validator.toml", VALIDATOR, {"listen", "keys", "authorities", "peers", "further", "tuning"}),
        (
            "gateway.toml",
            GATEWAY,
            {"listen", "keys", "validators", "public_tls", "limits", "attachments", "reference"},
        ),
    ],
)
def test_every_key_that_a_node_looks_for_is_on_the_page_and_no_other(
    tmp_path: Path, asked: set[str], name: str, part: str, tables: set[str]
) -> None:
    path, load = made(tmp_path, name)
    path.write_text(path.read_text() + WHOLE[name])
    load(path)
    assert set(rows(part)) == asked - tables


def test_the_page_has_the_defaults_and_limits_of_tuning() -> None:
    page = {key.removeprefix("tuning."): row for key, row in rows(VALIDATOR).items() if key.startswith("tuning.")}
    for key, (low, high) in reading._TUNING_LIMITS.items():
        default = "half the cores" if key == "signature_threads" else str(getattr(Tuning(), key))
        assert page[key][:3] == [default, str(low), str(high)], key


def test_the_page_has_the_other_defaults() -> None:
    validator, gateway = rows(VALIDATOR), rows(GATEWAY)
    assert validator["further.interval_s"][0] == str(FurtherEntry(Path()).interval_s)
    for each in fields(RequestLimits):
        assert gateway[f"limits.{each.name}"][0] == str(each.default)
    for each in fields(AttachmentLimits)[1:]:
        assert gateway[f"attachments.{each.name}"][0] == str(each.default)


@pytest.mark.parametrize("name", ["validator.toml", "gateway.toml"])
def test_what_the_page_calls_required_is_missed(tmp_path: Path, name: str) -> None:
    """Of the keys outside tables, for which a line can be taken out of a file."""
    path, load = made(tmp_path, name)
    text, tried = path.read_text(), 0
    for key, row in rows(VALIDATOR if name == "validator.toml" else GATEWAY).items():
        line = re.search(rf"(?m)^{key} = .*\n", text)
        if "." in key or line is None:
            continue
        tried += 1
        path.write_text(text.replace(line[0], "", 1))
        if row[0] == "required":
            with pytest.raises(ConfigError, match=f"{key}: is missing"):
                load(path)
        else:
            load(path)
    assert tried >= 3
