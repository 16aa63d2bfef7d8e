"""Disks that fail: one small ext4 file system for each validator, on a loop device over a sparse file.

What each failure is, in the kernel's own terms, so that nothing is imitated:

- full: every free block is allocated to a ballast file; writes fail with ENOSPC;
- frozen: `fsfreeze`: writes and syncs wait until it is thawed, as with a disk that takes seconds;
- read-only: ext4 finds an error (its `trigger_fs_error`) and turns the mounted file system read-only under its users;
- dead, power cut: the shutdown ioctl without a journal flush: from then on everything fails with EIO, and what was not
  synced is gone when it is mounted again. With the processes killed at the same moment, that is a power cut: unlike
  after `kill -9`, the page cache is lost too.

Blocking calls: run them in a thread.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.chaos.machine import loop_device

IMAGE_BYTES: Final = 2 * 1024 * 1024 * 1024
# _IOR('X', 125, __u32), and "do not flush the journal": include/uapi/linux/ext4.h
EXT4_IOC_SHUTDOWN: Final = 0x8004587D
EXT4_GOING_FLAGS_NOLOGFLUSH: Final = 2
COMMAND_TIMEOUT_S: Final = 120.0
BALLAST: Final = "ballast"
MOUNT_OPTIONS: Final = "loop,errors=remount-ro"


class DiskFailed(Exception):
    """A command that prepares or mends a disk failed: a fault of the harness or the machine, not of a validator."""


def _run(*command: str, accept: tuple[int, ...] = (0,)) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode not in accept:
        raise DiskFailed(f"{' '.join(command)}: status {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


@dataclass(slots=True)
class Disk:
    """One validator's disk; `point` is where its data folder is mounted."""

    name: str
    image: Path
    point: Path
    frozen: bool = False

    def create(self) -> None:
        """Make the file system, put what the folder holds on it, and mount it over the folder."""
        with self.image.open("wb") as file:
            file.truncate(IMAGE_BYTES)
        # No reserved blocks: what runs as root here must meet a full disk as anybody would.
        _run("mkfs.ext4", "-q", "-F", "-m", "0", str(self.image))
        held = [(path, path.read_bytes()) for path in self.point.iterdir() if path.is_file()]
        self.mount()
        for path, content in held:
            path.write_bytes(content)
        with contextlib.suppress(OSError):
            (self.point / "lost+found").rmdir()

    def mount(self) -> None:
        _run("mount", "-o", MOUNT_OPTIONS, str(self.image), str(self.point))

    def unmount(self) -> None:
        _run("umount", str(self.point))

    def mend(self) -> None:
        """Unmount, check and mount again; the processes that used it must be gone."""
        self.unmount()
        # 1: errors were corrected.
        _run("e2fsck", "-f", "-y", str(self.image), accept=(0, 1))
        self.mount()

    def remount(self) -> None:
        """Unmount and mount again: the journal is replayed, nothing else is repaired."""
        self.unmount()
        self.mount()

    def fill(self, leave_bytes: int = 0) -> int:
        """Allocate what is free. Returns the size of the ballast."""
        path = self.point / BALLAST
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        total = 0
        try:
            for chunk in (1 << 26, 1 << 22, 1 << 16, 1 << 12):
                while self._free_bytes() - leave_bytes >= chunk:
                    try:
                        os.posix_fallocate(descriptor, total, chunk)
                    except OSError:
                        break
                    total += chunk
        finally:
            os.close(descriptor)
        return total

    def _free_bytes(self) -> int:
        status = os.statvfs(self.point)
        return status.f_bavail * status.f_frsize

    def empty(self) -> None:
        """Take the ballast away."""
        (self.point / BALLAST).unlink(missing_ok=True)

    def freeze(self) -> None:
        _run("fsfreeze", "--freeze", str(self.point))
        self.frozen = True

    def thaw(self) -> None:
        if self.frozen:
            _run("fsfreeze", "--unfreeze", str(self.point))
            self.frozen = False

    def turn_read_only(self) -> None:
        """An error of the file system, noticed by the file system."""
        trigger = Path("/sys/fs/ext4") / loop_device(self.image) / "trigger_fs_error"
        # The write itself fails with EROFS once the file system has turned: that is the fault taking hold.
        with contextlib.suppress(OSError):
            trigger.write_text("chaos\n")
        if os.statvfs(self.point).f_flag & os.ST_RDONLY:
            return
        try:
            (self.point / "probe").touch()
        except OSError:
            return
        raise DiskFailed(f"{self.name}: the file system takes writes after its error")

    def die(self) -> None:
        """Everything fails from now on, and what was not synced is lost."""
        descriptor = os.open(self.point, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, struct.pack("I", EXT4_GOING_FLAGS_NOLOGFLUSH))
        finally:
            os.close(descriptor)

    def copy_to(self, directory: Path) -> None:
        """A copy of the data folder, as an operator's backup of a stopped validator."""
        shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(self.point, directory, ignore=shutil.ignore_patterns("lost+found", BALLAST))

    def restore_from(self, directory: Path) -> None:
        for path in self.point.iterdir():
            if path.name == "lost+found":
                continue
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(directory, self.point, dirs_exist_ok=True)
