"""The node processes of a run: started, watched, killed and stopped by process id, and only those started here.

Each process leads a process group of its own, so that a Ctrl-C at the terminal reaches the demo alone and the demo
decides how its nodes end, and so that workers of a node end with it. What a node prints goes to its own log file.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nodes.demo.steps import CheckFailed

STOP_GRACE_S = 15.0
LOG_TAIL_BYTES = 2000


@dataclass(frozen=True, slots=True)
class Port:
    host: str
    port: int


@dataclass(slots=True)
class NodeProcess:
    """One validator or gateway: its command, where its output goes, and the ports that it holds while it runs."""

    name: str
    command: Sequence[str]
    log: Path
    ports: tuple[Port, ...] = ()
    _process: subprocess.Popen[bytes] | None = None
    pids: list[int] = field(default_factory=list)

    def start(self) -> None:
        if self.running:
            raise CheckFailed(f"{self.name} runs already")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                list(self.command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.pids.append(self._process.pid)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def exit_status(self) -> int | None:
        return self._process.poll() if self._process is not None else None

    def log_tail(self) -> str:
        """The end of its log, for an error message."""
        try:
            with self.log.open("rb") as log:
                log.seek(0, os.SEEK_END)
                log.seek(max(0, log.tell() - LOG_TAIL_BYTES))
                return log.read().decode(errors="replace").strip()
        except OSError:
            return ""

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def kill(self) -> None:
        """SIGKILL, as a power cut would: the process gets no chance to put anything in order."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def wait(self, deadline_s: float) -> int | None:
        """Its exit status, or None when it still runs at the deadline (of the monotonic clock)."""
        if self._process is None:
            return None
        try:
            return self._process.wait(max(0.0, deadline_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            return None


class NodeProcesses:
    """All processes of a run. Leaving the `with` block leaves none of them behind."""

    def __init__(self, processes: Iterable[NodeProcess]) -> None:
        self.processes = {process.name: process for process in processes}

    def __enter__(self) -> NodeProcesses:
        return self

    def __exit__(self, *exception: object) -> None:
        for process in self.processes.values():
            process.kill()

    def __getitem__(self, name: str) -> NodeProcess:
        return self.processes[name]

    def start(self, names: Iterable[str] | None = None) -> None:
        for name in names if names is not None else list(self.processes):
            self.processes[name].start()

    def check_running(self, names: Iterable[str] | None = None) -> None:
        """Raises CheckFailed naming the process that ended by itself, with the end of its log."""
        for name in names if names is not None else list(self.processes):
            process = self.processes[name]
            if not process.running:
                status, tail = process.exit_status, process.log_tail()
                raise CheckFailed(f"{name} ended by itself with status {status}; its log ends:\n{tail}")

    def stop(self) -> dict[str, int | None]:
        """Ask all to end, wait, and kill those that do not. Returns each exit status (None: had to be killed)."""
        for process in self.processes.values():
            process.terminate()
        deadline_s = time.monotonic() + STOP_GRACE_S
        statuses = {name: process.wait(deadline_s) for name, process in self.processes.items()}
        for process in self.processes.values():
            process.kill()
        return statuses

    def check_gone(self) -> tuple[int, int]:
        """Raises CheckFailed if a process or a port of ours is still there. Returns how many of each it looked at."""
        pids = [pid for process in self.processes.values() for pid in process.pids]
        for pid in pids:
            if is_alive(pid):
                raise CheckFailed(f"process {pid} is still there")
        ports = [port for process in self.processes.values() for port in process.ports]
        for port in ports:
            if is_listening(port):
                raise CheckFailed(f"somebody still listens on {port.host}:{port.port}")
        return len(pids), len(ports)


def comity_command(*arguments: str) -> list[str]:
    """`comity` of this very installation, whatever is on the path."""
    return [sys.executable, "-m", "nodes.cli", *arguments]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # the number went to somebody else's process: ours is gone
        return False
    return True


def is_listening(port: Port) -> bool:
    try:
        with socket.create_connection((port.host, port.port), timeout=1.0):
            return True
    except OSError:
        return False
