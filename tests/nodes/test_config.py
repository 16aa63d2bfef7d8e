"""Configuration files: a typing error never becomes a default."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodes.config import Address, ConfigError, Tuning, load_gateway_config, load_validator_config, parse_address
from nodes.network import init_network


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    made = init_network(
        tmp_path / "net",
        origin="comity.example/test",
        authorities=[("kz-kgd", "KZ"), ("cn-gacc", "CN")],
        base_port=25_000,
    )
    return made.validators[0].config, made.gateways[0].config


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ('name = "kz-kgd-1"', "", "name: is missing"),
        ('name = "kz-kgd-1"', "name = 7", "name: expected text"),
        ('data = "data"', 'data = ""', "data: is empty"),
        ('data = "data"', 'data = "data"\nnmae = "x"', "nmae: is not a known key"),
        ("[keys]", "[keys]\nextra = 1", "keys.extra: is not a known key"),
        ("127.0.0.1:25000", "127.0.0.1", "listen.peers: expected host:port"),
        ("127.0.0.1:25000", "127.0.0.1:99999", "listen.peers: expected host:port"),
        ('authority = "kz-kgd"\norigin', 'authority = "xx"\norigin', "not listed under authorities"),
        ('name = "cn-gacc-2"', 'name = "cn-gacc-1"', "stands there twice"),
        ("[listen]", "[listen", "is not TOML"),
        ('data = "data"', 'data = "data"\nlog_level = "loud"', "log_level: expected debug or info or warning or error"),
    ],
)
def test_every_mistake_in_a_validators_file_names_the_key(
    files: tuple[Path, Path], old: str, new: str, match: str
) -> None:
    path = files[0]
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError, match=match):
        load_validator_config(path)


@pytest.mark.parametrize(
    ("tuning", "match"),
    [
        ("tick_ms = 0", "tuning.tick_ms: expected 5 to 1000, got 0"),
        ("tick_ms = true", "tuning.tick_ms: expected a whole number"),
        ("ticks = 5", "tuning.ticks: is not a known key"),
        ("election_timeout_ticks = 5", "validator.toml: tuning.election_timeout_ticks: expected at least three times"),
    ],
)
def test_tuning_has_limits(files: tuple[Path, Path], tuning: str, match: str) -> None:
    path = files[0]
    path.write_text(path.read_text() + f"\n[tuning]\n{tuning}\n")
    with pytest.raises(ConfigError, match=match):
        load_validator_config(path)


def test_tuning_is_read(files: tuple[Path, Path]) -> None:
    path = files[0]
    path.write_text(path.read_text() + "\n[tuning]\nblock_interval_ms = 7\n")
    assert load_validator_config(path).tuning == Tuning(block_interval_ms=7)


def test_paths_are_relative_to_the_file(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    config = load_validator_config(files[0])
    assert config.certificate == files[0].parent / "certificate.pem"
    assert config.certificate.is_file()


def test_a_gateway_needs_a_validator(files: tuple[Path, Path]) -> None:
    path = files[1]
    head, _, _ = path.read_text().partition("[[validators]]")
    path.write_text(head + "validators = []\n")
    with pytest.raises(ConfigError, match="validators"):
        load_gateway_config(path)


def test_a_gateway_serves_metrics_where_its_file_says_and_otherwise_nowhere(files: tuple[Path, Path]) -> None:
    path = files[1]
    assert load_gateway_config(path).metrics_port is None
    path.write_text(path.read_text().replace("[listen]\n", '[listen]\nmetrics = "127.0.0.2:9100"\n'))
    config = load_gateway_config(path)
    assert (config.metrics_host, config.metrics_port) == ("127.0.0.2", 9100)


def test_gateway_limits_are_read(files: tuple[Path, Path]) -> None:
    path = files[1]
    path.write_text(path.read_text() + "\n[limits]\npage_max_items = 3\nin_flight_max_bytes = 100000\n")
    limits = load_gateway_config(path).limits
    assert (limits.page_max_items, limits.in_flight_max_bytes) == (3, 100_000)


def test_reference_tables_are_named_relative_to_the_file(files: tuple[Path, Path]) -> None:
    path = files[1]
    before = path.read_text()
    assert load_gateway_config(path).reference is None
    path.write_text(before + '\n[reference]\nunlocode = ["a.csv", "b.csv"]\nhs = "hs.csv"\nunlisted = "report"\n')
    found = load_gateway_config(path).reference
    assert found is not None
    assert found.unlocode == (path.parent / "a.csv", path.parent / "b.csv")
    assert (found.hs, found.refuse) == (path.parent / "hs.csv", False)
    for wrong, says in (
        ('unlisted = "maybe"', "unlisted: expected refuse or report"),
        ('hs = "hs.csv"', "unlisted: is missing"),
        ('unlisted = "refuse"\nunlocode = "a.csv"', "unlocode: expected a list of texts"),
        ('unlisted = "refuse"\ntaric = "t.csv"', "taric: is not a known key"),
    ):
        path.write_text(f"{before}\n[reference]\n{wrong}\n")
        with pytest.raises(ConfigError, match=says):
            load_gateway_config(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: cannot be read"):
        load_validator_config(tmp_path / "nowhere.toml")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("host:1", Address("host", 1)),
        ("[::1]:7000", Address("::1", 7000)),
        ("1.2.3.4:65535", Address("1.2.3.4", 65535)),
    ],
)
def test_addresses_are_read_and_written_alike(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize("text", ["", "host", "host:", ":80", "host:0", "host:65536", "host:x", "host:٣"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected host:port"):
        parse_address(text)
