"""Programs in Go, over libraries that others wrote, built where there is a Go; skipped, with the reason, where not."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

BUILD_TIMEOUT_S = 600


def build(folder: Path, what: str, binary: Path) -> Path:
    """Build the program in a folder, with the modules that its go.sum pins and no others."""
    go = shutil.which("go")
    if go is None:
        pytest.skip(f"go is not installed: {what} cannot be built")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "CGO_ENABLED": "0"}
        return subprocess.run(
            [go, *arguments], cwd=folder, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, env=environment
        )

    download = run("mod", "download")
    if download.returncode:
        pytest.skip(f"go modules of {what} cannot be had: {download.stderr[-300:]}")
    built = run("build", "-mod=readonly", "-o", str(binary), ".")
    assert built.returncode == 0, built.stderr
    return binary
