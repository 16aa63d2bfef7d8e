"""Opening, disclosing and verifying on the command line: the light install, and exit statuses for every misfortune."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

import pytest

from contracts.commitments import encode_openings
from contracts.telemetry import Fix, batch_payload, encode_telemetry
from ledger.algorithms import EDDSA, PrivateKey
from ledger.cbor import encode
from ledger.statement import sign_statement
from nodes.cli import EXIT_DOES_NOT_HOLD, EXIT_HOLDS, EXIT_MISUSE, EXIT_UNAVAILABLE
from tests.contracts.corridor import MRN, UCR, content
from tests.contracts.corridor import plan as plan_payload
from tests.ledger.test_proof_check import POLICY, proof_of
from tests.nodes.test_cli import run, run_light

KEY = PrivateKey.generate(EDDSA)
BOTH = ("kz-kgd-1", "cn-gacc-1")


def signed(kind: str, subject: str, payload: Any) -> bytes:
    cti = secrets.token_bytes(16)
    return sign_statement(KEY, kind=kind, iss="kz/declarant/agro", sub=subject, iat_s=1, cti=cti, payload=payload).raw


@pytest.fixture
def sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A declaration sealed by the command itself, with its keys, statement, proof and policy."""
    monkeypatch.chdir(tmp_path)
    for name in ("kz", "cn"):
        assert run("envelope", "new-key", name).exit_code == EXIT_HOLDS
    payload = {"home": "kz-kgd", "partner": "cn-gacc", "content": content()}
    Path("payload.json").write_text(json.dumps(payload))
    done = run(
        *("envelope", "seal", "--payload", "payload.json", "--about", UCR, "--hide", "all"),
        *("--seal-to", "kz-kgd=kz.pub", "--seal-to", "cn-gacc=cn.pub"),
        *("--out", "payload.cbor", "--envelope", "envelope", "--openings", "openings", "--json"),
    )
    assert done.exit_code == EXIT_HOLDS, done.output
    assert json.loads(done.stdout)["fields"] == ["consignee", "consignor", "goods/0/description"]
    from ledger.cbor import decode

    statement = signed("declaration.lodge", UCR, decode(Path("payload.cbor").read_bytes()))
    Path("lodge.cose").write_bytes(statement)
    Path("lodge.tlog-proof").write_bytes(proof_of(statement, BOTH))
    Path("policy").write_bytes(POLICY)
    return tmp_path


def test_an_authority_opens_and_a_third_party_verifies_on_the_light_install(sealed: Path) -> None:
    opened = run_light("envelope", "open", "envelope", "--key", "cn", "--statement", "lodge.cose", "--json")
    assert opened.returncode == EXIT_HOLDS, opened.stderr
    assert json.loads(opened.stdout)["content"] == content()
    made = run(
        *("disclosure", "new", "--statement", "lodge.cose", "--proof", "lodge.tlog-proof", "--openings", "openings"),
        *("--field", "consignee", "--out", "shown"),
    )
    assert made.exit_code == EXIT_HOLDS, made.output
    verified = run_light("disclosure", "verify", "shown", "--policy", "policy", "--json")
    assert verified.returncode == EXIT_HOLDS, verified.stderr
    assert json.loads(verified.stdout)["fields"] == {"consignee": "Tacheng Flour Mill"}


def test_private_files_are_readable_by_their_owner_alone_and_nothing_is_overwritten(sealed: Path) -> None:
    for name in ("kz", "openings"):
        assert Path(name).stat().st_mode & 0o777 == 0o600
    assert run("envelope", "new-key", "kz").exit_code == EXIT_MISUSE
    assert "nothing is overwritten" in run("envelope", "new-key", "kz").output


def test_an_envelope_that_is_not_the_statements_or_not_for_this_key_ends_with_1(sealed: Path) -> None:
    other = signed("declaration.lodge", UCR, {"content": content()})
    Path("other.cose").write_bytes(other)
    result = run("envelope", "open", "envelope", "--key", "cn", "--statement", "other.cose")
    assert (result.exit_code, "envelope_not_expected" in result.output) == (EXIT_DOES_NOT_HOLD, True)
    data = Path("envelope").read_bytes()
    Path("changed").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    result = run("envelope", "open", "changed", "--key", "cn", "--statement", "lodge.cose")
    assert (result.exit_code, "envelope_of_another" in result.output) == (EXIT_DOES_NOT_HOLD, True)
    assert run("envelope", "new-key", "stranger").exit_code == EXIT_HOLDS
    result = run("envelope", "open", "envelope", "--key", "stranger", "--statement", "lodge.cose")
    assert (result.exit_code, "not_for_this_key" in result.output) == (EXIT_DOES_NOT_HOLD, True)
    result = run("envelope", "open", "envelope", "--key", "none", "--statement", "lodge.cose")
    assert result.exit_code == EXIT_UNAVAILABLE


def test_a_declarant_that_committed_to_nonsense_is_found_out_when_the_envelope_is_opened(sealed: Path) -> None:
    """The contracts cannot see it: the commitment is well formed, the value is not one that may be lodged."""
    from api.envelope import public_key_of_pem
    from api.sealing import seal_content

    keys = {"kz-kgd": public_key_of_pem(Path("kz.pub").read_bytes())}
    bad = seal_content(UCR, content(consignee="x" * 201), ["consignee"], keys)
    Path("bad.envelope").write_bytes(bad.envelope.encode())
    Path("bad.cose").write_bytes(signed("declaration.lodge", UCR, {"content": bad.content}))
    result = run("envelope", "open", "bad.envelope", "--key", "kz", "--statement", "bad.cose")
    assert (result.exit_code, "revealed_content_refused" in result.output) == (EXIT_DOES_NOT_HOLD, True)
    swapped = seal_content(UCR, content(), ["consignee"], keys)
    Path("bad.cose").write_bytes(
        signed("declaration.lodge", UCR, {"content": {**bad.content, "envelope_sha256": swapped.envelope.sha256}})
    )
    Path("bad.envelope").write_bytes(swapped.envelope.encode())
    result = run("envelope", "open", "bad.envelope", "--key", "kz", "--statement", "bad.cose")
    assert (result.exit_code, "commitment_differs" in result.output) == (EXIT_DOES_NOT_HOLD, True)


def test_anothers_envelope_with_copied_commitments_is_not_taken_for_ones_own(sealed: Path) -> None:
    """A carrier sees commitments and hash of the declaration it carries, and may lodge both as its own."""
    from ledger.statement import parse_statement

    payload = parse_statement(Path("lodge.cose").read_bytes()).payload
    Path("copied.cose").write_bytes(signed("declaration.lodge", "KZ26-COPIED", payload))
    result = run("envelope", "open", "envelope", "--key", "kz", "--statement", "copied.cose")
    assert (result.exit_code, "envelope_of_another" in result.output) == (EXIT_DOES_NOT_HOLD, True)
    assert "Tacheng" not in result.output


def test_a_statement_that_no_ledger_would_take_ends_with_1_and_no_trace_of_the_program(sealed: Path) -> None:
    from api.envelope import public_key_of_pem, seal_envelope
    from contracts.commitments import Opening

    for name in ("goods/7/description", "goods/x/value", "documents/x"):
        opening = Opening(name, bytes(16), "x")
        envelope = seal_envelope(UCR, [opening], {"kz-kgd": public_key_of_pem(Path("kz.pub").read_bytes())})
        commitments = [{"name": name, "sha256": opening.commitment}]
        forged = content() | {"commitments": commitments, "envelope_sha256": envelope.sha256}
        Path("forged.cose").write_bytes(signed("declaration.lodge", UCR, {"content": forged}))
        Path("forged").write_bytes(envelope.encode())
        result = run("envelope", "open", "forged", "--key", "kz", "--statement", "forged.cose")
        assert (result.exit_code, "content_refused" in result.output) == (EXIT_DOES_NOT_HOLD, True), result.output


def test_what_a_stranger_committed_to_moves_no_cursor_and_turns_no_line(sealed: Path) -> None:
    from api.envelope import public_key_of_pem
    from api.sealing import seal_content

    keys = {"kz-kgd": public_key_of_pem(Path("kz.pub").read_bytes())}
    made = seal_content(UCR, content(consignee="Астык \x9b2J\u202e\x7f"), ["consignee"], keys)
    Path("made").write_bytes(made.envelope.encode())
    Path("made.cose").write_bytes(signed("declaration.lodge", UCR, {"content": made.content}))
    result = run("envelope", "open", "made", "--key", "kz", "--statement", "made.cose")
    assert result.exit_code == EXIT_HOLDS, result.output
    assert "Астык \\u009b2J\\u202e\\u007f" in result.stdout
    assert result.stdout.replace("\n", "").isprintable()


MISUSE: list[tuple[str, list[str]]] = [
    ("a field that is not there", ["--hide", "goods/7/value", "--seal-to", "kz-kgd=kz.pub"]),
    ("a field of no name", ["--hide", "price", "--seal-to", "kz-kgd=kz.pub"]),
    ("no keys", ["--hide", "consignee"]),
    ("a key without a name", ["--hide", "consignee", "--seal-to", "kz.pub"]),
    ("a key that is none", ["--hide", "consignee", "--seal-to", "kz-kgd=payload.json"]),
    (
        "keys by file and by gateway",
        ["--hide", "consignee", "--seal-to", "a=kz.pub", "--gateway", "http://127.0.0.1:1"],
    ),
]


@pytest.mark.parametrize(("what", "options"), MISUSE, ids=[row[0] for row in MISUSE])
def test_sealing_what_cannot_be_ends_with_2_and_writes_nothing(sealed: Path, what: str, options: list[str]) -> None:
    before = sorted(path.name for path in sealed.iterdir())
    out = ("--out", "p", "--envelope", "e", "--openings", "o")
    result = run("envelope", "seal", "--payload", "payload.json", "--about", UCR, *options, *out)
    assert result.exit_code == EXIT_MISUSE, result.output
    assert sorted(path.name for path in sealed.iterdir()) == before


def test_fields_sealed_to_one_side_only_are_not_written(sealed: Path) -> None:
    out = ("--out", "p", "--envelope", "e", "--openings", "o")
    seal = ("envelope", "seal", "--payload", "payload.json", "--about", UCR, "--hide", "consignee", *out)
    result = run(*seal, "--seal-to", "kz-kgd=kz.pub")
    assert (result.exit_code, "no key of cn-gacc" in result.output) == (EXIT_MISUSE, True)
    result = run(*seal, "--seal-to", "cn-gacc=cn.pub", "--seal-to", "another=kz.pub")
    assert (result.exit_code, "no key of kz-kgd" in result.output) == (EXIT_MISUSE, True)
    assert not any(Path(name).exists() for name in "peo")


def test_disclosing_what_one_cannot_ends_before_a_file_is_there(sealed: Path) -> None:
    common = ("disclosure", "new", "--statement", "lodge.cose", "--proof", "lodge.tlog-proof", "--out", "shown")
    assert run(*common, "--openings", "openings", "--field", "value").exit_code == EXIT_MISUSE
    from contracts.commitments import Opening

    Path("others").write_bytes(encode_openings([Opening("consignee", bytes(16), "x")]))
    assert run(*common, "--openings", "others", "--field", "consignee").exit_code == EXIT_DOES_NOT_HOLD
    assert not Path("shown").exists()
    Path("shown").write_bytes(b"no disclosure")
    assert run("disclosure", "verify", "shown", "--policy", "policy").exit_code == EXIT_DOES_NOT_HOLD


def test_a_batch_is_made_and_verified_against_its_statement_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fixes = [{"at_ms": number, "latitude_udeg": 1, "longitude_udeg": 2, "speed_mm_s": number} for number in (1, 5)]
    Path("fixes").write_text("".join(json.dumps(fix) + "\n" for fix in fixes))
    made = run("telemetry", "new", "fixes", "--out", "batch", "--payload", "payload", "--json")
    assert json.loads(made.stdout)["longest_gap_ms"] == 4
    raw = Path("batch").read_bytes()
    assert raw == encode_telemetry([Fix(1, 1, 2, 1), Fix(5, 1, 2, 5)])
    assert Path("payload").read_bytes() == encode({"batch": batch_payload(raw)})
    statement = signed("escort.position", "26KZ000000000001J9", {"batch": batch_payload(raw)})
    Path("p.cose").write_bytes(statement)
    Path("p.tlog-proof").write_bytes(proof_of(statement, BOTH))
    Path("policy").write_bytes(POLICY)
    proven = ("--proof", "p.tlog-proof", "--policy", "policy")
    held = run_light("telemetry", "verify", "batch", "--statement", "p.cose", *proven, "--json")
    assert held.returncode == EXIT_HOLDS, held.stderr
    assert json.loads(held.stdout) | {"top_speed_mm_s": 5, "on_ledger": True, "fixes": 2} == json.loads(held.stdout)
    Path("p.tlog-proof").write_bytes(proof_of(statement, BOTH[:1]))
    result = run("telemetry", "verify", "batch", "--statement", "p.cose", *proven)
    assert (result.exit_code, "quorum" in result.output) == (EXIT_DOES_NOT_HOLD, True)
    Path("other").write_bytes(encode_telemetry([Fix(1, 1, 2, 1)]))
    assert run("telemetry", "verify", "other", "--statement", "p.cose").exit_code == EXIT_DOES_NOT_HOLD
    assert run("telemetry", "verify", "batch", "--statement", "p.cose", "--policy", "policy").exit_code == EXIT_MISUSE
    Path("fixes").write_text('{"at_ms": 1}\n')
    again = run("telemetry", "new", "fixes", "--out", "b", "--payload", "q")
    assert (again.exit_code, "line 1" in again.output) == (EXIT_MISUSE, True)


def test_a_batch_is_held_against_the_corridor_of_its_movement_s_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mrn = MRN
    plan = plan_payload()
    Path("plan.cose").write_bytes(signed("escort.plan", mrn, plan))
    for name, fixes, outside in (
        ("inside", [Fix(1, 46_660_000, 82_750_000, 1), Fix(5, 46_662_000, 82_760_000, 5)], 0),
        ("outside", [Fix(1, 46_660_000, 82_750_000, 1), Fix(5, 47_660_000, 82_760_000, 5)], 1),
    ):
        raw = encode_telemetry(fixes)
        Path(name).write_bytes(raw)
        Path(f"{name}.cose").write_bytes(signed("escort.position", mrn, {"batch": batch_payload(raw)}))
        verify = ("telemetry", "verify", name, "--statement", f"{name}.cose", "--plan", "plan.cose")
        result = run(*verify, "--place", "CNBKT=46700000,82900000", "--json")
        assert result.exit_code == (EXIT_DOES_NOT_HOLD if outside else EXIT_HOLDS), result.output
        shown = json.loads(result.stdout)
        assert (shown["holds"], shown["fixes_outside"], shown["corridor_m"]) == (
            not outside,
            outside,
            plan["corridor_m"],
        )
        unknown = run(*verify)
        assert (unknown.exit_code, "position of CNBKT is not known" in unknown.output) == (EXIT_MISUSE, True)
        assert run(*verify, "--place", "CNBKT=46.7,82.9").exit_code == EXIT_MISUSE
    Path("other.cose").write_bytes(signed("escort.plan", "19GBCKKCQSXV2FGVA8", plan))
    other = run("telemetry", "verify", "inside", "--statement", "inside.cose", "--plan", "other.cose")
    assert (other.exit_code, "expected the escort.plan of" in other.output) == (EXIT_DOES_NOT_HOLD, True)
