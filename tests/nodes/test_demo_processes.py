"""Processes are started, killed and stopped by their ids; none is left behind, and none but ours is touched."""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path

import pytest

from nodes.demo import processes as processes_module
from nodes.demo.processes import NodeProcess, NodeProcesses, Port, is_alive, is_listening
from nodes.demo.steps import CheckFailed

WAITS = "import time; print('started', flush=True); time.sleep(60)"
DEAF = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('started', flush=True); time.sleep(60)"
)
ORDERLY = (
    "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); "
    "print('started', flush=True); time.sleep(60)"
)
CRASHES = "print('something is wrong', flush=True); raise SystemExit(3)"
HAS_CHILD = (
    "import subprocess, sys, time; "
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
    "print(child.pid, flush=True); time.sleep(60)"
)


def _process(tmp_path: Path, code: str, name: str = "node", ports: tuple[Port, ...] = ()) -> NodeProcess:
    return NodeProcess(name, [sys.executable, "-c", code], tmp_path / f"{name}.log", ports)


def _started(process: NodeProcess) -> None:
    process.start()
    deadline_s = time.monotonic() + 10
    while not process.log_tail() and time.monotonic() < deadline_s:
        time.sleep(0.02)
    assert process.log_tail()


def test_leaving_the_block_leaves_no_process_behind_whatever_happened(tmp_path: Path) -> None:
    process = _process(tmp_path, DEAF)

    def fail_while_it_runs() -> None:
        with NodeProcesses([process]):
            _started(process)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_while_it_runs()
    assert process.pid is not None
    assert not is_alive(process.pid)


def test_a_node_that_is_told_to_end_ends_in_order_and_a_deaf_one_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes_module, "STOP_GRACE_S", 1.0)
    with NodeProcesses([_process(tmp_path, ORDERLY, "orderly"), _process(tmp_path, DEAF, "deaf")]) as nodes:
        for process in nodes.processes.values():
            _started(process)
        assert nodes.stop() == {"orderly": 0, "deaf": None}
        assert nodes.check_gone() == (2, 0)


def test_workers_of_a_node_die_with_it(tmp_path: Path) -> None:
    process = _process(tmp_path, HAS_CHILD)
    with NodeProcesses([process]):
        _started(process)
        child = int(process.log_tail())
        assert is_alive(child)
        process.kill()
        deadline_s = time.monotonic() + 5
        while _runs(child) and time.monotonic() < deadline_s:
            time.sleep(0.02)
        assert not _runs(child)


def _runs(pid: int) -> bool:
    """Alive and no zombie: whether an orphan's remains are cleared away at once is the system's business."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_node_that_ended_by_itself_is_named_with_its_status_and_its_last_words(tmp_path: Path) -> None:
    process = _process(tmp_path, CRASHES, "kz-kgd-1")
    with NodeProcesses([process]) as nodes:
        _started(process)
        process.wait(time.monotonic() + 5)
        with pytest.raises(CheckFailed, match=r"kz-kgd-1 ended by itself with status 3(.|\n)*something is wrong"):
            nodes.check_running()


def test_a_killed_node_starts_again_and_both_of_its_process_ids_are_looked_for_at_the_end(tmp_path: Path) -> None:
    with NodeProcesses([_process(tmp_path, ORDERLY)]) as nodes:
        _started(nodes["node"])
        nodes["node"].kill()
        assert not nodes["node"].running
        nodes.start(["node"])
        with pytest.raises(CheckFailed, match="runs already"):
            nodes.start(["node"])
        nodes.stop()
        assert nodes.check_gone() == (2, 0)


def test_a_process_or_port_that_is_still_there_is_found(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = Port("127.0.0.1", listener.getsockname()[1])
        assert is_listening(port)
        nodes = NodeProcesses([_process(tmp_path, WAITS, ports=(port,))])
        with pytest.raises(CheckFailed, match="still listens"):
            nodes.check_gone()
        with nodes:
            _started(nodes["node"])
            with pytest.raises(CheckFailed, match="is still there"):
                nodes.check_gone()
    assert not is_listening(port)
    assert nodes.check_gone() == (1, 1)
