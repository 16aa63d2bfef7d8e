"""`comity network init`: what it makes, and that nobody can join with what is not theirs."""

from __future__ import annotations

import datetime
import stat
from pathlib import Path

import pytest

from ledger.entry import Genesis
from ledger.membership import Register, Role
from ledger.note import NoteSigner
from ledger.policy import parse_policy
from nodes import certificates
from nodes.config import ConfigError, load_gateway_config, load_validator_config
from nodes.identity import load_identity
from nodes.network import Network, init_network, load_network, policy_of_members
from nodes.newcomer import Addresses, make_newcomer

AUTHORITIES = [("kz-kgd", "KZ"), ("cn-gacc", "CN")]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    directory = tmp_path_factory.mktemp("network") / "net"
    return init_network(directory, origin="comity.example/test", authorities=AUTHORITIES, base_port=21_000)


def test_every_validator_can_load_its_identity(network: Network) -> None:
    networks = set()
    for validator in network.validators:
        config = load_validator_config(validator.config)
        assert config.name == validator.name
        networks.add(load_identity(config).network)
    assert len(networks) == 1


def test_every_gateway_knows_the_validators_of_its_authority_only(network: Network) -> None:
    for gateway in network.gateways:
        config = load_gateway_config(gateway.config)
        own = {validator.name for validator in network.validators if validator.authority == gateway.authority}
        assert {endpoint.name for endpoint in config.validators} == own


def test_the_genesis_record_is_the_same_bytes_everywhere(network: Network) -> None:
    copies = {network.genesis.read_bytes()}
    copies |= {(validator.config.parent / "genesis.cbor").read_bytes() for validator in network.validators}
    assert len(copies) == 1
    assert Genesis.decode(copies.pop()).origin == "comity.example/test"


def test_each_policy_needs_both_sides_and_trusts_its_own_log_key(network: Network) -> None:
    genesis = Genesis.decode(network.genesis.read_bytes())
    for authority, entry in zip(network.authorities, genesis.authorities, strict=True):
        policy = parse_policy(authority.policy.read_bytes())
        assert [log.key.public_key for log in policy.logs] == [entry.log_key]
        assert not policy.quorum_met_by(["kz-kgd-1", "kz-kgd-2"])
        assert not policy.quorum_met_by(["cn-gacc-1", "cn-gacc-2"])
        assert policy.quorum_met_by(["kz-kgd-2", "cn-gacc-1"])


def test_private_keys_are_for_their_owner_only(network: Network) -> None:
    keys = list(network.directory.rglob("*.key"))
    assert len(keys) == 2 * 5 + 4 * 3 + 2
    for key in keys:
        assert stat.S_IMODE(key.stat().st_mode) == 0o600, key


def test_no_private_key_of_one_authority_is_in_a_folder_of_the_other(network: Network) -> None:
    secret: dict[bytes, str] = {}
    for authority in network.authorities:
        for key in authority.directory.glob("*.key"):
            secret[key.read_bytes()] = authority.name
    places = [(each.config.parent, each.authority) for each in network.validators]
    places += [(each.config.parent, each.authority) for each in network.gateways]
    for directory, authority_name in places:
        for file in directory.rglob("*.key"):
            assert secret.get(file.read_bytes(), authority_name) == authority_name


def test_an_existing_network_is_never_overwritten(network: Network) -> None:
    before = network.genesis.read_bytes()
    with pytest.raises(ConfigError, match="never overwritten"):
        init_network(network.directory, origin="comity.example/test", authorities=AUTHORITIES)
    assert network.genesis.read_bytes() == before


def test_a_network_can_be_read_again(network: Network) -> None:
    assert load_network(network.directory) == network


def test_ports_do_not_repeat(tmp_path: Path) -> None:
    for base_port in (22_000, None):
        made = init_network(
            tmp_path / str(base_port), origin="comity.example/ports", authorities=AUTHORITIES, base_port=base_port
        )
        ports = [
            address.port
            for validator in made.validators
            for address in (validator.peer_address, validator.service_address, validator.http_address)
        ]
        ports += [address.port for gateway in made.gateways for address in (gateway.http_address, gateway.grpc_address)]
        assert len(set(ports)) == len(ports) == 16


def test_nodes_can_be_called_by_their_own_names(tmp_path: Path) -> None:
    made = init_network(
        tmp_path / "n", origin="comity.example/names", authorities=AUTHORITIES, host="{name}", base_port=7000
    )
    config = load_validator_config(made.validators[0].config)
    assert config.peer_address.host == "0.0.0.0"
    assert {peer.address.host for peer in config.peers} == {"kz-kgd-2", "cn-gacc-1", "cn-gacc-2"}


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"authorities": [("kz-kgd", "KZ")]}, "at least two"),
        ({"authorities": [("kz-kgd", "KZ"), ("kz-kgd", "CN")]}, "twice"),
        ({"authorities": [("kz-kgd", "KZ"), ("cn-gacc", "KZ")]}, "twice"),
        ({"authorities": [("kz/kgd", "KZ"), ("cn-gacc", "CN")]}, "lower-case"),
        ({"authorities": [("kz-kgd", "kz"), ("cn-gacc", "CN")]}, "capital"),
        ({"origin": "has space"}, "origin"),
        ({"origin": "plus+sign"}, "origin"),
        ({"validators_per_authority": 0}, "validators_per_authority"),
        ({"base_port": 65_530}, "not enough ports"),
    ],
)
def test_what_makes_no_network_is_refused(tmp_path: Path, changes: dict[str, object], match: str) -> None:
    options = {"origin": "comity.example/bad", "authorities": AUTHORITIES, "base_port": 23_000} | changes
    with pytest.raises(ConfigError, match=match):
        init_network(tmp_path / "net", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "net").exists()


# --- identity: files that are not what the genesis record says -------------------------------------------------------


@pytest.fixture
def fresh(tmp_path: Path) -> Network:
    return init_network(tmp_path / "net", origin="comity.example/test", authorities=AUTHORITIES, base_port=24_000)


def copy(source: Path, target: Path) -> None:
    target.write_bytes(source.read_bytes())


def test_another_validators_cosigner_key_is_refused(fresh: Network) -> None:
    one, other = fresh.validators[0].config.parent, fresh.validators[1].config.parent
    copy(other / "cosigner.key", one / "cosigner.key")
    with pytest.raises(ConfigError, match=r"cosigner\.key"):
        load_identity(load_validator_config(fresh.validators[0].config))


def test_another_authoritys_log_key_is_refused(fresh: Network) -> None:
    copy(fresh.validators[2].config.parent / "log.key", fresh.validators[0].config.parent / "log.key")
    with pytest.raises(ConfigError, match=r"log\.key"):
        load_identity(load_validator_config(fresh.validators[0].config))


def test_a_ca_that_the_genesis_record_does_not_name_is_refused(fresh: Network) -> None:
    directory = fresh.validators[0].config.parent / "ca"
    copy(directory / "kz-kgd.pem", directory / "cn-gacc.pem")
    with pytest.raises(ConfigError, match="is not the CA of cn-gacc"):
        load_identity(load_validator_config(fresh.validators[0].config))


def test_a_policy_that_one_side_alone_satisfies_is_refused(fresh: Network) -> None:
    path = fresh.validators[0].config.parent / "network.policy"
    path.write_text(path.read_text().replace("quorum both", "quorum kz"))
    with pytest.raises(ConfigError, match="met without cn-gacc"):
        load_identity(load_validator_config(fresh.validators[0].config))


def test_a_peer_that_the_genesis_record_does_not_name_is_refused(fresh: Network) -> None:
    path = fresh.validators[0].config
    path.write_text(path.read_text().replace('"cn-gacc-2"', '"cn-gacc-3"'))
    with pytest.raises(ConfigError, match="peers"):
        load_identity(load_validator_config(path))


# --- identity: keys that have taken the place of those of the genesis record -----------------------------------------


def new_ca() -> tuple[bytes, str]:
    """A certificate, and its hash."""
    ca = certificates.create_authority("cn-gacc", "CN", datetime.datetime.now(datetime.UTC))
    return ca.certificate_pem, certificates.certificate_sha256(ca.certificate_pem).hex()


def name_ca(config: Path, digest: str) -> None:
    """Say in the configuration which CA of the other side is in force."""
    before = 'ca_certificate = "ca/cn-gacc.pem"\n'
    config.write_text(config.read_text().replace(before, f'{before}ca_sha256 = "{digest}"\n'))


def test_a_file_may_hold_a_ca_beside_that_of_the_genesis_record(fresh: Network) -> None:
    config = fresh.validators[0].config
    pem, digest = new_ca()
    with (config.parent / "ca" / "cn-gacc.pem").open("ab") as file:
        file.write(pem)
    assert bytes.fromhex(digest) in load_identity(load_validator_config(config)).cas["cn-gacc"]
    with (config.parent / "ca" / "cn-gacc.pem").open("ab") as file:
        file.write(b"".join(new_ca()[0] for _ in range(certificates.MAX_CAS)))
    with pytest.raises(ConfigError, match="too many certificates"):
        load_identity(load_validator_config(config))


def test_another_ca_alone_is_taken_only_where_the_configuration_names_that_very_one(fresh: Network) -> None:
    config = fresh.validators[0].config
    pem, digest = new_ca()
    (config.parent / "ca" / "cn-gacc.pem").write_bytes(pem)
    with pytest.raises(ConfigError, match="say its SHA-256 as ca_sha256"):
        load_identity(load_validator_config(config))
    before = config.read_text()
    name_ca(config, new_ca()[1])
    with pytest.raises(ConfigError, match="is not the CA of cn-gacc"):
        load_identity(load_validator_config(config))
    config.write_text(before)
    name_ca(config, digest)
    assert list(load_identity(load_validator_config(config)).cas["cn-gacc"]) == [bytes.fromhex(digest)]
    config.write_text(before)
    name_ca(config, digest.upper())
    with pytest.raises(ConfigError, match="expected a SHA-256"):
        load_validator_config(config)


def test_a_log_key_that_the_policy_file_names_is_taken_and_no_other(fresh: Network) -> None:
    config = fresh.validators[0].config
    key = NoteSigner.generate()
    (config.parent / "log.key").write_bytes(key.to_pem())
    with pytest.raises(ConfigError, match="the policy file has to be written anew"):
        load_identity(load_validator_config(config))
    genesis = Genesis.decode(fresh.genesis.read_bytes())
    voters = Register.of_genesis(genesis).of(Role.VOTER)
    (config.parent / "network.policy").write_text(policy_of_members(genesis, "kz-kgd", voters, key.public_key))
    assert [each.public_key for each in load_identity(load_validator_config(config)).log_keys] == [key.public_key]


def test_the_next_log_key_is_another_one_and_not_the_other_sides(fresh: Network) -> None:
    config = fresh.validators[0].config
    home = config.parent
    config.write_text(config.read_text().replace('log = "log.key"\n', 'log = "log.key"\nlog_next = "next.key"\n'))
    copy(home / "log.key", home / "next.key")
    with pytest.raises(ConfigError, match="is the same key"):
        load_identity(load_validator_config(config))
    copy(fresh.validators[2].config.parent / "log.key", home / "next.key")
    with pytest.raises(ConfigError, match="is the log key of another authority"):
        load_identity(load_validator_config(config))
    (home / "next.key").write_bytes(NoteSigner.generate().to_pem())
    assert len(load_identity(load_validator_config(config)).log_keys) == 2
    config.write_text(config.read_text().replace('log = "log.key"\n', ""))
    with pytest.raises(ConfigError, match=r"keys\.log: is missing"):
        load_identity(load_validator_config(config))


def test_a_newcomer_is_told_of_the_newest_ca_that_its_model_has(fresh: Network, tmp_path: Path) -> None:
    """Its own ledger is empty: it knows the genesis record's alone, and nobody may have a certificate of that."""
    like = load_validator_config(fresh.validators[0].config)
    pem, digest = new_ca()
    with (fresh.validators[0].config.parent / "ca" / "cn-gacc.pem").open("ab") as file:
        file.write(pem)
    made = make_newcomer(
        tmp_path / "new",
        name="kz-kgd-3",
        like=like,
        authority_directory=fresh.authorities[0].directory,
        addresses=Addresses("127.0.0.1", 24_900, 24_901, 24_902, "127.0.0.1"),
    )
    entries = {each.name: each.ca_sha256 for each in load_validator_config(made.config).authorities}
    assert entries == {"kz-kgd": None, "cn-gacc": bytes.fromhex(digest)}
    assert bytes.fromhex(digest) in load_identity(load_validator_config(made.config)).cas["cn-gacc"]


def test_a_network_can_want_more_than_half_of_each_side_from_the_beginning(tmp_path: Path) -> None:
    made = init_network(
        tmp_path / "net",
        origin="comity.example/test",
        authorities=AUTHORITIES,
        validators_per_authority=3,
        base_port=21_200,
        majority=True,
        witness="un-observer",
    )
    files = [authority.policy for authority in made.authorities]
    files += [validator.config.parent / "network.policy" for validator in made.validators]
    for path in files:
        thresholds = {group.name: group.threshold for group in parse_policy(path.read_bytes()).groups}
        assert thresholds == {"kz": 2, "cn": 2, "both": 2}, path
