"""Three ways of showing a run: a live table on a terminal, plain lines elsewhere, nothing at all for programs."""

from __future__ import annotations

import time
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from nodes.demo.board import Board
from nodes.demo.steps import Step

LIVE_REFRESHES_PER_S = 4
PLAIN_LINE_EVERY_S = 2.0
STEPS_SHOWN = 14
TRUCKS_SHOWN = 24


class Display(Protocol):
    """Told of every step when it begins and ends, and now and then that the board changed."""

    def __enter__(self) -> Display: ...

    def __exit__(self, *exception: object) -> None: ...

    def step(self, step: Step) -> None: ...

    def refresh(self) -> None: ...


class SilentDisplay:
    """For `--json`: the report is all there is."""

    def __enter__(self) -> SilentDisplay:
        return self

    def __exit__(self, *exception: object) -> None:
        return None

    def step(self, step: Step) -> None:
        return None

    def refresh(self) -> None:
        return None


def step_line(step: Step) -> str:
    """One ended step in one line."""
    return f"{'ok  ' if step.ok else 'FAIL'} {step.seconds:6.1f} s  {step.title}: {step.detail}"


class PlainDisplay:
    """For a pipe or a log file: one line a step, and one every two seconds while trucks drive."""

    def __init__(self, board: Board, console: Console) -> None:
        self._board = board
        self._console = console
        self._last_line_s = 0.0
        self._begun: set[int] = set()

    def __enter__(self) -> PlainDisplay:
        self._print(self._board.title)
        return self

    def __exit__(self, *exception: object) -> None:
        return None

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def step(self, step: Step) -> None:
        if id(step) in self._begun:
            self._print(step_line(step))
            return
        self._begun.add(id(step))
        self._print(f"...            {step.title}")

    def refresh(self) -> None:
        now_s = time.monotonic()
        board = self._board
        if not board.trucks or now_s - self._last_line_s < PLAIN_LINE_EVERY_S:
            return
        self._last_line_s = now_s
        done = sum(truck.done for truck in board.trucks.values())
        health = ", ".join(f"{line.name} {line.reachable}/{line.validators}" for line in board.authorities.values())
        self._print(
            f"               trucks done {done}/{len(board.trucks)}, statements signed {board.signed}, "
            f"final {board.final}, waiting {board.waiting}, sent again {board.resent}; log {board.size}, "
            f"final {board.final_size}; validators {health}" + (f"; {board.state}" if board.state else "")
        )


class LiveDisplay:
    """For a terminal: steps, trucks and authorities, drawn in place."""

    def __init__(self, board: Board, console: Console) -> None:
        self._board = board
        self._steps: list[Step] = []
        # Drawn when asked and by nobody's thread: the board changes under a second thread's hands otherwise.
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._last_drawn_s = 0.0

    def __enter__(self) -> LiveDisplay:
        self._live.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._live.__exit__(None, None, None)
        for step in self._steps:
            self._live.console.print(step_line(step), markup=False, highlight=False)

    def step(self, step: Step) -> None:
        if not any(known is step for known in self._steps):
            self._steps.append(step)
        self._draw()

    def refresh(self) -> None:
        if time.monotonic() - self._last_drawn_s >= 1 / LIVE_REFRESHES_PER_S:
            self._draw()

    def _draw(self) -> None:
        self._last_drawn_s = time.monotonic()
        self._live.update(
            Group(
                Text(self._board.title, style="bold"),
                self._steps_table(),
                self._authorities_table(),
                self._trucks_table(),
            ),
            refresh=True,
        )

    def _steps_table(self) -> Table:
        table = Table(box=None, show_header=False, padding=(0, 1))
        for step in self._steps[-STEPS_SHOWN:]:
            running = not step.ok and not step.detail
            mark = Text("…", "yellow") if running else Text("✓", "green") if step.ok else Text("✗", "bold red")
            seconds = "" if running else f"{step.seconds:.1f} s"
            table.add_row(mark, Text(step.title), Text(step.detail, "dim"), Text(seconds, "dim"))
        return table

    def _authorities_table(self) -> Table:
        board = self._board
        lag = f"{board.final_lag_ms} ms" if board.final_lag_ms < 10_000 else f"{board.final_lag_ms // 1000} s"
        table = Table(
            title=f"log {board.size}, final {board.final_size}, finality lag {lag}; "
            f"signed {board.signed}, final {board.final}, waiting {board.waiting}, sent again {board.resent}",
            title_justify="left",
            title_style="",
            box=None,
        )
        for heading in ("authority", "validators", "cosigned to", ""):
            table.add_column(heading, header_style="dim")
        for line in board.authorities.values():
            style = "green" if line.reachable == line.validators else "red" if line.reachable == 0 else "yellow"
            table.add_row(
                line.name,
                Text(f"{line.reachable}/{line.validators}", style),
                str(line.last_cosigned_size),
                Text(line.remark, "red"),
            )
        return table

    def _trucks_table(self) -> Table:
        table = Table(box=None)
        for heading in ("truck", "movement", "direction", "stands", "final", "waiting", ""):
            table.add_column(heading, header_style="dim")
        lines = list(self._board.trucks.values())
        # With more trucks than lines, those on their way are the ones to look at.
        lines.sort(key=lambda line: line.done)
        for line in lines[:TRUCKS_SHOWN]:
            table.add_row(
                line.truck,
                line.mrn,
                line.direction,
                Text(line.where, "green" if line.done else ""),
                f"{line.final}/{line.planned}",
                Text(str(line.waiting) if line.waiting else "", "yellow"),
                Text(line.remark, "magenta"),
            )
        if len(lines) > TRUCKS_SHOWN:
            table.add_row(f"and {len(lines) - TRUCKS_SHOWN} more", "", "", "", "", "", "")
        return table


def choose_display(board: Board, console: Console, silent: bool) -> Display:
    if silent:
        return SilentDisplay()
    return LiveDisplay(board, console) if console.is_terminal else PlainDisplay(board, console)
