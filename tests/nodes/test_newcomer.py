"""The folder of a newcomer: it must find the others where they are, not where one of them listens."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodes.config import Address, ConfigError, load_validator_config
from nodes.network import Network, init_network
from nodes.newcomer import Addresses, make_newcomer


def _container_network(directory: Path) -> Network:
    return init_network(
        directory,
        origin="comity.example/test",
        authorities=(("kz-kgd", "KZ"), ("cn-gacc", "CN")),
        host="{name}",
        base_port=7000,
    )


def _make(network: Network, directory: Path, like_address: Address | None) -> Path:
    made = make_newcomer(
        directory,
        name="kz-kgd-3",
        like=load_validator_config(network.validators[0].config),
        authority_directory=network.authorities[0].directory,
        addresses=Addresses("kz-kgd-3", 7100, 7101, 7102, "0.0.0.0"),
        like_address=like_address,
    )
    return made.config


def test_a_newcomer_calls_everybody_by_the_address_at_which_they_are_reached(tmp_path: Path) -> None:
    network = _container_network(tmp_path / "net")
    config = _make(network, tmp_path / "kz-kgd-3", network.validators[0].peer_address)
    peers = {peer.name: peer.address for peer in load_validator_config(config).peers}
    assert peers == {validator.name: validator.peer_address for validator in network.validators}


def test_a_validator_that_listens_everywhere_does_not_say_where_it_is(tmp_path: Path) -> None:
    network = _container_network(tmp_path / "net")
    with pytest.raises(ConfigError, match=r"listens on 0\.0\.0\.0:7000: expected the address"):
        _make(network, tmp_path / "kz-kgd-3", None)
    assert not (tmp_path / "kz-kgd-3").exists()
