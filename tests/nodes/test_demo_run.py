"""The run as a whole: what it refuses, what it leaves behind, how it ends when it is told to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from nodes.demo import DemoOptions, run_demo
from nodes.demo import run as run_module
from nodes.demo.display import LiveDisplay, PlainDisplay, SilentDisplay, choose_display
from nodes.demo.processes import comity_command, is_alive
from nodes.demo.steps import CheckFailed, Step, StepFailed, Steps, require


def test_a_directory_that_is_not_empty_is_never_written_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    assert run_demo(DemoOptions(out=tmp_path, json=True)) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "is there already and is not an empty directory" in shown.err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    assert run_demo(DemoOptions(out=tmp_path / "mine.txt")) == 2


def test_a_scenario_with_faults_is_misuse_and_its_faults_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[scenario]\nname = "x"\n')
    assert run_demo(DemoOptions(scenario=path, out=tmp_path / "out")) == 2
    shown = capsys.readouterr()
    assert "scenario.title: is missing" in shown.err
    assert shown.out == ""
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("trucks", [0, -1, 100_000])
def test_a_number_of_trucks_out_of_reach_is_misuse(trucks: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_demo(DemoOptions(trucks=trucks)) == 2
    assert "--trucks: expected 1 to" in capsys.readouterr().err


def test_a_step_that_does_not_hold_is_named_and_makes_the_run_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("nodes.demo.online.init_network", fail)
    out = tmp_path / "out"
    assert run_demo(DemoOptions(out=out, json=True)) == 1
    shown = capsys.readouterr()
    assert "step network did not hold: no space left on device" in shown.err
    report = json.loads(shown.out)
    assert report == json.loads((out / "report.json").read_text())
    assert (report["ok"], report["steps"][-1]["name"], report["steps"][-1]["ok"]) == (False, "network", False)


def test_nothing_but_the_report_goes_to_standard_output_with_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def nothing(run: object) -> object:
        return None

    monkeypatch.setattr(run_module, "run_online", nothing)
    monkeypatch.setattr(run_module, "run_offline", lambda run, network: None)
    # No step was taken, so none held: an empty run is no success.
    assert run_demo(DemoOptions(out=tmp_path / "out", json=True)) == 1
    shown = capsys.readouterr()
    assert json.loads(shown.out)["ok"] is False
    assert shown.err == ""


def test_the_way_of_showing_follows_from_where_it_is_shown() -> None:
    from rich.console import Console

    from nodes.demo.board import Board

    board = Board()
    assert isinstance(choose_display(board, Console(force_terminal=True), silent=False), LiveDisplay)
    assert isinstance(choose_display(board, Console(force_terminal=False), silent=False), PlainDisplay)
    assert isinstance(choose_display(board, Console(force_terminal=True), silent=True), SilentDisplay)


def test_steps_are_timed_told_and_stop_at_the_first_that_fails() -> None:
    told: list[tuple[str, bool, str]] = []
    ticks = iter(range(10))
    steps = Steps(lambda step: told.append((step.name, step.ok, step.detail)), clock=lambda: float(next(ticks)))

    def second() -> None:
        with steps.step("second", "The second"):
            require(False, "two is not three")

    with steps.step("first", "The first") as step:
        step.detail = "done"
    with pytest.raises(StepFailed, match="second: two is not three") as raised:
        second()
    assert isinstance(raised.value.__cause__, CheckFailed)
    assert told == [
        ("first", False, ""),
        ("first", True, "done"),
        ("second", False, ""),
        ("second", False, "two is not three"),
    ]
    assert not steps.held
    assert [step.as_report()["seconds"] for step in steps.taken] == [1.0, 1.0]


def test_live_and_plain_displays_draw_a_run_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    from nodes.demo.board import AuthorityLine, Board, TruckLine

    board = Board(title="a corridor", state="waiting for cn-gacc")
    for number in range(30):
        board.trucks[str(number)] = TruckLine(str(number), f"truck {number}", "eastbound", 20, waiting=number % 3)
    board.authorities["cn-gacc"] = AuthorityLine("cn-gacc", 2, 0, remark="away")
    for make in (LiveDisplay, PlainDisplay):
        with make(board, Console(force_terminal=make is LiveDisplay, width=160)) as display:
            step = Step("cross", "Trucks set out")
            display.step(step)
            display.refresh()
            step.ok, step.detail = True, "all of them [not markup]"
            display.step(step)
    shown = capsys.readouterr().out
    for part in (
        "a corridor",
        "and 6 more",
        "away",
        "all of them [not markup]",
        "waiting for cn-gacc",
        "trucks done 0/30",
    ):
        assert part in shown


@pytest.mark.processes
def test_a_run_that_is_told_to_end_stops_every_process_and_says_where_the_logs_are(tmp_path: Path) -> None:
    out = tmp_path / "out"
    demo = subprocess.Popen(
        comity_command("demo", "--short", "--out", str(out)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    try:
        deadline_s = time.monotonic() + 60
        while time.monotonic() < deadline_s and len(list(out.glob("logs/*.log"))) < 6:
            time.sleep(0.1)
        nodes = _children(demo.pid)
        demo.send_signal(signal.SIGTERM)
        _, errors = demo.communicate(timeout=30)
    finally:
        demo.kill()
    assert len(nodes) == 6
    assert demo.returncode == 130
    assert "every process that the demo started was stopped" in errors.decode()
    assert str(out / "logs") in errors.decode()
    assert not [pid for pid in nodes if is_alive(pid)]
    assert json.loads((out / "report.json").read_text())["ok"] is False
    # The private keys went with the working directory.
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def _children(pid: int) -> list[int]:
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
