"""The bare cost that everything is compared with: Ed25519 checks through PyNaCl, on one thread and on all cores.

Message and signature are of a real statement, `crypto_sign_open` is the call: libsodium without anything of ours around
it. The other figures of the benchmark are given as a ratio to this one, taken in the same run on the same machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from nacl.bindings import crypto_sign, crypto_sign_open, crypto_sign_seed_keypair

MESSAGE_BYTES = 320
CHUNK = 200


def _check(signed: bytes, key: bytes, count: int) -> None:
    for _ in range(count):
        crypto_sign_open(signed, key)


def _rate(threads: int, seconds: float) -> float:
    key, secret = crypto_sign_seed_keypair(bytes(32))
    signed = crypto_sign(bytes(MESSAGE_BYTES), secret)

    def work(deadline: float) -> int:
        done = 0
        while time.perf_counter() < deadline:
            _check(signed, key, CHUNK)
            done += CHUNK
        return done

    with ThreadPoolExecutor(threads) as pool:
        started = time.perf_counter()
        done = sum(pool.map(work, [started + seconds] * threads))
        return done / (time.perf_counter() - started)


def _bare_process_rss_mb() -> float:
    """Memory of an interpreter that has imported PyNaCl, checked a signature and done nothing else."""
    program = (
        "import psutil\n"
        "from nacl.bindings import crypto_sign, crypto_sign_open, crypto_sign_seed_keypair\n"
        "key, secret = crypto_sign_seed_keypair(bytes(32))\n"
        "crypto_sign_open(crypto_sign(bytes(320), secret), key)\n"
        "print(psutil.Process().memory_info().rss)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return int(done.stdout) / 2**20


def measure_signatures(seconds: float) -> dict[str, Any]:
    """Checks a second on one thread and on as many threads as there are cores."""
    cores = len(os.sched_getaffinity(0))
    one = _rate(1, seconds)
    every = _rate(cores, seconds)
    return {
        "one_thread_per_s": round(one),
        "all_cores_per_s": round(every),
        "threads": cores,
        "one_check_us": round(1e6 / one, 1),
        "bare_process_rss_mb": round(_bare_process_rss_mb(), 1),
    }


def bare_check_us(checks: int = 500) -> float:
    """What one check takes of a processor just now, whoever else uses the machine."""
    key, secret = crypto_sign_seed_keypair(bytes(32))
    signed = crypto_sign(bytes(MESSAGE_BYTES), secret)
    started = time.thread_time()
    _check(signed, key, checks)
    return (time.thread_time() - started) / checks * 1e6
