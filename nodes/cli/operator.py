"""Commands for those who run nodes: `network init`, `validator run`, `gateway run`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NoReturn

import click

from nodes.cli import EXIT_MISUSE, EXIT_UNAVAILABLE

_AUTHORITIES = ("kz-kgd:KZ", "cn-gacc:CN")


def _misuse(message: str) -> NoReturn:
    click.echo(f"error: {message}", err=True)
    raise SystemExit(EXIT_MISUSE)


@click.group()
def network() -> None:
    """Set up a network."""


@network.command("init")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--origin", default="comity.example/bakhty-baketu", show_default=True, help="Name of the log.")
@click.option(
    "--authority",
    "authorities",
    multiple=True,
    metavar="NAME:COUNTRY",
    default=_AUTHORITIES,
    show_default=True,
    help="An authority and its ISO 3166 country; give it once for each.",
)
@click.option("--validators", default=2, show_default=True, type=click.IntRange(1, 9), help="Validators an authority.")
@click.option("--gateways", default=1, show_default=True, type=click.IntRange(0, 9), help="Gateways an authority.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Where nodes reach each other; {name} stands for the node's name, as in a container network.",
)
@click.option("--listen-host", help="Where nodes listen, if that differs from --host.")
@click.option("--base-port", type=click.IntRange(1024, 65000), help="First port; free ports if not given.")
@click.option("--witness", metavar="PARTY", help="A neutral party with one validator that votes and cosigns nothing.")
@click.option("--majority", is_flag=True, help="Policies that want more than half of each authority's validators.")
@click.option("--parameter", "parameters", multiple=True, metavar="NAME=VALUE", help="A parameter to begin with.")
@click.option(
    "--contract",
    "contracts",
    multiple=True,
    metavar="NAME[:VERSION]",
    help="A contract beside the usual ones, as the example phytosanitary, or another version of one; again for each.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was made as JSON.")
def network_init(
    directory: Path,
    origin: str,
    authorities: tuple[str, ...],
    validators: int,
    gateways: int,
    host: str,
    listen_host: str | None,
    base_port: int | None,
    witness: str | None,
    majority: bool,
    parameters: tuple[str, ...],
    contracts: tuple[str, ...],
    as_json: bool,
) -> None:
    """Make keys, certificates, genesis, policies and configuration in DIRECTORY.

    Everything is made in one place: for one machine, a demonstration or a rehearsal. Two real authorities each make
    their own part at home; docs/operating.md says what they exchange.
    """
    from nodes.config import ConfigError
    from nodes.network import contracts_of, init_network

    pairs = []
    for text in authorities:
        name, colon, country = text.partition(":")
        if not colon:
            _misuse(f"--authority: expected NAME:COUNTRY, got {text!r}")
        pairs.append((name, country))
    try:
        made = init_network(
            directory,
            origin=origin,
            authorities=pairs,
            validators_per_authority=validators,
            gateways_per_authority=gateways,
            host=host,
            listen_host=listen_host,
            base_port=base_port,
            witness=witness,
            majority=majority,
            contracts=contracts_of(contracts),
            parameters=_parameters(parameters),
        )
    except ConfigError as error:
        _misuse(str(error))
    if as_json:
        click.echo(
            json.dumps(
                {
                    "directory": str(made.directory),
                    "origin": made.origin,
                    "authorities": [
                        {"name": a.name, "country": a.country, "policy": str(a.policy)} for a in made.authorities
                    ],
                    "validators": [{"name": v.name, "config": str(v.config)} for v in made.validators],
                    "gateways": [
                        {
                            "name": g.name,
                            "config": str(g.config),
                            "http": str(g.http_address),
                            "grpc": str(g.grpc_address),
                        }
                        for g in made.gateways
                    ],
                },
                indent=2,
            )
        )
        return
    click.echo(f"{made.origin}: {len(made.validators)} validators, {len(made.gateways)} gateways in {made.directory}")
    for validator_node in made.validators:
        click.echo(f"  comity validator run --config {validator_node.config}")
    for gateway_node in made.gateways:
        click.echo(f"  comity gateway run --config {gateway_node.config}    # http://{gateway_node.http_address}")
    click.echo(
        "private fields can be sealed once each authority has published an envelope key: comity envelope new-key FILE, "
        "then comity envelope publish-key"
    )


def _pairs(texts: tuple[str, ...], option: str) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            _misuse(f"--{option}: expected NAME=VALUE, got {text!r}")
        pairs[name] = value
    return pairs


def _parameters(texts: tuple[str, ...]) -> dict[str, int | str]:
    from contracts.parameters import PARAMETERS, IntegerParameter, check_parameter, contradiction
    from ledger.errors import Misuse

    values: dict[str, int | str] = {}
    for name, text in _pairs(texts, "parameter").items():
        try:
            values[name] = int(text) if isinstance(PARAMETERS.get(name), IntegerParameter) else text
            check_parameter(name, values[name])
        except (ValueError, Misuse) as error:
            _misuse(f"--parameter: {error}")
    wrong = contradiction(lambda name: values.get(name, PARAMETERS[name].default))
    if wrong is not None:
        _misuse(f"--parameter: {wrong}")
    return values


@click.group()
def validator() -> None:
    """Run a validator, or make one that joins."""


@validator.command("init")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--name", required=True, help="Its name; never one that was used before.")
@click.option(
    "--like",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="validator.toml of a validator of the network: who is there, and at which address.",
)
@click.option("--like-address", metavar="HOST:PORT", help="Where others reach that one, if it listens everywhere.")
@click.option(
    "--ca",
    "ca_directory",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the authority with ca.pem, ca.key and log.key; of a neutral party, where its CA is or will be.",
)
@click.option(
    "--changes", type=click.Path(path_type=Path, dir_okay=False), help="As `comity membership show --save` wrote."
)
@click.option("--party", help="A neutral party, for a witness. It gets a CA if --ca holds none.")
@click.option("--observer", is_flag=True, help="Without the authority's log key: never a voter on this machine.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where the others reach it.")
@click.option("--listen-host", help="Where it listens, if that differs from --host.")
@click.option("--base-port", type=click.IntRange(1024, 65000), help="First of three ports; free ones if not given.")
@click.option("--json", "as_json", is_flag=True, help="Print what was made as JSON.")
def validator_init(
    directory: Path,
    name: str,
    like: Path,
    like_address: str | None,
    ca_directory: Path,
    changes: Path | None,
    party: str | None,
    observer: bool,
    host: str,
    listen_host: str | None,
    base_port: int | None,
    as_json: bool,
) -> None:
    """Make the folder of a validator that is to join a running network, in DIRECTORY.

    The file `member` in it is what `comity membership propose --add` takes. It can be started before the change.
    """
    from ledger.errors import LedgerError
    from ledger.membership import split_chain
    from nodes.cli.offline import read_small_file
    from nodes.config import ConfigError, load_validator_config, parse_address
    from nodes.network import free_ports
    from nodes.newcomer import Addresses, known_notes, make_newcomer

    try:
        other = load_validator_config(like)
        listen = listen_host or host
        ports = free_ports(base_port, listen)
        made = make_newcomer(
            directory,
            name=name,
            like=other,
            authority_directory=ca_directory,
            addresses=Addresses(host, next(ports), next(ports), next(ports), listen),
            notes=known_notes(other) if changes is None else split_chain(read_small_file(changes)),
            party=party,
            observer=observer,
            like_address=parse_address(like_address, ConfigError) if like_address else None,
        )
    except (ConfigError, LedgerError) as error:
        _misuse(str(error))
    if as_json:
        document = {
            "name": made.name,
            "party": made.party,
            "config": str(made.config),
            "member": made.step.line().strip(),
        }
        document |= {"gateways": str(made.service_address), "http": str(made.http_address)}
        click.echo(json.dumps(document, indent=2))
        return
    click.echo(made.step.line(), nl=False)
    click.echo(f"  comity membership propose --add {directory / 'member'}    # then both registrars sign")
    click.echo(f"  comity validator run --config {made.config}")


@validator.command("ml-dsa-key")
@click.argument("config", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print what was made as JSON.")
def validator_ml_dsa_key(config: Path, as_json: bool) -> None:
    """Make an ML-DSA-44 key for further cosignatures, beside the validator.toml CONFIG.

    Prints the witness line for the policy of further cosignatures, and says what to write into CONFIG. Nothing that is
    final depends on such a key.
    """
    from ledger.cosignature import MlDsaCosigner
    from ledger.note import format_vkey
    from nodes.config import ConfigError, load_validator_config
    from nodes.network import PRIVATE_FILE_MODE, write_new

    try:
        name = load_validator_config(config).name
    except ConfigError as error:
        _misuse(str(error))
    key, path = MlDsaCosigner.generate(), config.resolve().parent / "ml-dsa.key"
    try:
        write_new(path, key.to_pem(), PRIVATE_FILE_MODE)
    except FileExistsError:
        _misuse(f"{path} is there already: a key that was handed out is not replaced; move it away if none was")
    vkey = format_vkey(key.verifier(name))
    if as_json:
        click.echo(json.dumps({"key": str(path), "name": name, "vkey": vkey}, indent=2))
        return
    click.echo(f"witness {name}-ml-dsa {vkey}")
    click.echo(
        f"made {path}\n"
        f'in {config}: under [keys] ml_dsa = "ml-dsa.key"; and [further] policy = "further.policy",\n'
        "the network's policy with the witness lines of all further cosigners and a quorum that names them",
        err=True,
    )


@validator.command("run")
@click.option("--config", "path", required=True, type=click.Path(path_type=Path, dir_okay=False), help="validator.toml")
def validator_run(path: Path) -> None:
    """Run one validator until it is told to stop (SIGTERM, SIGINT). Logs: standard error, JSON lines."""
    from nodes.config import ConfigError, load_validator_config
    from nodes.running import run_validator

    try:
        config = load_validator_config(path)
    except ConfigError as error:
        _misuse(str(error))
    raise SystemExit(run_validator(config))


@click.group()
def gateway() -> None:
    """Run a gateway."""


@gateway.command("run")
@click.option("--config", "path", required=True, type=click.Path(path_type=Path, dir_okay=False), help="gateway.toml")
def gateway_run(path: Path) -> None:
    """Run one gateway until it is told to stop (SIGTERM, SIGINT). Logs: standard error, JSON lines."""
    from api.attachments import DirectoryTaken
    from api.logs import configure_logs
    from api.reference import TableError
    from api.serve import run_gateway
    from nodes.config import ConfigError, load_gateway_config

    try:
        config = load_gateway_config(path)
    except ConfigError as error:
        _misuse(str(error))
    configure_logs(config.log_level, gateway=config.name)
    try:
        run_gateway(config)
    except TableError as error:
        _misuse(f"{config.name} needs its reference tables: {error}")
    except DirectoryTaken as error:
        click.echo(f"error: {error}; stop it, or give this one a directory of its own under [attachments]", err=True)
        raise SystemExit(EXIT_UNAVAILABLE) from error
    except OSError as error:
        click.echo(f"error: {config.name} cannot listen: {error.strerror or error}", err=True)
        raise SystemExit(EXIT_UNAVAILABLE) from error
