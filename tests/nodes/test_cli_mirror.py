"""`comity mirror`, `comity proof --archive`: an archive of one's own grows verified, and serves proofs by itself."""

from __future__ import annotations

import errno
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from contracts.replay import ContractReplay
from ledger.archive import export_archive
from ledger.audit import Check, audit_archive
from ledger.checkpoint import Checkpoint
from ledger.cosignature import cosign
from ledger.evidence import decode_evidence
from ledger.merkle import leaf_hash
from ledger.note import Note, NoteSigner, format_note, parse_note
from ledger.policy import parse_policy, verify_checkpoint
from nodes.cli import EXIT_DOES_NOT_HOLD, EXIT_HOLDS, EXIT_MISUSE, EXIT_UNAVAILABLE
from tests.contracts.rotated import OVERLAP_S, RotatedWorld
from tests.ledger.archives import entries_of, flip, write_archive
from tests.ledger.test_archive import files
from tests.ledger.toy import ORIGIN, World
from tests.nodes.test_cli import run, run_light
from tests.nodes.test_further import PQ, THIRD, further_policy


class Gateway:
    """What a gateway answers to a mirror: from a folder, which a test may exchange between two answers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        # Called with each path before it is answered; a status to answer with, or None.
        self.before: Callable[[str], int | None] = lambda _: None

    def answer(self, path: str) -> tuple[int, bytes]:
        self.asked.append(path)
        status = self.before(path)
        if status is not None:
            return status, b'{"type": "about:blank", "title": "not now", "status": %d}' % status
        if path == "/v1/status":
            return 200, json.dumps({"origin": ORIGIN}).encode()
        if path == "/v1/membership":
            return 200, json.dumps({"changes": []}).encode()
        file = self.folder / path.removeprefix("/log/")
        return (200, file.read_bytes()) if file.exists() else (404, b"{}")


@pytest.fixture(scope="module")
def world() -> World:
    grown = World()
    grown.grow(60, 9)
    return grown


def serve(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def gateway(world: World, tmp_path: Path) -> Gateway:
    return Gateway(archive_at(world, tmp_path / "served", world.chain.height))


@pytest.fixture
def url(gateway: Gateway) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = gateway.answer(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    yield from serve(Handler)


@pytest.fixture
def options(world: World, tmp_path: Path, url: str) -> list[str]:
    """What every call of the mirror here has in common."""
    (tmp_path / "border.policy").write_bytes(world.policy())
    key = tmp_path / "registrar.key"
    key.write_bytes(world.registrars["kz-kgd"].to_pem())
    return [
        "--gateway",
        url,
        "--policy",
        str(tmp_path / "border.policy"),
        "--as",
        "kz-kgd/registrar",
        "--key",
        str(key),
    ]


def archive_at(world: World, directory: Path, height: int) -> Path:
    record = world.chain.block(height)
    size = record.first + record.count + 1
    export_archive(
        world.chain, directory, world.policy(), world.note(Checkpoint(ORIGIN, size, world.chain.root_at(size)))
    )
    return directory


def other_history(world: World, directory: Path, height: int) -> Path:
    """The same log but for its second entry, cosigned by everybody."""
    record = world.chain.block(height)
    entries = entries_of(world)[: record.first + record.count + 1]
    write_archive(directory, [entries[0], b"another", *entries[2:]], world)
    return directory


@pytest.mark.parametrize("command", ["mirror", "export"])
def test_a_policy_that_demands_further_cosignatures_gets_the_checkpoint_that_has_them(
    world: World, gateway: Gateway, options: list[str], tmp_path: Path, command: str
) -> None:
    policy = tmp_path / "border.policy"
    policy.write_bytes(further_policy(world))
    arguments: list[str | Path] = [command, tmp_path / "mine", *options, *(["--once"] if command == "mirror" else [])]
    lacking = run(*arguments)
    assert lacking.exit_code == EXIT_DOES_NOT_HOLD
    assert "quorum everybody is not met" in lacking.output
    assert not (tmp_path / "mine").exists()
    # The newest with all lines, which is older than the newest that is final.
    record = world.chain.block(30)
    size = record.first + record.count + 1
    checkpoint = Checkpoint(ORIGIN, size, world.chain.root_at(size))
    parsed = parse_note(world.note(checkpoint))
    lines = [key.cosign(name, checkpoint, 0) for name, key in PQ.items()]
    lines.append(cosign(THIRD, "witness.example/w1", checkpoint, 5))
    note = format_note(Note(parsed.text, (*parsed.signatures, *lines)))
    (gateway.folder / "further").mkdir()
    (gateway.folder / "further" / "checkpoint").write_bytes(note)
    archive_at(world, tmp_path / "older", 30)
    for path in (tmp_path / "older" / "tile").rglob("*"):  # the widths that this size has, beside those of the newest
        if path.is_file() and not (there := gateway.folder / path.relative_to(tmp_path / "older")).exists():
            there.parent.mkdir(parents=True, exist_ok=True)
            there.write_bytes(path.read_bytes())
    taken = run(*arguments)
    assert taken.exit_code == EXIT_HOLDS, taken.output
    assert (tmp_path / "mine" / "checkpoint").read_bytes() == note
    assert verify_checkpoint(note, parse_policy(policy.read_bytes())).size == size
    # Whoever demands less gets the newest of all.
    policy.write_bytes(world.policy())
    newest = run(*arguments)
    assert newest.exit_code == EXIT_HOLDS, newest.output
    assert f"{world.chain.size} entries" in newest.output


def test_a_mirror_is_brought_up_to_date_and_fetches_only_what_is_new(
    world: World, gateway: Gateway, options: list[str], tmp_path: Path
) -> None:
    whole = gateway.folder
    gateway.folder = archive_at(world, tmp_path / "before", 40)
    first = run("mirror", tmp_path / "mine", *options, "--once", "--json")
    assert first.exit_code == EXIT_HOLDS, first.output
    assert json.loads(first.stdout)["size"] == 395
    assert files(tmp_path / "mine") == files(gateway.folder)
    gateway.folder = whole
    gateway.asked.clear()
    second = run("mirror", tmp_path / "mine", *options, "--once")
    assert second.exit_code == EXIT_HOLDS, second.output
    assert f"{world.chain.size} entries" in second.output
    assert files(tmp_path / "mine") == files(whole)
    assert not any(path.endswith("/000") for path in gateway.asked)


class Replaced:
    """A gateway of a log whose Kazakh log key is replaced, before and after."""

    def __init__(self, directory: Path) -> None:
        self.world = RotatedWorld()
        self.world.idle(2)
        self.cn = self.world.log_signers["cn-gacc"]
        self.policies = {name: self.world.policy_of([key]) for name, key in self.keys().items()}
        self.before = self.archive(directory / "before", "old")
        self.world.rotate()
        self.world.time_ms += OVERLAP_S * 1000
        self.world.idle()
        self.after = self.archive(directory / "after", "new")

    def keys(self) -> dict[str, NoteSigner]:
        return {"old": self.world.old, "new": self.world.new}

    def archive(self, directory: Path, key: str) -> Path:
        note = self.world.signed_by(self.keys()[key], self.cn)
        export_archive(self.world.chain, directory, self.policies[key], note)
        return directory


def test_a_mirror_goes_on_over_the_replacement_of_a_log_key_as_soon_as_it_has_the_new_policy_file(
    gateway: Gateway, options: list[str], tmp_path: Path
) -> None:
    replaced, mine, policy = Replaced(tmp_path / "replaced"), tmp_path / "mine", tmp_path / "border.policy"
    policy.write_bytes(replaced.policies["old"])
    gateway.folder = replaced.before
    assert run("mirror", mine, *options, "--once").exit_code == EXIT_HOLDS
    before = files(mine)
    gateway.folder = replaced.after
    told = run("mirror", mine, *options, "--once")
    assert told.exit_code == EXIT_DOES_NOT_HOLD
    assert "comity governance policy" in told.output
    assert files(mine) == before
    # The file is put in place while the mirror runs: after its first look, which still finds what was before.
    gateway.folder = replaced.before
    looks = 0

    def before_answering(path: str) -> int | None:
        nonlocal looks
        if path == "/log/checkpoint":
            looks += 1
            if looks == 2:
                gateway.folder = replaced.after
                policy.write_bytes(replaced.policies["new"])
            if looks == 4:  # the third was with the new file, and was taken
                os.kill(os.getpid(), signal.SIGTERM)
        return None

    gateway.before = before_answering
    going = run("mirror", mine, *options, "--every", "0.1")
    assert going.exit_code == EXIT_HOLDS, going.output
    assert "border.policy was replaced: going on with what it says now" in going.output
    assert files(mine) == files(replaced.after)
    assert audit_archive(mine, replaced.policies["new"], ContractReplay()).faults == ()
    found = audit_archive(mine, replaced.policies["old"], ContractReplay()).faults
    assert [fault.check for fault in found] == [Check.LOG_SIGNATURE]


def test_a_mirror_grows_until_it_is_told_to_stop_and_rides_out_an_outage(
    world: World, gateway: Gateway, options: list[str], tmp_path: Path
) -> None:
    stages = [archive_at(world, tmp_path / f"at{height}", height) for height in (10, 20, 30)]
    looks = 0

    def before(path: str) -> int | None:
        nonlocal looks
        if path == "/log/checkpoint":
            looks += 1
            if looks in (2, 3, 4):
                return 503
            if looks > 6:
                os.kill(os.getpid(), signal.SIGTERM)
            gateway.folder = stages[min(looks // 4, 2)]
        return None

    gateway.before = before
    result = run("mirror", tmp_path / "mine", *options, "--every", "0.1")
    assert result.exit_code == EXIT_HOLDS, result.output
    assert files(tmp_path / "mine") in (files(stages[1]), files(stages[2]))
    assert "entries" in result.output


def test_a_gateway_that_is_not_there_ends_a_single_look_with_3(tmp_path: Path, options: list[str]) -> None:
    options[1] = "http://127.0.0.1:1"
    result = run("mirror", tmp_path / "mine", *options, "--once")
    assert result.exit_code == EXIT_UNAVAILABLE
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize(("present", "offered"), [(40, 60), (60, 60), (60, 40)])
def test_another_history_ends_the_mirror_and_both_checkpoints_are_kept(
    world: World, gateway: Gateway, options: list[str], tmp_path: Path, present: int, offered: int
) -> None:
    gateway.folder = archive_at(world, tmp_path / "honest", present)
    assert run("mirror", tmp_path / "mine", *options, "--once").exit_code == EXIT_HOLDS
    before = files(tmp_path / "mine")
    gateway.folder = other_history(world, tmp_path / "other", offered)
    result = run("mirror", tmp_path / "mine", *options)
    assert result.exit_code == EXIT_DOES_NOT_HOLD, result.output
    assert "two histories" in result.output
    assert before.items() <= files(tmp_path / "mine").items()
    folder = tmp_path / "mine.contradiction"
    kept = files(folder)
    notes = {before["checkpoint"], (gateway.folder / "checkpoint").read_bytes()}
    assert notes < set(kept.values())
    assert len(kept) == 3
    (bundle,) = folder.glob("*.evidence")
    # By itself: without this archive, the gateway, or a checkpoint beside it.
    (tmp_path / "court").mkdir()
    shown = bundle.rename(tmp_path / "court" / bundle.name)
    verified = run_light("verify", shown, "--policy", tmp_path / "border.policy")
    assert verified.returncode == EXIT_HOLDS, verified.stdout + verified.stderr
    claim = "two_roots" if present == offered else "inconsistent_trees"
    assert decode_evidence(shown.read_bytes()).claim.value == claim


def test_what_a_mirror_kept_of_one_lie_stays_when_it_finds_another_and_the_same_again(
    world: World, gateway: Gateway, options: list[str], tmp_path: Path
) -> None:
    gateway.folder = archive_at(world, tmp_path / "honest", 40)
    assert run("mirror", tmp_path / "mine", *options, "--once").exit_code == EXIT_HOLDS
    found: list[dict[str, bytes]] = []
    for offered in (60, 40, 60):
        gateway.folder = other_history(world, tmp_path / f"other{offered}-{len(found)}", offered)
        assert run("mirror", tmp_path / "mine", *options).exit_code == EXIT_DOES_NOT_HOLD
        found.append(files(tmp_path / "mine.contradiction"))
    first, second, third = found
    assert first.items() < second.items()
    assert third == second
    assert len(list((tmp_path / "mine.contradiction").glob("*.evidence"))) == 2


def test_evidence_that_did_not_fit_on_the_disk_is_kept_whole_the_next_time(
    world: World, gateway: Gateway, options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.folder = archive_at(world, tmp_path / "honest", 40)
    assert run("mirror", tmp_path / "mine", *options, "--once").exit_code == EXIT_HOLDS
    gateway.folder = other_history(world, tmp_path / "other", 60)
    with monkeypatch.context() as full:

        def fail(_: int) -> None:
            raise OSError(errno.ENOSPC, "no space left on device")

        full.setattr("nodes.cli.mirror.os.fsync", fail)
        result = run("mirror", tmp_path / "mine", *options)
    assert result.exit_code == EXIT_DOES_NOT_HOLD
    assert "could not be kept" in result.output
    assert not list((tmp_path / "mine.contradiction").glob("*.checkpoint"))
    assert run("mirror", tmp_path / "mine", *options).exit_code == EXIT_DOES_NOT_HOLD
    kept = files(tmp_path / "mine.contradiction")
    assert len(kept) == 3
    assert all(sha256(data).hexdigest().startswith(Path(name).stem) for name, data in kept.items())


def test_a_gateway_that_gives_no_proof_of_its_other_history_still_leaves_both_checkpoints(
    world: World, gateway: Gateway, options: list[str], tmp_path: Path
) -> None:
    gateway.folder = archive_at(world, tmp_path / "honest", 40)
    assert run("mirror", tmp_path / "mine", *options, "--once").exit_code == EXIT_HOLDS
    honest = (tmp_path / "mine/checkpoint").read_bytes()
    gateway.folder = other_history(world, tmp_path / "other", 60)
    shown = 0

    def before(path: str) -> int | None:
        nonlocal shown
        shown += path == "/log/tile/0/000"
        # Once for the mirror itself, and never again.
        return 404 if path == "/log/tile/0/000" and shown > 1 else None

    gateway.before = before
    result = run("mirror", tmp_path / "mine", *options)
    assert result.exit_code == EXIT_DOES_NOT_HOLD, result.output
    kept = files(tmp_path / "mine.contradiction")
    assert {honest, (gateway.folder / "checkpoint").read_bytes()} <= set(kept.values())


def test_a_gateway_that_is_behind_is_waited_for(
    world: World, gateway: Gateway, options: list[str], tmp_path: Path
) -> None:
    assert run("mirror", tmp_path / "mine", *options, "--once").exit_code == EXIT_HOLDS
    before = files(tmp_path / "mine")
    gateway.folder = archive_at(world, tmp_path / "behind", 30)
    result = run("mirror", tmp_path / "mine", *options, "--once")
    assert result.exit_code == EXIT_HOLDS, result.output
    assert files(tmp_path / "mine") == before


@pytest.mark.parametrize("path", ["tile/0/000", "tile/entries/000", "tile/1/000.p/2", "checkpoint"])
def test_one_altered_byte_ends_the_mirror(gateway: Gateway, options: list[str], tmp_path: Path, path: str) -> None:
    altered = gateway.folder / path
    altered.write_bytes(flip(40)(altered.read_bytes()))
    result = run("mirror", tmp_path / "mine", *options)
    assert result.exit_code == EXIT_DOES_NOT_HOLD, result.output
    assert not (tmp_path / "mine/checkpoint").exists()
    assert not (tmp_path / "mine.contradiction").exists()


@pytest.mark.parametrize("where", ["folder", "site"])
def test_an_archive_on_any_web_server_serves_proofs_by_itself(
    world: World, gateway: Gateway, tmp_path: Path, where: str
) -> None:
    raw = world.chain.entry(300)
    (tmp_path / "border.policy").write_bytes(world.policy())

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(gateway.folder))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            pass

    servers = serve(Handler)
    archive = next(servers) if where == "site" else str(gateway.folder)
    try:
        made = run_light(
            "proof", leaf_hash(raw).hex(), "--archive", archive,
            "--policy", tmp_path / "border.policy", "--out", tmp_path / "a.tlog-proof",
        )  # fmt: skip
        missing = run(
            "proof", "00" * 32, "--archive", archive,
            "--policy", tmp_path / "border.policy", "--out", tmp_path / "b.tlog-proof",
        )  # fmt: skip
        (gateway.folder / "tile/entries/001").unlink()
        gone = run(
            "proof", leaf_hash(raw).hex(), "--archive", archive,
            "--policy", tmp_path / "border.policy", "--out", tmp_path / "c.tlog-proof",
        )  # fmt: skip
    finally:
        next(servers, None)
    assert made.returncode == EXIT_HOLDS, made.stderr
    assert (tmp_path / "a.cose").read_bytes() == raw
    verified = run("verify", tmp_path / "a.tlog-proof", "--policy", tmp_path / "border.policy")
    assert verified.exit_code == EXIT_HOLDS, verified.output
    assert missing.exit_code == EXIT_DOES_NOT_HOLD
    assert "is not among" in missing.output
    assert gone.exit_code == (EXIT_UNAVAILABLE if where == "site" else EXIT_DOES_NOT_HOLD), gone.output
    assert {each.name for each in tmp_path.iterdir() if each.suffix == ".tlog-proof"} == {"a.tlog-proof"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["proof", "00", "--out", "x"], "one of --gateway and --archive"),
        (["proof", "00", "--archive", "a", "--out", "x"], "--policy goes with --archive"),
        (["proof", "00", "--gateway", "http://127.0.0.1:1", "--policy", "{policy}", "--out", "x"], "--policy goes"),
        (["proof", "00", "--archive", "a", "--policy", "{policy}", "--wait", "1", "--out", "x"], "no --as"),
        (["proof", "00", "--archive", "a", "--policy", "{policy}", "--out", "x"], "64 hexadecimal digits"),
        (["mirror", "x", "--gateway", "http://127.0.0.1:1", "--policy", "{policy}"], "--as"),
    ],
)  # fmt: skip
def test_wrong_calls_say_what_is_expected(world: World, tmp_path: Path, arguments: list[str], says: str) -> None:
    (tmp_path / "p").write_bytes(world.policy())
    result = run(*(each.replace("{policy}", str(tmp_path / "p")) for each in arguments))
    assert (result.exit_code, says in result.output) == (EXIT_MISUSE, True), result.output
