"""What the leader believes about a follower, answer by answer."""

from __future__ import annotations

from consensus.progress import Inflights, Progress, ProgressState


def fresh(next_index: int = 10, messages: int = 2, size_bytes: int = 100) -> Progress:
    return Progress(next_index, 0, Inflights(messages, size_bytes))


def test_a_probe_waits_for_its_answer() -> None:
    progress = fresh()
    progress.sent(1, 10, 5)
    assert progress.blocked
    assert progress.rejected(9, 4)
    assert (progress.next, progress.blocked) == (5, False)


def test_a_late_rejection_of_something_else_changes_nothing() -> None:
    progress = fresh()
    assert not progress.rejected(3, 1)
    assert progress.next == 10


def test_a_rejection_never_goes_behind_what_the_follower_has() -> None:
    progress = fresh()
    progress.acknowledged(9)
    progress.become_probe()
    assert progress.rejected(9, 2)
    assert progress.next == 10
    progress.become_replicate()
    assert not progress.rejected(9, 2)
    progress.sent(3, 12, 3)
    assert progress.rejected(12, 2)
    assert progress.next == 10


def test_the_window_is_counted_in_messages_and_in_bytes() -> None:
    by_count = fresh()
    by_count.become_replicate()
    by_count.sent(1, 1, 1)
    assert not by_count.blocked
    by_count.sent(1, 2, 1)
    assert by_count.blocked
    assert by_count.acknowledged(1)
    by_count.inflights.free_to(1)
    assert (len(by_count.inflights), by_count.blocked) == (1, False)
    by_size = fresh(messages=50)
    by_size.become_replicate()
    by_size.sent(1, 1, 100)
    assert by_size.blocked


def test_an_old_acknowledgement_is_no_news() -> None:
    progress = fresh()
    assert progress.acknowledged(9)
    assert not progress.acknowledged(9)
    assert not progress.acknowledged(4)
    assert (progress.match, progress.next) == (9, 10)


def test_after_a_snapshot_the_next_thing_is_what_follows_it() -> None:
    progress = fresh()
    progress.become_snapshot(50)
    assert progress.blocked
    assert not progress.rejected(50, 3)
    progress.become_probe()
    assert (progress.state, progress.next) == (ProgressState.PROBE, 51)


def test_after_a_snapshot_that_did_not_arrive_everything_is_asked_again() -> None:
    progress = fresh()
    progress.acknowledged(3)
    progress.become_snapshot(50)
    progress.pending_snapshot = 0
    progress.become_probe()
    assert progress.next == 4
