"""What this machine allows, and entering namespaces that vanish with the process.

Chaos runs in network, mount and process namespaces of its own (`unshare`): nothing outside is seen, mounted, signalled
or routed differently, and when it ends, however it ends, the kernel takes away every process, device and mount with it.

`probe` says for each ability whether it is there, and if not, why: the report prints the table, and fault kinds that
need what is missing are skipped with that reason. Nothing is pretended.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROBE_TIMEOUT_S: Final = 30.0
INSIDE: Final = "COMITY_CHAOS_INSIDE"
UNSHARE: Final = ("unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child")

NAMESPACES: Final = "namespaces"
SWITCH: Final = "switch"
DISKS: Final = "disks"
DISK_ERRORS: Final = "disk_errors"
DISK_FREEZE: Final = "disk_freeze"
CLOCK: Final = "clock"
NETEM: Final = "netem"


@dataclass(frozen=True, slots=True)
class Ability:
    """Something that faults may need. `reason` says how it was found, or why it is not there."""

    name: str
    there: bool
    reason: str


def _run(command: Sequence[str]) -> tuple[bool, str]:
    try:
        done = subprocess.run(
            list(command),
            capture_output=True,
            text=True,
            timeout=PROBE_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, str(error)
    lines = (done.stderr or done.stdout).strip().splitlines()
    return done.returncode == 0, lines[-1] if lines else f"exit status {done.returncode}"


def _missing(*programs: str) -> str:
    absent = [program for program in programs if shutil.which(program) is None]
    return f"{', '.join(absent)} not installed" if absent else ""


def can_enter() -> Ability:
    """Whether namespaces can be made at all."""
    absent = _missing("unshare", "nsenter", "ip", "mount")
    if absent:
        return Ability(NAMESPACES, False, absent)
    there, said = _run([*UNSHARE, "true"])
    return Ability(NAMESPACES, there, "unshare: network, mount, process" if there else f"unshare: {said}")


def enter(arguments: Sequence[str]) -> None:
    """Become the same program inside the namespaces. Does not return."""
    os.environ[INSIDE] = "1"
    os.execvp(UNSHARE[0], [*UNSHARE, sys.executable, "-m", "tests.chaos", *arguments])


def is_inside() -> bool:
    return os.environ.get(INSIDE) == "1"


def probe(inside: bool, reason: str = "") -> dict[str, Ability]:
    """Every ability. Inside the namespaces only: everything that is tried vanishes with them."""
    if not inside:
        why = f"no namespaces: {reason}"
        abilities = [Ability(name, False, why) for name in (NAMESPACES, SWITCH, DISKS, DISK_ERRORS, DISK_FREEZE, NETEM)]
        return {item.name: item for item in (*abilities, _clock())}
    with tempfile.TemporaryDirectory() as directory:
        disks = _disks(Path(directory))
    abilities = [
        Ability(NAMESPACES, True, "unshare: network, mount, process"),
        _switch(),
        *disks,
        _netem(),
        _clock(),
    ]
    return {item.name: item for item in abilities}


def _switch() -> Ability:
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR))
    except OSError as error:
        return Ability(SWITCH, False, f"/dev/net/tun: {error.strerror}")
    return Ability(SWITCH, True, "TUN devices; packets pass through tests/chaos/switch.py")


def _netem() -> Ability:
    """Only to say so: the switch does it instead, here and everywhere."""
    there, said = _run(["tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"])
    _run(["tc", "qdisc", "del", "dev", "lo", "root"])
    return Ability(
        NETEM, there, "there, not needed: the switch does the same by seed" if there else f"tc netem: {said}"
    )


def _clock() -> Ability:
    absent = _missing("cc")
    return Ability(CLOCK, not absent, absent or "cc: tests/chaos/clock_step.c preloaded into validators")


def _disks(directory: Path) -> list[Ability]:
    absent = _missing("mkfs.ext4", "e2fsck", "losetup", "umount")
    if absent:
        return [Ability(name, False, absent) for name in (DISKS, DISK_ERRORS, DISK_FREEZE)]
    image, point = directory / "image", directory / "mounted"
    point.mkdir()
    with image.open("wb") as file:
        file.truncate(32 * 1024 * 1024)
    for command in (["mkfs.ext4", "-q", "-F", str(image)], ["mount", "-o", "loop", str(image), str(point)]):
        done, said = _run(command)
        if not done:
            return [Ability(name, False, said) for name in (DISKS, DISK_ERRORS, DISK_FREEZE)]
    try:
        loop = loop_device(image)
        trigger = Path("/sys/fs/ext4") / loop / "trigger_fs_error"
        errors = os.access(trigger, os.W_OK)
        freezer = _missing("fsfreeze")
        return [
            Ability(DISKS, True, "ext4 on loop devices"),
            Ability(DISK_ERRORS, errors, f"{trigger.name} of ext4" if errors else f"{trigger} cannot be written"),
            Ability(DISK_FREEZE, not freezer, freezer or "fsfreeze"),
        ]
    finally:
        _run(["umount", str(point)])


def loop_device(image: Path) -> str:
    """The loop device over an image, as `loop3`. Raises FileNotFoundError."""
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        if backing.read_text().strip() == str(image.resolve()):
            return backing.parent.parent.name
    raise FileNotFoundError(f"no loop device holds {image}")


def describe() -> dict[str, str]:
    """The machine, for the report."""
    memory = ""
    with open("/proc/meminfo") as lines:
        for line in lines:
            if line.startswith("MemTotal:"):
                memory = f"{int(line.split()[1]) // 1024} MiB"
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": memory,
        "python": platform.python_version(),
    }


def commit(repository: Path) -> str:
    """The commit that is being tested, with a plus sign if files differ from it."""
    there, said = _run(["git", "-C", str(repository), "rev-parse", "HEAD"])
    if not there:
        return "unknown"
    clean, _ = _run(["git", "-C", str(repository), "diff", "--quiet", "HEAD"])
    return said.strip()[:12] + ("" if clean else "+")
