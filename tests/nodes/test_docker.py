"""The compose file describes the network that `comity network init` makes, as its first comment says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from nodes.config import load_gateway_config, load_validator_config
from nodes.network import Network, NetworkGateway, NetworkValidator, init_network

DOCKER = Path(__file__).resolve().parents[2] / "docker"


def all_nodes(network: Network) -> list[NetworkValidator | NetworkGateway]:
    return [*network.validators, *network.gateways]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    return loaded


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    return init_network(
        tmp_path_factory.mktemp("compose") / "network",
        origin="comity.example/bakhty-baketu",
        authorities=[("kz-kgd", "KZ"), ("cn-gacc", "CN")],
        host="{name}",
        base_port=7000,
    )


def test_every_node_is_a_service_and_every_service_a_node(compose: dict[str, Any], network: Network) -> None:
    nodes = {node.name for node in all_nodes(network)}
    assert set(compose["services"]) == nodes


def test_a_service_mounts_the_folder_of_its_own_node_and_no_other(compose: dict[str, Any], network: Network) -> None:
    for node in all_nodes(network):
        folder, *inside = (volume.split(":") for volume in compose["services"][node.name]["volumes"])
        source = f"./{node.config.parent.relative_to(network.directory.parent)}"
        assert folder[:2] == [source, "/network"]
        kept = [[f"{source}/attachments", "/network/attachments"]] if node in network.gateways else []
        assert inside == kept, "a gateway writes where its attachments are, and nowhere else"
        assert compose["services"][node.name]["command"][-1] == f"/network/{node.config.name}"


def test_nodes_call_each_other_by_service_name_and_listen_everywhere(network: Network) -> None:
    for validator in network.validators:
        config = load_validator_config(validator.config)
        assert {peer.address.host for peer in config.peers} == {v.name for v in network.validators} - {validator.name}
        assert config.peer_address.host == "0.0.0.0"
    for gateway in network.gateways:
        assert {endpoint.host for endpoint in load_gateway_config(gateway.config).validators} == {
            v.name for v in network.validators if v.authority == gateway.authority
        }


def test_published_ports_are_those_that_the_gateways_listen_on(compose: dict[str, Any], network: Network) -> None:
    for gateway in network.gateways:
        published = [port.rsplit(":", 1)[1] for port in compose["services"][gateway.name]["ports"]]
        assert published == [str(gateway.http_address.port), str(gateway.grpc_address.port)]
        assert all(port.startswith("127.0.0.1:") for port in compose["services"][gateway.name]["ports"])


def test_a_gateway_is_never_on_the_network_where_both_sides_meet(compose: dict[str, Any], network: Network) -> None:
    for gateway in network.gateways:
        assert compose["services"][gateway.name]["networks"] == [gateway.authority]
    for validator in network.validators:
        assert compose["services"][validator.name]["networks"] == ["border", validator.authority]


def test_every_container_has_a_read_only_root_and_no_capabilities(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert service["read_only"] is True
        assert service["restart"] == "no"
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_the_image_runs_as_a_numbered_user_who_is_not_root() -> None:
    users = [line.split()[1] for line in (DOCKER / "Dockerfile").read_text().splitlines() if line.startswith("USER")]
    assert users == ["10001:10001"]
