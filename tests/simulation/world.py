"""Virtual time, and the event loops of the simulated nodes: nothing here happens but what a seed decides.

`World` holds one queue of what is to happen when, in microseconds. Every start of a node gets a `NodeLoop`, an asyncio
event loop of its own, as every real validator is a process of its own: within one loop callbacks run in the order
that asyncio promises; between loops, timers and messages any order is possible, and the seed picks one. A loop has a
clock that may drift and stand still; a node whose disk is slow is late with everything else it has to do, as in truth.

A thread pool is a `SimulatedExecutor`: a job runs whole at a later moment, so threads interleave between jobs. Who
waits for a job that has not run yet makes it run.
"""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import heapq
import random
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from hashlib import sha256
from typing import Any, TypeVar

S = 1_000_000
MS = 1_000
TRACE_LINES = 400
# A loop that still has something to do at one moment after so many turns will never let time go on.
MAX_TURNS_AT_ONCE = 200_000

T = TypeVar("T")


class Crash(BaseException):
    """The power of this node is gone. Not an `Exception`: nothing in a validator may catch it and go on."""


class Violation(AssertionError):
    """An invariant does not hold. `invariant` is its name."""

    def __init__(self, invariant: str, detail: str) -> None:
        # Both, as they came: a violation that was found in another process is made again from these.
        super().__init__(invariant, detail)
        self.invariant, self.detail = invariant, detail

    def __str__(self) -> str:
        return f"{self.invariant}: {self.detail}"


class World:
    """Time, chance, and the trace of everything that happened."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = random.Random(f"comity simulation {seed}")
        self.now_us = 0
        self.steps = 0
        self.loops: list[NodeLoop] = []
        self.failure: Violation | None = None
        self.faults: collections.Counter[str] = collections.Counter()
        self.trace: collections.deque[str] = collections.deque(maxlen=TRACE_LINES)
        self._digest = sha256()
        self._events: list[tuple[int, int, Callable[[], object]]] = []
        self._sequence = 0

    def note(self, line: str) -> None:
        """One line of the trace. What two runs of a seed must agree on."""
        text = f"{self.now_us / S:.6f} {line}"
        self.trace.append(text)
        self._digest.update(text.encode() + b"\n")

    def trace_hash(self) -> str:
        return self._digest.hexdigest()

    def fail(self, invariant: str, detail: str) -> None:
        """Note a violation; the run ends after this step. The first one counts."""
        if self.failure is None:
            self.failure = Violation(invariant, detail)
            self.note(f"VIOLATION {invariant}: {detail}")

    def at(self, time_us: int, run: Callable[[], object]) -> None:
        self._sequence += 1
        heapq.heappush(self._events, (max(time_us, self.now_us), self._sequence, run))

    def after(self, delay_us: int, run: Callable[[], object]) -> None:
        self.at(self.now_us + delay_us, run)

    def run_until(self, time_us: int, done: Callable[[], bool] | None = None) -> None:
        """Let everything happen until a time, until `done`, or until something is wrong. Raises Violation."""
        at_once = 0
        while self.failure is None:
            ready = [loop for loop in self.loops if loop.ready and loop.busy_until_us <= self.now_us]
            if ready:
                at_once += 1
                if at_once > MAX_TURNS_AT_ONCE:
                    self.fail("the event loop comes to rest", f"{[loop.name for loop in ready]} never do")
                self.steps += 1
                (ready[0] if len(ready) == 1 else self.rng.choice(ready)).turn()
                continue
            if done is not None and done():
                return
            if not self._events or self._events[0][0] > time_us:
                self.now_us = max(self.now_us, time_us)
                return
            time, _, run = heapq.heappop(self._events)
            if time > self.now_us:
                self.now_us, at_once = time, 0
            self.steps += 1
            run()
        raise self.failure


class NodeLoop(asyncio.AbstractEventLoop):
    """The event loop of one start of one node. Dead once the node crashed: nothing of it runs any more."""

    def __init__(self, world: World, name: str, *, drift: float) -> None:
        self.world = world
        self.name = name
        self.drift = drift
        self.ready: collections.deque[asyncio.Handle] = collections.deque()
        self.busy_until_us = 0
        # What the callback that runs now has spent waiting for the disk.
        self.stalled_us = 0
        self.dead = False
        self.on_error: Callable[[BaseException | None, str], None] = lambda *_: None
        world.loops.append(self)

    def kill(self) -> None:
        self.dead = True
        self.ready.clear()
        if self in self.world.loops:
            self.world.loops.remove(self)

    def local_us(self) -> int:
        """World time as far as this node has got with it."""
        return max(self.world.now_us, self.busy_until_us) + self.stalled_us

    def stall(self, duration_us: int) -> None:
        self.stalled_us += duration_us

    def turn(self) -> None:
        """What one turn of an asyncio loop is: everything that is ready now, in order."""
        asyncio._set_running_loop(self)
        try:
            for _ in range(len(self.ready)):
                if self.dead:
                    return
                handle = self.ready.popleft()
                if not handle._cancelled:
                    handle._run()
        finally:
            asyncio._set_running_loop(None)
            if self.stalled_us:
                self.pause(self.stalled_us)
                self.stalled_us = 0

    def pause(self, duration_us: int) -> None:
        """Stand still, as a stopped process or a machine that swaps does."""
        self.busy_until_us = max(self.busy_until_us, self.world.now_us) + duration_us
        self.world.at(self.busy_until_us, lambda: None)

    # --- what asyncio asks of a loop --------------------------------------------------------------------------------

    def time(self) -> float:
        return self.local_us() * self.drift / S

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> asyncio.Handle:  # type: ignore[override]
        handle = asyncio.Handle(callback, args, self, context)
        if not self.dead:
            self.ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        # A timer is never early and often a little late.
        late_us = self.world.rng.randrange(1500)
        self.world.at(int(when * S / self.drift) + late_us, lambda: self._fire(timer))
        return timer

    def _fire(self, timer: asyncio.TimerHandle) -> None:
        if not timer._cancelled and not self.dead:
            self.ready.append(timer)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Found when it comes up."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Generator[Any, None, T] | Coroutine[Any, Any, T], *, name: str | None = None, **_: Any
    ) -> asyncio.Task[T]:
        return asyncio.Task(coro, loop=self, name=name or "task")

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        return asyncio.wrap_future(executor.submit(func, *args), loop=self)

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return not self.dead

    def is_closed(self) -> bool:
        return self.dead

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not self.dead:
            self.on_error(context.get("exception"), context.get("message", ""))

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        self.call_exception_handler(context)


class _Job(concurrent.futures.Future[Any]):
    """What a pool was given to do. Waiting for it means that its thread gets to it meanwhile."""

    def __init__(self, pool: SimulatedExecutor, work: Callable[[], Any]) -> None:
        super().__init__()
        self.pool = pool
        self.work: Callable[[], Any] | None = work
        self.outcome: tuple[Any, BaseException | None] | None = None

    def result(self, timeout: float | None = None) -> Any:
        if not self.done():
            self.pool.run(self)
            self.pool.finish(self)
        return super().result(0)


class SimulatedExecutor(concurrent.futures.Executor):
    """A pool of threads that are not there. Jobs begin in the order in which they came."""

    def __init__(self, loop: NodeLoop, threads: int) -> None:
        self._loop = loop
        self._free_us = [0] * threads
        self._shut = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> _Job:
        loop, world = self._loop, self._loop.world
        if self._shut:
            raise RuntimeError("cannot schedule new futures after shutdown")
        job = _Job(self, lambda: fn(*args, **kwargs))
        thread = min(range(len(self._free_us)), key=self._free_us.__getitem__)
        start_us = max(loop.local_us(), self._free_us[thread]) + world.rng.randrange(20, 800)
        self._free_us[thread] = start_us
        world.at(start_us, lambda: self._begin(job, thread))
        return job

    def _begin(self, job: _Job, thread: int) -> None:
        loop = self._loop
        if loop.dead or job.done():
            return
        # The thread waits for the disk, not the loop.
        before, loop.stalled_us = loop.stalled_us, 0
        asyncio._set_running_loop(None)
        try:
            self.run(job)
        finally:
            took_us = loop.stalled_us + loop.world.rng.randrange(20, 400)
            loop.stalled_us = before
        self._free_us[thread] += took_us
        loop.world.after(took_us, lambda: self.finish(job))

    def run(self, job: _Job) -> None:
        work, job.work = job.work, None
        if work is None or self._loop.dead:
            return
        try:
            job.outcome = work(), None
        except Exception as error:
            job.outcome = None, error
        except Crash:
            return

    def finish(self, job: _Job) -> None:
        if self._loop.dead or job.done() or job.outcome is None:
            return
        value, error = job.outcome
        if error is not None:
            job.set_exception(error)
        else:
            job.set_result(value)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._shut = True
