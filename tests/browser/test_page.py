"""The whole page in headless Chromium: files dropped on it, good and tampered, and what it then shows."""

from __future__ import annotations

import base64
import json
import os
import queue
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from api.routes.verify import HEADERS, MEDIA_TYPES, pages
from ledger.proof_check import Verdict
from tests.browser.cases import POLICY, Case, good, spoilt, tampered
from tests.ledger.test_formats_document import crossing as crossing_pass

HERE = Path(__file__).parent
PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
PATIENCE_S = 120


def chosen() -> tuple[Case, ...]:
    """Every good file, and of the tampered ones enough of each kind: `test_modules` has them all."""
    return good() + tuple(case for number, case in enumerate(tampered()) if number % 9 == 0) + (spoilt(),)


# One side is enough for it, and a pass that one side alone has signed holds by it.
FOREIGN_POLICY = base64.b64encode(POLICY.replace(b"group both all", b"group both any")).decode()


def brought() -> Case:
    a_pass = crossing_pass()
    return Case("a.pass", replace(a_pass, signatures=a_pass.signatures[:1]).encode())


@pytest.fixture(scope="module")
def chromium() -> str:
    found = next((path for name in PROGRAMS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium is installed: the page is not opened in a browser")
    return found


@contextmanager
def served(reports: queue.Queue[Any]) -> Iterator[str]:
    """The page as the gateway serves it, with its headers, and the harness beside it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.lstrip("/")
            if name.startswith("verify/"):
                content, headers = pages()[name.removeprefix("verify/")], HEADERS
            elif name == "cases.json":
                content, headers = json.dumps([case.as_json() for case in chosen()]).encode(), {}
            elif name == "brought.json":
                content, headers = json.dumps(brought().as_json() | {"foreign": FOREIGN_POLICY}).encode(), {}
            elif name in ("harness.html", "harness.js"):
                content, headers = (HERE / name).read_bytes(), {}
            else:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", MEDIA_TYPES.get(name.rpartition(".")[2], "application/json"))
            for header, value in headers.items():
                self.send_header(header, value)
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            reports.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def shown(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    reports: queue.Queue[Any] = queue.Queue()
    profile = tmp_path_factory.mktemp("profile")
    with served(reports) as url:
        command = [
            chromium,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            f"--user-data-dir={profile}",
        ]
        command += ["--disable-background-networking", "--remote-debugging-port=0", url + "harness.html"]
        with (profile / "log").open("wb") as log:
            # The program may be a script that starts the browser: what is ended is the whole of it.
            browser = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
            try:
                found: dict[str, Any] = reports.get(timeout=PATIENCE_S)
            except queue.Empty:
                pytest.fail("the page did not report: " + (profile / "log").read_text(errors="replace")[-2000:])
            finally:
                os.killpg(browser.pid, signal.SIGKILL)
                browser.wait(30)
    assert "error" not in found, found["error"]
    return found


def test_the_browser_can_check_signatures(shown: dict[str, Any]) -> None:
    if "Ed25519" in shown["before"]:
        pytest.skip("this Chromium is older than 137: it has no Ed25519, and the page says so")
    assert shown["before"] == ""


def test_good_files_are_shown_to_hold_and_tampered_ones_are_not(shown: dict[str, Any]) -> None:
    if "Ed25519" in shown["before"]:
        pytest.skip("this Chromium is older than 137")
    held = 0
    for case, report in zip(chosen(), shown["reports"], strict=True):
        expected = case.expected()
        assert report["holds"] == expected.holds, (case.name, report, expected.checks)
        if expected.holds:
            held += 1
            assert report["title"] == "HOLDS"
            assert report["summary"], case.name
            assert all(verdict.endswith(": holds. ") for verdict in report["checks"])
            assert report["notChecked"] > 0
        elif "trouble" not in report:
            assert report["title"] == "DOES NOT HOLD"
            assert report["summary"] == ""
            first = next(check.name for check in expected.checks if check.verdict is not Verdict.HOLDS)
            assert any(": holds. " not in verdict for verdict in report["checks"]), first
    assert held >= len(good())


def test_a_policy_that_comes_along_with_the_file_it_is_to_judge_is_not_believed(shown: dict[str, Any]) -> None:
    if "Ed25519" in shown["before"]:
        pytest.skip("this Chromium is older than 137")
    found = shown["broughtAlong"]
    # It would hold by that policy: what keeps it from being shown so is that nobody chose it.
    assert found["believed"]["titles"] == ["HOLDS"]
    assert found["first"]["titles"] == []
    assert "came together with the file" in found["first"]["trouble"]
    assert found["first"]["policy"].startswith("No policy yet")
    assert found["second"]["titles"] == []
    assert "is another policy than the one in force" in found["second"]["trouble"]
    assert found["second"]["policy"].startswith("kz.policy")
    assert found["own"]["titles"] == ["DOES NOT HOLD"]


def test_no_character_that_turns_writing_around_is_shown(shown: dict[str, Any]) -> None:
    if "Ed25519" in shown["before"]:
        pytest.skip("this Chromium is older than 137")
    assert [case.name for case in chosen()][-1] == "spoilt.crossing"
    assert [report.get("raw", False) for report in shown["reports"]] == [False] * len(chosen())


def test_nothing_is_wider_than_a_phone(shown: dict[str, Any]) -> None:
    assert not any(report.get("wide") for report in shown["reports"])


def test_the_policy_is_remembered_only_if_that_is_asked_for_and_forgotten_again(shown: dict[str, Any]) -> None:
    found = shown["remembered"]
    assert found["kept"].startswith("policy: comity.")
    assert (found["after"].startswith("No policy yet"), found["stored"]) == (True, None)


def test_the_page_speaks_four_languages(shown: dict[str, Any]) -> None:
    assert {code: title for code, (title, _) in shown["spoken"].items()} == {
        "en": "Verify",
        "ru": "Проверка",
        "kk": "Тексеру",
        "zh": "核验",
    }
    assert len({policy for _, policy in shown["spoken"].values()}) == 4
