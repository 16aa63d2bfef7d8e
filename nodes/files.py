"""The few files that a validator has beside its stores: the mark of a first start, certificates, evidence of lies.

Promises that what was kept or removed survives a power cut, and that a kept file is there whole or not at all.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from nodes.directories import sync_directory


class Files:
    """See the module. The simulator has another one, in memory."""

    def exists(self, path: Path) -> bool:
        return path.exists()

    def read(self, path: Path) -> bytes:
        """Raises OSError."""
        return path.read_bytes()

    def names(self, folder: Path) -> list[str]:
        """The names of the files in a folder, in order; none if there is no such folder. Raises OSError."""
        try:
            return sorted(each.name for each in folder.iterdir() if each.is_file())
        except FileNotFoundError:
            return []

    def remove(self, path: Path) -> None:
        """Raises OSError."""
        path.unlink()
        sync_directory(path.parent)

    def rename(self, old: Path, new: Path) -> None:
        """Move a file or a folder within one file system; nothing may be at ``new``. Raises OSError."""
        old.rename(new)
        sync_directory(new.parent)
        if old.parent != new.parent:
            sync_directory(old.parent)

    def remove_folder(self, path: Path) -> None:
        """With all that is in it. A power cut may leave any part. Raises OSError."""
        shutil.rmtree(path)
        sync_directory(path.parent)

    def keep(self, path: Path, data: bytes) -> None:
        """Write a file whole or not at all, and its folder if there is none. Raises OSError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
        sync_directory(path.parent)
