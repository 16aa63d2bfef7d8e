"""Further cosignatures in a validator: what its folder must say, and validators that tell each other."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner

from ledger.cosignature import MlDsaCosigner
from ledger.note import NoteSignature, parse_vkey
from ledger.policy import parse_policy
from ledger.store import StoreUnavailable
from nodes import wire
from nodes.cli import EXIT_MISUSE, comity
from nodes.config import ConfigError, load_validator_config
from nodes.feeding import Answer, Feed, NoAnswer, post
from nodes.further import Draft, Further
from nodes.further_exchange import FurtherExchange
from nodes.identity import Identity, load_identity
from nodes.network import init_network
from nodes.proto import peer_pb2
from tests.ledger.toy import World
from tests.nodes.test_further import PQ, URL, HonestWitness, finalise, further_policy

NAMES = ("kz-kgd-1", "kz-kgd-2", "cn-gacc-1")


# --- the folder -------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = init_network(
        tmp_path / "net",
        origin="comity.example/test",
        authorities=[("kz-kgd", "KZ"), ("cn-gacc", "CN")],
        base_port=25_000,
    )
    return made.validators[0].config.parent


def prepared(
    folder: Path, policy: Callable[[str], str] = lambda text: text, further: str = "interval_s = 5"
) -> Identity:
    """Follow what the command says, and start as the validator does."""
    config = folder / "validator.toml"
    made = CliRunner().invoke(comity, ["validator", "ml-dsa-key", str(config), "--json"])
    assert made.exit_code == 0, made.output
    vkey = json.loads(made.stdout)["vkey"]
    assert parse_vkey(vkey).name == "kz-kgd-1"
    text = next(folder.glob("*.policy")).read_text().replace("quorum both\n", "")
    text += f"witness pq {vkey}\nwitness w1 {PQ_THIRD} {URL}\ngroup all-of-them all both pq w1\nquorum all-of-them\n"
    (folder / "further.policy").write_text(policy(text))
    said = config.read_text().replace("[keys]", '[keys]\nml_dsa = "ml-dsa.key"')
    config.write_text(f'{said}\n[further]\npolicy = "further.policy"\n{further}\n')
    return load_identity(load_validator_config(config))


PQ_THIRD = next(
    line.split()[2] for line in further_policy(World()).decode().split("\n") if line.startswith("witness w1")
)


def test_a_key_made_by_the_command_is_read_and_guarded(folder: Path) -> None:
    identity = prepared(folder)
    assert identity.ml_dsa_key is not None
    assert identity.further_policy is not None
    assert (folder / "ml-dsa.key").stat().st_mode & 0o077 == 0
    config = load_validator_config(folder / "validator.toml")
    assert config.further is not None
    assert config.further.interval_s == 5


def test_a_key_that_was_made_is_never_made_again(folder: Path) -> None:
    prepared(folder)
    before = (folder / "ml-dsa.key").read_bytes()
    again = CliRunner().invoke(comity, ["validator", "ml-dsa-key", str(folder / "validator.toml")])
    assert again.exit_code == EXIT_MISUSE
    assert "there already" in again.output
    assert (folder / "ml-dsa.key").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("kz-kgd-1+", "kz-kgd-9+"), "is no policy"),
        (lambda text: "\n".join(line for line in text.split("\n") if not line.startswith("log ")), "log line"),
        (lambda text: text.replace("https://", "ftp://"), "url of https or http"),
        (
            lambda text: "\n".join(line.replace(" pq", "") for line in text.split("\n") if "witness pq" not in line),
            "vkey of",
        ),
        (lambda text: text.split("witness pq")[0] + "quorum both\n", "nobody could be asked"),
        (lambda text: text.removesuffix("\n"), "is no policy"),
    ],
)
def test_a_policy_of_further_cosignatures_that_cannot_work_is_refused_before_anything_is_opened(
    folder: Path, change: Callable[[str], str], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        prepared(folder, change)


def test_a_key_of_another_sort_or_without_a_policy_is_refused(folder: Path) -> None:
    prepared(folder)
    config = folder / "validator.toml"
    (folder / "ml-dsa.key").write_bytes((folder / "cosigner.key").read_bytes())
    with pytest.raises(ConfigError, match="no ML-DSA-44 private key"):
        load_identity(load_validator_config(config))
    config.write_text(config.read_text().split("[further]")[0])
    with pytest.raises(ConfigError, match=r"expected further\.policy"):
        load_identity(load_validator_config(config))


@pytest.mark.parametrize("further", ["interval_s = 0", "interval_s = 100000", 'interval_s = "5"', "often = true"])
def test_the_interval_has_limits_and_nothing_else_is_known(folder: Path, further: str) -> None:
    with pytest.raises(ConfigError, match=r"further\."):
        prepared(folder, further=further)


# --- validators that tell each other ----------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.s = 1_000.0

    def monotonic_s(self) -> float:
        return self.s

    def now_ms(self) -> int:
        return 1_795_400_000_000 + int(self.s * 1000)


class Room:
    """Where everybody hears everybody. One ledger for all: what differs between validators is for other tests."""

    def __init__(self, world: World, witness: HonestWitness) -> None:
        self.clock = Clock()
        self.messages: list[tuple[str, peer_pb2.Envelope]] = []
        self.exchanges: dict[str, FurtherExchange] = {}
        self.furthers: dict[str, Further] = {}
        policy = parse_policy(further_policy(world))
        for name in NAMES:
            key: MlDsaCosigner | None = PQ.get(name)
            self.furthers[name] = Further(name, world.chain, world.store, policy, key)
            feeds = {"w1": Feed(URL, world.chain, witness)}
            self.exchanges[name] = FurtherExchange(
                self.furthers[name],
                feeds,
                30,
                self.clock,
                Voice(self, name),  # type: ignore[arg-type]
                ThreadPoolExecutor(1),
            )

    async def round(self, *names: str) -> None:
        for name in names:
            await self.exchanges[name]._round()
            while self.messages:
                sender, envelope = self.messages.pop(0)
                message = envelope.cosignatures
                for each, exchange in self.exchanges.items():
                    if each != sender:
                        self.clock.s += 0.3
                        exchange.receive(message.size, message.root, wire.from_cosignatures(message))


class Voice:
    def __init__(self, room: Room, name: str) -> None:
        self._room, self._name = room, name

    def broadcast(self, envelope: peer_pb2.Envelope) -> None:
        self._room.messages.append((self._name, envelope))


@pytest.fixture
def world() -> World:
    made = World()
    made.grow(2)
    finalise(made)
    return made


async def test_one_that_begins_is_enough_for_everybody_to_have_it_all(world: World) -> None:
    witness = HonestWitness()
    room = Room(world, witness)
    await room.round("kz-kgd-1")
    assert witness.requests == 1
    for name, further in room.furthers.items():
        assert further.newest is not None, name
        assert further.newest[0] == world.chain.size
        assert {each.size for each in further.cosigners.values()} == {world.chain.size}, name
    # Nobody asks again what everybody has.
    await room.round(*NAMES)
    assert witness.requests == 1
    assert not room.messages


async def test_a_witness_that_is_away_delays_nobody_and_is_asked_again_later(world: World) -> None:
    away = HonestWitness(fails=Answer(503, "text/plain", b"closed"))
    room = Room(world, away)
    await room.round(*NAMES)
    assert all(further.newest is None for further in room.furthers.values())
    assert "503" in room.furthers["kz-kgd-1"].cosigners["w1"].trouble
    asked = away.requests
    await room.round("kz-kgd-1")
    assert away.requests == asked  # not yet
    away.fails = None
    room.clock.s += 1000
    await room.round("kz-kgd-1")
    assert room.furthers["cn-gacc-1"].newest is not None
    assert room.furthers["kz-kgd-1"].cosigners["w1"].trouble == ""


async def test_whatever_is_thrown_at_it_the_exchange_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room(world, HonestWitness())
    exchange = room.exchanges["kz-kgd-1"]

    def full(*_: object) -> None:
        raise StoreUnavailable("disk is full")

    monkeypatch.setattr(room.furthers["kz-kgd-1"], "_keep", full)
    monkeypatch.setattr("nodes.further_exchange.LOOK_S", 0.01)
    running = asyncio.create_task(exchange.run())
    await asyncio.sleep(0.3)
    assert not running.done()
    running.cancel()


async def test_a_witness_that_never_ends_its_answer_holds_up_no_round_and_is_asked_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = Room(world, HonestWitness())
    exchange, further = room.exchanges["kz-kgd-1"], room.furthers["kz-kgd-1"]
    ends, asked, begun = threading.Event(), [], []
    three = asyncio.Event()

    def never(draft: Draft) -> tuple[NoteSignature, ...]:
        asked.append(draft.checkpoint.size)
        ends.wait(30)
        raise NoAnswer("ended")

    def begin(*moment: float) -> Draft | None:
        begun.append(moment)
        if len(begun) == 3:
            three.set()
        return Further.begin(further, moment[0], int(moment[1]), moment[2])

    monkeypatch.setattr(exchange._feeds["w1"], "ask", never)
    monkeypatch.setattr(further, "begin", begin)
    monkeypatch.setattr("nodes.further_exchange.LOOK_S", 0.01)
    running = asyncio.create_task(exchange.run())
    try:
        await asyncio.wait_for(three.wait(), 20)
        assert len(asked) == 1
        asking = list(exchange._asking.values())
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert [task.cancelled() for task in asking] == [True], "nobody is asked on behalf of one that has stopped"
    finally:
        ends.set()


@pytest.mark.parametrize("status", ["200 OK", "503 Closed"])
def test_a_witness_that_sends_a_byte_now_and_then_is_no_answer(monkeypatch: pytest.MonkeyPatch, status: str) -> None:
    monkeypatch.setattr("nodes.feeding.REQUEST_TIMEOUT_S", 0.3)
    stopped = threading.Event()

    def drip(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection, contextlib.suppress(OSError):
            connection.recv(65_536)
            connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 100\r\n\r\n".encode())
            for _ in range(100):
                if stopped.wait(0.1):
                    return
                connection.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as server:
        witness = threading.Thread(target=drip, args=(server,))
        witness.start()
        try:
            with pytest.raises(NoAnswer, match="did not end within"):
                post(f"http://127.0.0.1:{server.getsockname()[1]}/add-checkpoint", b"x")
        finally:
            stopped.set()
            witness.join()


def test_a_whole_answer_is_read_from_a_witness_that_leaves_the_connection_open() -> None:
    stopped = threading.Event()

    def answer(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(b"HTTP/1.1 409 Conflict\r\nContent-Type: text/x.tlog.size\r\nContent-Length: 3\r\n\r\n1")
            connection.sendall(b"2\n")
            stopped.wait(30)

    with socket.create_server(("127.0.0.1", 0)) as server:
        witness = threading.Thread(target=answer, args=(server,))
        witness.start()
        try:
            got = post(f"http://127.0.0.1:{server.getsockname()[1]}/add-checkpoint", b"x")
            assert got == Answer(409, "text/x.tlog.size", b"12\n")
        finally:
            stopped.set()
            witness.join()


def test_a_witness_that_cannot_be_reached_is_no_answer(world: World) -> None:
    draft = Further("kz-kgd-1", world.chain, world.store, parse_policy(further_policy(world)), PQ["kz-kgd-1"]).begin(
        0.0, 5, 30
    )
    assert draft is not None
    for url in ("http://127.0.0.1:1/", "http://", "no url at all"):
        with pytest.raises(NoAnswer, match="cannot be reached"):
            Feed(url, world.chain).ask(draft)
