"""The log with its tail in memory against a plain list, under everything a follower and its disk do to it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from consensus.log import Log
from consensus.messages import Entry
from consensus.quorum import Configuration, Membership
from consensus.storage import MemoryStorage

operations = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 4)),
        st.tuples(st.just("replace"), st.integers(0, 5)),
        st.tuples(st.just("take"), st.just(0)),
        st.tuples(st.just("written"), st.just(0)),
        st.tuples(st.just("commit"), st.integers(0, 5)),
        st.tuples(st.just("apply"), st.integers(1, 30)),
    ),
    max_size=40,
)


@given(operations, st.sampled_from([1, 20, 1000]))
def test_the_log_is_a_list(script: list[tuple[str, int]], max_tail_bytes: int) -> None:
    storage = MemoryStorage(Membership(Configuration({"k1": "kz"})))
    log = Log(storage, commit=0, applied=0, max_tail_bytes=max_tail_bytes, max_uncommitted_bytes=1000)
    model: list[Entry] = []
    applied: list[Entry] = []
    taken: tuple[Entry, ...] | None = None
    term = 1
    for number, (operation, argument) in enumerate(script):
        if operation == "append":
            new = [Entry(term, len(model) + 1 + n, data=b"entry %d" % number) for n in range(argument)]
            log.append(new)
            model += new
        elif operation == "replace":
            term += 1
            first = max(len(model) - argument, log.committed) + 1
            new = [Entry(term, first, data=b"replaced %d" % number)]
            log.replace(new)
            model[first - 1 :] = new
        elif operation == "take" and taken is None:
            taken = log.take_unwritten()
        elif operation == "written" and taken is not None:
            storage.append(taken)
            if taken:
                log.written(taken[-1].index)
            taken = None
        elif operation == "commit":
            log.committed = min(log.committed + argument, log.last_index)
        elif operation == "apply" and taken is None:
            entries = log.appliable(argument)
            assert all(storage.entries(entry.index, entry.index + 1, 1) == [entry] for entry in entries)
            applied += entries
            if entries:
                log.applied_to(entries[-1].index)
        assert log.last_index == len(model)
        assert list(log.slice(1, log.last_index + 1, 10**9)) == model
        assert [log.term(index) for index in range(1, len(model) + 1)] == [entry.term for entry in model]
        assert applied == model[: len(applied)]
        assert log.applied <= min(log.committed, log.stable_index)
        on_disk = storage.entries(1, log.stable_index + 1, 10**9) if log.stable_index else []
        assert list(on_disk) == model[: log.stable_index]
        waiting = [len(entry.data) for entry in model[log.committed :]]
        assert log.uncommitted_bytes == sum(waiting)
        assert log.unvouched(log.last_index) == (len(waiting), sum(waiting))


def test_what_is_on_disk_leaves_the_memory_though_nothing_of_it_is_committed() -> None:
    storage = MemoryStorage(Membership(Configuration({"k1": "kz"})))
    log = Log(storage, commit=0, applied=0, max_tail_bytes=1000, max_uncommitted_bytes=10**9)
    model = [Entry(1, index, data=b"x" * 100) for index in range(1, 201)]
    for entry in model:
        log.append([entry])
        taken = log.take_unwritten()
        storage.append(taken)
        log.written(taken[-1].index)
        assert sum(len(kept.data) for kept in log._tail) <= 1000
    assert list(log.slice(1, 201, 10**9)) == model


@given(st.integers(0, 8), st.integers(1, 500))
def test_a_log_on_disk_is_measured_from_its_end_until_it_is_enough(commit: int, enough: int) -> None:
    storage = MemoryStorage(Membership(Configuration({"k1": "kz"})))
    storage.append([Entry(1, index, data=b"x" * 10 * index) for index in range(1, 9)])
    log = Log(storage, commit=commit, applied=0, max_tail_bytes=1000, max_uncommitted_bytes=enough)
    exact = sum(10 * index for index in range(commit + 1, 9))
    assert log.uncommitted_bytes == exact or enough <= log.uncommitted_bytes < exact
    # Whoever leads now has not made us store any of it.
    assert log.unvouched(8) == (0, 0)
    log.append([Entry(2, 9, data=b"new")])
    assert log.unvouched(9) == (1, 3)
    log.replace([Entry(3, 9, data=b"newer")])
    assert log.unvouched(9) == (1, 5)
    assert log.uncommitted_bytes == exact + 5 or enough + 5 <= log.uncommitted_bytes < exact + 5


@given(st.lists(st.integers(0, 2), min_size=1, max_size=12), st.integers(0, 14), st.integers(0, 12))
def test_backtracking_finds_the_newest_entry_of_a_term_no_later(steps: list[int], index: int, term: int) -> None:
    storage = MemoryStorage(Membership(Configuration({"k1": "kz"})))
    log = Log(storage, commit=0, applied=0, max_tail_bytes=1000, max_uncommitted_bytes=1000)
    terms = [0]
    for step in steps:
        terms.append(max(terms[-1] + step, 1))
    log.append([Entry(own, at, data=b"x") for at, own in enumerate(terms) if at])
    index = min(index, log.last_index)
    expected = max(at for at in range(index + 1) if terms[at] <= term)
    assert log.backtrack(index, term) == (expected, terms[expected])


@given(st.integers(1, 60), st.integers(1, 12))
def test_a_slice_fits_its_limit_but_is_never_empty(max_bytes: int, count: int) -> None:
    storage = MemoryStorage(Membership(Configuration({"k1": "kz"})))
    storage.append([Entry(1, index, data=b"x" * index) for index in range(1, 5)])
    log = Log(storage, commit=0, applied=0, max_tail_bytes=1000, max_uncommitted_bytes=1000)
    log.append([Entry(1, index, data=b"x" * index) for index in range(5, 5 + count)])
    taken = log.slice(1, log.last_index + 1, max_bytes)
    assert [entry.index for entry in taken] == list(range(1, len(taken) + 1))
    size = sum(len(entry.data) for entry in taken)
    assert size <= max_bytes or len(taken) == 1
    if len(taken) < log.last_index:
        assert size + len(taken) + 1 > max_bytes
