"""A validator from an archive: the ledger that an honest validator had, or nothing at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import pytest

from ledger.archive import export_archive
from ledger.chain import Chain
from ledger.chain_layout import BLOCK_AT, FIRST_FOREIGN_KEY, HEAD
from ledger.checkpoint import Checkpoint, checkpoint_body, log_signature, log_verifier
from ledger.cosignature import cosign
from ledger.entry import BlockRecord
from ledger.note import Note, NoteSigner, format_note
from ledger.policy import Log, format_policy, parse_policy
from ledger.statement import parse_statement
from nodes.checked_stores import open_checked
from nodes.cli import EXIT_DOES_NOT_HOLD, EXIT_HOLDS, EXIT_MISUSE
from nodes.config import ValidatorConfig, load_validator_config
from nodes.identity import load_identity
from nodes.log_index import LogIndex
from nodes.network import Network, init_network
from nodes.newcomer import Addresses, make_newcomer
from nodes.restoring import restore
from nodes.scrub import walk_ledger
from tests.benchmarks.micro import InProcessLedger
from tests.benchmarks.processes import AUTHORITIES, ORIGIN
from tests.benchmarks.workload import Workload
from tests.ledger.archives import flip, naive_root, write_tiles
from tests.nodes.membership import Operators, promote
from tests.nodes.network import Client, Signer, all_final, gateway_of, running, until, wait_ready
from tests.nodes.test_cli import run

BLOCK_STATEMENTS = 7


def note_of(network: Network, checkpoint: Checkpoint) -> bytes:
    """Signed and cosigned by the first validator of each authority."""
    lines = []
    for authority in network.authorities:
        validator = next(each for each in network.validators if each.authority == authority.name)
        config = load_validator_config(validator.config)
        assert config.log_key is not None
        assert config.cosigner_key is not None
        lines.append(log_signature(NoteSigner.from_pem(config.log_key.read_bytes()), checkpoint))
        key = NoteSigner.from_pem(config.cosigner_key.read_bytes())
        lines.append(cosign(key, validator.name, checkpoint, 1_795_000_000))
    return format_note(Note(checkpoint_body(checkpoint), tuple(lines)))


@dataclass(frozen=True)
class Corridor:
    """A network whose ledger has whole crossings, and the archive of it."""

    network: Network
    policy: bytes
    archive: Path
    stored: dict[bytes, bytes]
    entries: tuple[bytes, ...]
    height: int


@pytest.fixture(scope="module")
def corridor(tmp_path_factory: pytest.TempPathFactory) -> Corridor:
    directory = tmp_path_factory.mktemp("corridor")
    network = init_network(directory / "network", origin=ORIGIN, authorities=AUTHORITIES)
    workload = Workload(network, 8, seed=3)
    ledger = InProcessLedger(network, directory / "store")
    waves = [*workload.enrolments(), *workload.to_their_places(), workload.rounds(23)]
    for wave in waves:
        for start in range(0, len(wave), BLOCK_STATEMENTS):
            ledger.append([parse_statement(raw) for raw in wave[start : start + BLOCK_STATEMENTS]])
    chain = ledger.chain
    policy = network.authorities[0].policy.read_bytes()
    export_archive(chain, directory / "archive", policy, note_of(network, Checkpoint(ORIGIN, chain.size, chain.root)))
    stored = dict(ledger.store.iterate(b"", FIRST_FOREIGN_KEY))
    entries = tuple(chain.entries(0, chain.size))
    ledger.store.close()
    return Corridor(network, policy, directory / "archive", stored, entries, chain.height)


def newcomer(corridor: Corridor, directory: Path) -> ValidatorConfig:
    made = make_newcomer(
        directory,
        name="kz-kgd-3",
        like=load_validator_config(corridor.network.validators[0].config),
        authority_directory=corridor.network.authorities[0].directory,
        addresses=Addresses("127.0.0.1", 7100, 7101, 7102, "127.0.0.1"),
    )
    return load_validator_config(made.config)


def restore_into(config: ValidatorConfig, archive: Path, policy: bytes, **options: object) -> object:
    identity = load_identity(config)
    return restore(archive, config, identity, policy, open_store=open_checked, threads=1, **options)  # type: ignore[arg-type]


def forged(corridor: Corridor, directory: Path, entries: list[bytes]) -> Path:
    """The archive of these entries, whatever they are: both authorities signed it."""
    leaves = [sha256(b"\x00" + entry).digest() for entry in entries]
    write_tiles(directory, entries)
    (directory / "checkpoint").write_bytes(
        note_of(corridor.network, Checkpoint(ORIGIN, len(entries), naive_root(leaves)))
    )
    (directory / "policy").write_bytes(corridor.policy)
    return directory


def test_what_is_restored_is_the_ledger_of_an_honest_validator_key_by_key(corridor: Corridor, tmp_path: Path) -> None:
    config = newcomer(corridor, tmp_path / "new")
    policy = corridor.network.authorities[0].policy
    result = run("restore", corridor.archive, "--config", config.path, "--policy", policy, "--json")
    assert result.exit_code == EXIT_HOLDS, result.output
    shown = json.loads(result.stdout)
    assert (shown["size"], shown["height"]) == (len(corridor.entries), corridor.height)
    store = open_checked(config.data / "ledger")
    try:
        found = dict(store.iterate(b"", FIRST_FOREIGN_KEY))
        elsewhere = (HEAD, BLOCK_AT, b"\x01n")  # where the order was, and the note
        expected = {key: value for key, value in corridor.stored.items() if not key.startswith(elsewhere)}
        assert {key: value for key, value in found.items() if not key.startswith(elsewhere)} == expected
        chain = Chain.open(store, thorough=True)
        assert chain.applied == 0
        final = chain.latest_final
        assert final is not None
        assert final[0] == chain.size
        assert LogIndex(store, chain).complete
        for _ in walk_ledger(store):
            pass
    finally:
        store.close()


def refused(corridor: Corridor, tmp_path: Path, archive: Path, policy: bytes | None = None) -> str:
    """Restore, which has to fail, and leave a validator that has not started."""
    config = newcomer(corridor, tmp_path / "new")
    before = sorted(config.data.iterdir())
    (tmp_path / "p").write_bytes(policy or corridor.policy)
    result = run("restore", archive, "--config", config.path, "--policy", tmp_path / "p")
    assert result.exit_code == EXIT_DOES_NOT_HOLD, result.output
    assert sorted(each for each in config.data.iterdir() if each.name != "restored") == before
    return result.output


def test_a_policy_that_does_not_name_the_log_key_is_told_how_a_new_one_comes_about(
    corridor: Corridor, tmp_path: Path
) -> None:
    policy = parse_policy(corridor.policy)
    other = log_verifier(ORIGIN, NoteSigner(bytes(range(32))).public_key)
    told = refused(corridor, tmp_path, corridor.archive, format_policy(replace(policy, logs=(Log(other),))))
    assert "comity governance policy writes it anew" in told


def last_block(corridor: Corridor) -> tuple[list[bytes], list[bytes], BlockRecord]:
    """Entries before the last block, its statements, its record."""
    record = BlockRecord.decode(corridor.entries[-1])
    return list(corridor.entries[: record.first]), list(corridor.entries[record.first : -1]), record


def with_signature_of_another(corridor: Corridor) -> list[bytes]:
    before, statements, record = last_block(corridor)
    other = next(raw for raw in before if raw[:1] == b"\xd2")
    return [*before, statements[0][:-64] + other[-64:], *statements[1:], record.encode()]


def with_another_state_root(corridor: Corridor) -> list[bytes]:
    before, statements, record = last_block(corridor)
    return [*before, *statements, replace(record, state_root=bytes(32)).encode()]


def with_a_statement_left_out(corridor: Corridor) -> list[bytes]:
    before, statements, record = last_block(corridor)
    return [*before, *statements[:-1], replace(record, count=record.count - 1).encode()]


def with_a_statement_twice(corridor: Corridor) -> list[bytes]:
    before, statements, record = last_block(corridor)
    twice = next(raw for raw in before if raw[:1] == b"\xd2")
    return [*before, *statements, twice, replace(record, count=record.count + 1).encode()]


def with_a_time_that_goes_back(corridor: Corridor) -> list[bytes]:
    before, statements, record = last_block(corridor)
    earlier = BlockRecord.decode(before[-1]).time_ms - 1
    return [*before, *statements, replace(record, time_ms=earlier).encode()]


def that_end_within_a_block(corridor: Corridor) -> list[bytes]:
    return list(corridor.entries[:-1])


def with_a_second_genesis(corridor: Corridor) -> list[bytes]:
    return [*corridor.entries, corridor.entries[0]]


def with_garbage(corridor: Corridor) -> list[bytes]:
    return [*corridor.entries, b"\xd2garbage", corridor.entries[-1]]


@pytest.mark.parametrize(
    ("altered", "says"),
    [
        (with_signature_of_another, "is refused: signature_invalid"),
        (with_another_state_root, "comes to another record"),
        (with_a_statement_left_out, "comes to another record"),
        (with_a_statement_twice, "is on the log already"),
        (with_a_time_that_goes_back, "block time goes back"),
        (that_end_within_a_block, "within a block"),
        (with_a_second_genesis, "second genesis"),
        (with_garbage, "entry "),
    ],
)
def test_what_both_authorities_signed_and_no_honest_validator_would_have_executed_is_refused(
    corridor: Corridor, tmp_path: Path, altered: Callable[[Corridor], list[bytes]], says: str
) -> None:
    assert says in refused(corridor, tmp_path, forged(corridor, tmp_path / "forged", altered(corridor)))


@pytest.mark.parametrize("path", ["tile/entries/000", "checkpoint"])
def test_one_altered_byte_is_refused(corridor: Corridor, tmp_path: Path, path: str) -> None:
    archive = forged(corridor, tmp_path / "archive", list(corridor.entries))
    (archive / path).write_bytes(flip(2000 if path != "checkpoint" else 40)((archive / path).read_bytes()))
    refused(corridor, tmp_path, archive)


def test_a_policy_that_is_not_met_restores_nothing(corridor: Corridor, tmp_path: Path) -> None:
    policy = corridor.policy.replace(b"group cn any cn-gacc-1 cn-gacc-2", b"group cn all cn-gacc-1 cn-gacc-2")
    assert policy != corridor.policy
    refused(corridor, tmp_path, corridor.archive, policy)


def test_an_interruption_leaves_a_validator_that_has_not_started(corridor: Corridor, tmp_path: Path) -> None:
    config = newcomer(corridor, tmp_path / "new")

    def stop(done: int, _: int) -> None:
        if done >= 256:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        restore_into(config, corridor.archive, corridor.policy, progress=stop)
    assert not (config.data / "ledger").exists()
    restore_into(config, corridor.archive, corridor.policy)
    assert sorted(each.name for each in config.data.iterdir()) == ["first-start", "ledger"]


def test_a_validator_that_has_started_or_has_a_ledger_or_is_of_another_network_is_left_alone(
    corridor: Corridor, tmp_path: Path
) -> None:
    config = newcomer(corridor, tmp_path / "new")
    options = ("--config", config.path, "--policy", corridor.network.authorities[0].policy)
    assert run("restore", corridor.archive, *options).exit_code == EXIT_HOLDS
    again = run("restore", corridor.archive, *options)
    assert (again.exit_code, "has a ledger already" in again.output) == (EXIT_MISUSE, True)
    (config.data / "first-start").unlink()
    started = run("restore", corridor.archive, *options)
    assert (started.exit_code, "has started before" in started.output) == (EXIT_MISUSE, True)
    other = init_network(tmp_path / "other", origin=ORIGIN, authorities=AUTHORITIES)
    elsewhere = run("restore", corridor.archive, "--config", other.validators[0].config, *options[2:])
    assert (elsewhere.exit_code, "of another network" in elsewhere.output) == (EXIT_MISUSE, True)


@pytest.mark.soak
@pytest.mark.processes
async def test_a_restored_validator_serves_alone_and_then_takes_part_with_what_came_since(tmp_path: Path) -> None:
    async with running(tmp_path / "net", validators_per_authority=1) as processes:
        operators, signer = Operators(processes), Signer(processes.network)
        policy = processes.network.authorities[0].policy
        async with Client(processes.network, "kz-kgd-1") as client:
            before = [signer.enrol() for _ in range(5)]
            await client.submit([statement.raw for statement in before])
            await all_final(processes.network, "kz-kgd-1", [statement.id for statement in before])
            registrar = processes.network.authorities[0].key("registrar")
            async with gateway_of(processes, "kz-kgd") as url:
                signed = ("--as", "kz-kgd/registrar", "--key", registrar)
                exported = run("mirror", tmp_path / "mine", "--gateway", url, "--policy", policy, *signed, "--once")
                assert exported.exit_code == EXIT_HOLDS, exported.output
            made = operators.make("kz-kgd-2", like="kz-kgd-1")
            restored = run("restore", tmp_path / "mine", "--config", made.config, "--policy", policy)
            assert restored.exit_code == EXIT_HOLDS, restored.output
            processes.kill("cn-gacc-1", "kz-kgd-1")
            processes.start("kz-kgd-2")
            # Nobody else is there, and no change has let it in: it has what was final.
            found = await all_final(processes.network, "kz-kgd-2", [statement.id for statement in before])
            assert len(found) == len(before)
        processes.start("kz-kgd-1", "cn-gacc-1")
        await wait_ready(processes.network, ["kz-kgd-1", "cn-gacc-1"])
        async with Client(processes.network, "kz-kgd-1") as client:
            since = [signer.enrol() for _ in range(5)]
            await client.submit([statement.raw for statement in since])
        await operators.change("kz-kgd-1", made.step)

        async def adopted() -> bool:
            return any(event.get("event") == "snapshot_adopted" for event in processes.events("kz-kgd-2"))

        await until(adopted, what="a snapshot")
        await operators.change("kz-kgd-1", promote("kz-kgd-2"))
        await all_final(processes.network, "kz-kgd-2", [statement.id for statement in (*before, *since)])
