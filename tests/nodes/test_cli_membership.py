"""`comity membership check`, `policy` and `submit --wait`: what they say and the status that they end with."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from api.problems import type_of
from ledger.algorithms import PrivateKey
from ledger.entry import Genesis
from ledger.membership import Change, Register, Role, Step, Verb, sign_change
from ledger.policy import parse_policy
from nodes.cli import EXIT_DOES_NOT_HOLD, EXIT_HOLDS, EXIT_MISUSE, EXIT_UNAVAILABLE, comity
from nodes.cli import membership as command
from nodes.config import load_validator_config
from nodes.network import Network, init_network
from nodes.newcomer import Addresses, make_newcomer

AUTHORITIES = (("kz-kgd", "KZ"), ("cn-gacc", "CN"))
COMMITTED = (200, {"state": "committed", "number": 1, "detail": ""})
PROPOSED = (200, {"state": "proposed", "number": 1, "detail": "not committed yet"})


class Office:
    """A network that nobody started, and the registrars of both sides."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.network: Network = init_network(directory / "net", origin="comity.example/test", authorities=AUTHORITIES)
        self.genesis_path = self.network.genesis
        self.genesis = Genesis.decode(self.genesis_path.read_bytes())
        self.keys = {
            authority.name: PrivateKey.from_pem(authority.key("registrar").read_bytes())
            for authority in self.network.authorities
        }
        self.register = Register.of_genesis(self.genesis)
        made = make_newcomer(
            directory / "kz-kgd-3",
            name="kz-kgd-3",
            like=load_validator_config(self.network.validators[0].config),
            authority_directory=self.network.authorities[0].directory,
            addresses=Addresses("127.0.0.1", 7100, 7101, 7102, "127.0.0.1"),
        )
        self.add = made.step

    def note(self, change: Change, *names: str) -> bytes:
        data = change.text().encode()
        for name in names:
            data = sign_change(data, self.keys[name], self.genesis)
        return data

    def file(self, name: str, data: bytes) -> Path:
        path = self.directory / name
        path.write_bytes(data)
        return path

    def chain(self, *steps: Step) -> Path:
        """The signed changes that make these steps, one change each."""
        register, notes = self.register, b""
        for step in steps:
            change = register.change([step])
            notes += self.note(change, *self.keys)
            register = register.after(change)
        return self.file("changes.notes", notes)


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    return Office(tmp_path_factory.mktemp("office"))


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(comity, ["membership", *(str(argument) for argument in arguments)])


def check(office: Office, data: bytes, changes: Path, *more: str) -> Result:
    file = office.file("a.change", data)
    return run("check", file, "--genesis", office.genesis_path, "--changes", changes, *more)


# --- check -----------------------------------------------------------------------------------------------------------


def test_a_change_that_both_have_signed_may_be_handed_in(office: Office) -> None:
    result = check(office, office.note(office.register.change([office.add]), *office.keys), office.chain(), "--json")
    report = json.loads(result.output)
    assert (result.exit_code, report["holds"], report["missing"]) == (EXIT_HOLDS, True, [])
    assert sum(line.startswith("observer kz-kgd-3 kz-kgd 127.0.0.1:7100 ") for line in report["members_after"]) == 1
    assert len(report["members_after"]) == 5


@pytest.mark.parametrize("signed", [(), ("kz-kgd",), ("cn-gacc",)])
def test_a_change_that_somebody_has_not_signed_names_who_is_missing(office: Office, signed: tuple[str, ...]) -> None:
    note = office.note(office.register.change([office.add]), *signed)
    result = check(office, note, office.chain())
    missing = ", ".join(name for name in office.keys if name not in signed)
    assert result.exit_code == EXIT_DOES_NOT_HOLD
    assert f"signed by {', '.join(signed) or 'nobody'}; missing {missing}\n" in result.output
    assert "does not hold: " in result.output
    assert "holds: may be handed in" not in result.output


def test_a_change_that_was_made_already_does_not_hold_any_more(office: Office) -> None:
    note = office.note(office.register.change([office.add]), *office.keys)
    result = check(office, note, office.chain(office.add), "--json")
    report = json.loads(result.output)
    assert (result.exit_code, report["holds"]) == (EXIT_DOES_NOT_HOLD, False)
    assert report["signed"] == list(office.keys)
    assert report["problem"]


def test_a_change_with_an_altered_line_is_signed_by_nobody(office: Office) -> None:
    note = office.note(office.register.change([office.add]), *office.keys)
    result = check(office, note.replace(b"127.0.0.1:7100", b"127.0.0.1:7101"), office.chain())
    assert result.exit_code == EXIT_DOES_NOT_HOLD
    assert "holds: may be handed in" not in result.output


def test_changes_so_far_that_do_not_hold_are_not_built_on(office: Office) -> None:
    note = office.note(office.register.change([office.add]), *office.keys)
    one_side = office.file("one.notes", office.note(office.register.change([office.add]), "kz-kgd"))
    result = check(office, note, one_side)
    assert result.exit_code == EXIT_DOES_NOT_HOLD
    assert "changes of the membership do not hold" in result.output
    assert "cn-gacc" in result.output


def test_a_check_needs_to_know_where_the_present_membership_comes_from(office: Office) -> None:
    file = office.file("b.change", office.note(office.register.change([office.add]), *office.keys))
    result = run("check", file, "--genesis", office.genesis_path)
    assert (result.exit_code, "expected one of --gateway and --changes" in result.output) == (EXIT_MISUSE, True)
    result = run("check", office.genesis_path, "--genesis", office.genesis_path, "--changes", office.chain())
    assert result.exit_code == EXIT_MISUSE


# --- policy ----------------------------------------------------------------------------------------------------------


def policy(office: Office, changes: Path, authority: str = "kz-kgd", *more: str | Path) -> Result:
    return run("policy", "--genesis", office.genesis_path, "--changes", changes, "--authority", authority, *more)


def test_the_policy_of_nothing_changed_is_the_one_that_was_handed_out_first(office: Office) -> None:
    for authority in office.network.authorities:
        result = policy(office, office.chain(), authority.name)
        assert result.exit_code == EXIT_HOLDS
        assert parse_policy(result.output.encode()) == parse_policy(authority.policy.read_bytes())


def test_the_policy_names_present_voters_neither_observers_nor_who_left(office: Office) -> None:
    promoted, removed = Step(Verb.PROMOTE, "kz-kgd-3"), Step(Verb.REMOVE, "kz-kgd-2")

    def names(*steps: Step) -> set[str]:
        result = policy(office, office.chain(*steps))
        assert result.exit_code == EXIT_HOLDS
        return {witness.name for witness in parse_policy(result.output.encode()).witnesses}

    at_first = {member.name for member in office.register.of(Role.VOTER)}
    assert names(office.add) == at_first
    assert names(office.add, promoted) == at_first | {"kz-kgd-3"}
    assert names(office.add, promoted, removed) == (at_first | {"kz-kgd-3"}) - {"kz-kgd-2"}


@pytest.mark.parametrize("replaced", [False, True])
def test_a_policy_with_a_log_key_that_was_replaced_is_not_written(
    office: Office, monkeypatch: pytest.MonkeyPatch, replaced: bool
) -> None:
    first = next(each.log_key.hex() for each in Genesis.decode(office.genesis_path.read_bytes()).authorities)
    known = {"authority": "kz-kgd", "kind": "log_key", "waiting": False, "proposal": None, "value": first}
    waits = known | {"waiting": True, "proposal": "kz-kgd/9", "value": "11" * 32}
    keys = [known | {"proposal": "kz-kgd/7", "value": "00" * 32}] if replaced else [known, waits]
    client = SimpleNamespace(membership=lambda: {"changes": []}, governance=lambda: {"keys": keys})
    monkeypatch.setattr("nodes.cli.membership.open_client", lambda *_: nullcontext(client))
    out = office.directory / f"asked-{replaced}.policy"
    result = run(
        "policy", "--genesis", office.genesis_path, "--gateway", "http://x", "--authority", "kz-kgd", "--out", out
    )
    if replaced:
        assert result.exit_code == EXIT_DOES_NOT_HOLD
        assert "kz-kgd/7" in result.output
        assert "comity governance policy" in result.output
    else:
        assert result.exit_code == EXIT_HOLDS, result.output
    assert out.exists() != replaced


def test_the_policy_of_nobody_is_misuse_and_writes_nothing(office: Office) -> None:
    out = office.directory / "nobody.policy"
    result = policy(office, office.chain(), "fr-dgddi", "--out", out)
    assert (result.exit_code, out.exists()) == (EXIT_MISUSE, False)
    assert "'fr-dgddi' is no authority of the genesis record" in result.output


# --- submit ----------------------------------------------------------------------------------------------------------

Answer = tuple[int, dict[str, object]]


class Gateway:
    """Answers what it was told to, one after the other, the last one for ever; None: hangs up without a word."""

    def __init__(self) -> None:
        gateway = self
        self.answers: list[Answer | None] = []
        self.taken: list[bytes] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                gateway.taken.append(self.rfile.read(int(self.headers["content-length"])))
                answer = gateway.answers.pop(0) if len(gateway.answers) > 1 else gateway.answers[0]
                if answer is None:
                    self.close_connection = True
                    return
                body = json.dumps(answer[1]).encode()
                self.send_response(answer[0])
                problem = answer[0] != 200
                self.send_header("content-type", "application/problem+json" if problem else "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Nothing: the tests look at what was taken."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    monkeypatch.setattr(command, "RETRY_PAUSE_S", 0.0)
    made = Gateway()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def refusal(detail: str) -> Answer:
    return 409, {"type": type_of("change_refused"), "status": 409, "title": "refused", "detail": detail}


UNREACHABLE: Answer = (503, {"type": type_of("validators_unreachable"), "status": 503, "title": "No validator answers"})


def submit(office: Office, gateway: Gateway, *more: str) -> tuple[Result, bytes]:
    note = office.note(office.register.change([office.add]), *office.keys)
    return run("submit", office.file("c.change", note), "--gateway", gateway.url, *more), note


@pytest.mark.parametrize(
    "passing",
    [
        refusal("no_leader: nobody leads at the moment"),
        refusal("not_leader: hand it in again"),
        refusal("not_caught_up: kz-kgd-3 is 40 entries behind"),
        refusal("term_not_open: hand it in again"),
        refusal("change_pending: hand it in again"),
        refusal("overloaded: the same change is being handed in"),
        PROPOSED,
    ],
)
def test_what_will_pass_is_waited_for_with_the_same_bytes(office: Office, gateway: Gateway, passing: Answer) -> None:
    gateway.answers = [passing, passing, COMMITTED]
    result, note = submit(office, gateway, "--wait", "600")
    assert (result.exit_code, result.output) == (EXIT_HOLDS, "change 1 is committed\n")
    assert gateway.taken == [note] * 3


def test_a_gateway_that_is_away_for_a_moment_is_waited_for(office: Office, gateway: Gateway) -> None:
    gateway.answers = [None] * 3 + [UNREACHABLE] * 3 + [COMMITTED]
    result, note = submit(office, gateway, "--wait", "600")
    assert (result.exit_code, result.output) == (EXIT_HOLDS, "change 1 is committed\n")
    assert gateway.taken == [note] * 7


def test_a_gateway_that_is_away_is_told_at_once_where_nobody_wants_to_wait(office: Office, gateway: Gateway) -> None:
    gateway.answers = [UNREACHABLE]
    result, _ = submit(office, gateway)
    assert result.exit_code == EXIT_UNAVAILABLE
    assert "validators_unreachable" in result.output


def test_what_will_not_pass_is_asked_once_however_long_one_would_wait(office: Office, gateway: Gateway) -> None:
    gateway.answers = [refusal("authority_without_voter: kz-kgd would have none")]
    result, _ = submit(office, gateway, "--wait", "600")
    assert (result.exit_code, len(gateway.taken)) == (EXIT_DOES_NOT_HOLD, 1)
    assert "error: refused: authority_without_voter: kz-kgd would have none" in result.output


def test_without_wait_one_is_told_at_once_what_to_ask_again(office: Office, gateway: Gateway) -> None:
    gateway.answers = [PROPOSED]
    result, _ = submit(office, gateway, "--json")
    assert (result.exit_code, len(gateway.taken)) == (EXIT_UNAVAILABLE, 1)
    assert json.loads(result.output) == PROPOSED[1]
    gateway.answers = [refusal("no_leader: nobody leads at the moment")]
    result, _ = submit(office, gateway)
    assert (result.exit_code, len(gateway.taken)) == (EXIT_DOES_NOT_HOLD, 2)


def test_a_file_that_is_no_change_is_not_handed_in(office: Office, gateway: Gateway) -> None:
    result = run("submit", office.file("d.change", b"add kz-kgd-3\n"), "--gateway", gateway.url, "--wait", "600")
    assert (result.exit_code, gateway.taken) == (EXIT_MISUSE, [])
