"""Every damaged file of the corpus is refused with the class and code that stand in the golden lists, at bounded cost.

`python -m tests.corpus.test_corpus` writes the lists again; what changes in them is what a reviewer looks at.
"""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest

from ledger.errors import Malformed, Untrue
from tests.corpus.formats import FORMATS, Format
from tests.corpus.mutations import HUGE_BYTES, Mutation, mutations

GOLDEN = Path(__file__).parent / "golden"
# Of Python functions called: so many times those of a good file, and so many besides, however the file is damaged.
CALLS_FACTOR = 40
CALLS_MORE = 4000
CALLS_PER_BYTE = 2
# Beside the file itself, and what decoding it must hold for a moment.
MEMORY_FACTOR = 12
MEMORY_MORE_BYTES = 512 * 1024
SAME = "changes nothing"
OTHER = "another good file"


def fate(format_: Format, meaning: object, mutation: Mutation) -> str:
    """What becomes of a damaged file, in a word or two."""
    try:
        read = format_.read(mutation.data)
    except (Malformed, Untrue) as error:
        return f"{type(error).__name__} {error.code}"
    if format_.write is None:
        assert format_.ignored(mutation.data), f"{format_.name}, {mutation.name}: is believed"
        assert read == meaning, f"{format_.name}, {mutation.name}: says something else"
        return SAME
    written = format_.write(read)
    if format_.one_spelling:
        assert written == mutation.data, f"{format_.name}, {mutation.name}: has a second spelling"
    assert format_.read(written) == read, f"{format_.name}, {mutation.name}: is not what is written for it"
    return OTHER


def counted(call: Callable[[], object]) -> tuple[object, int]:
    """What a call returns, and how many Python functions it called."""
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        result = call()
    finally:
        sys.setprofile(before)
    return result, calls


def fates(format_: Format) -> list[str]:
    meaning, good_calls = counted(lambda: format_.read(format_.good))
    lines = []
    for mutation in mutations(format_.good, *format_.rules):
        word, calls = counted(lambda mutation=mutation: fate(format_, meaning, mutation))  # type: ignore[misc]
        limit = CALLS_FACTOR * good_calls + CALLS_MORE + CALLS_PER_BYTE * min(len(mutation.data), HUGE_BYTES)
        assert calls <= limit, f"{format_.name}, {mutation.name}: {calls} calls"
        lines.append(f"{mutation.name}: {word}\n")
    return lines


@pytest.mark.parametrize("format_", FORMATS, ids=lambda format_: format_.name)
def test_every_damaged_file_is_refused_as_the_golden_list_says(format_: Format) -> None:
    if format_.write is not None:
        assert format_.write(format_.read(format_.good)) == format_.good
    found = "".join(fates(format_))
    assert found == (GOLDEN / f"{format_.name}.txt").read_text(encoding="utf-8")


def greedy(format_: Format) -> list[Mutation]:
    """Of each way to make a reader take much, the first change."""
    found: dict[str, Mutation] = {}
    for mutation in mutations(format_.good, *format_.rules):
        for word in ("huge", "count of 2^32", "count of 2^63", "million", "ten thousand", "a thousand", "digits"):
            if word in mutation.name:
                found.setdefault(word, mutation)
    return list(found.values())


@pytest.mark.parametrize("format_", FORMATS, ids=lambda format_: format_.name)
def test_no_damaged_file_takes_more_memory_than_a_few_times_its_length(format_: Format) -> None:
    for mutation in greedy(format_):
        tracemalloc.start()
        try:
            fate(format_, None, mutation)
        except AssertionError:
            continue  # that it is believed, the test above tells
        finally:
            _, peak_bytes = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        limit_bytes = MEMORY_FACTOR * min(len(mutation.data), HUGE_BYTES) + MEMORY_MORE_BYTES
        assert peak_bytes <= limit_bytes, f"{mutation.name}: {peak_bytes} bytes"


def test_the_corpus_is_large_and_the_same_every_time() -> None:
    lists = [(GOLDEN / f"{each.name}.txt").read_text(encoding="utf-8").splitlines() for each in FORMATS]
    assert sum(map(len, lists)) > 10_000
    for each in lists:
        names = [line.rpartition(": ")[0] for line in each]
        assert len(set(names)) == len(names)
    first = FORMATS[0]
    assert list(mutations(first.good, *first.rules)) == list(mutations(first.good, *first.rules))


def test_every_golden_list_is_of_a_format() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == {each.name for each in FORMATS}


def write_golden() -> None:
    GOLDEN.mkdir(exist_ok=True)
    for format_ in FORMATS:
        (GOLDEN / f"{format_.name}.txt").write_text("".join(fates(format_)), encoding="utf-8")


if __name__ == "__main__":
    write_golden()
