"""A truck's timeline: every statement of its crossing, when the device, the ledger and each authority say it was."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from api.client import StatementRecord
from nodes.demo.delivery import Delivery


@dataclass(frozen=True, slots=True)
class Mark:
    """One statement on the log."""

    index: int
    kind: str
    actor: str
    via: str
    remark: str
    device_time_s: int
    block_time_ms: int
    cosigned_at_s: dict[str, int]
    final_after_ms: float
    attempts: int
    id: str

    def as_report(self) -> dict[str, Any]:
        return {
            "index": self.index,
            "kind": self.kind,
            "actor": self.actor,
            "via": self.via,
            "remark": self.remark,
            "device_time_s": self.device_time_s,
            "block_time_ms": self.block_time_ms,
            "cosigned_at_s": self.cosigned_at_s,
            "final_after_ms": round(self.final_after_ms, 1),
            "attempts": self.attempts,
            "id": self.id,
        }


def mark(delivery: Delivery, record: StatementRecord, remark: str) -> Mark:
    statement = delivery.statement
    waited_s = (delivery.final_at_s or 0.0) - (delivery.first_sent_at_s or 0.0)
    return Mark(
        index=record.index,
        kind=statement.kind,
        actor=statement.iss,
        via=delivery.authority,
        remark=remark,
        device_time_s=statement.iat_s,
        block_time_ms=record.block_time_ms,
        cosigned_at_s=dict(sorted(record.cosigned_at_s.items())),
        final_after_ms=waited_s * 1000,
        attempts=delivery.attempts,
        id=statement.id_hex,
    )


def timeline_table(title: str, marks: Sequence[Mark], authorities: Sequence[str]) -> Table:
    """The timeline for people: times of day, UTC."""
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1))
    headings = ["entry", "event", "signed by", "device", "block", *authorities, "final after"]
    for heading in headings:
        table.add_column(heading, header_style="dim", no_wrap=True, justify="right" if heading == "entry" else "left")
    table.add_column("", header_style="dim")
    for item in marks:
        again = f"sent {item.attempts} times" if item.attempts > 1 else ""
        table.add_row(
            str(item.index),
            item.kind.removeprefix("escort."),
            item.actor,
            _clock(item.device_time_s * 1000, 0),
            _clock(item.block_time_ms, 3),
            *(_clock(item.cosigned_at_s.get(name, 0) * 1000, 0) for name in authorities),
            f"{item.final_after_ms:.0f} ms",
            Text("; ".join(part for part in (item.remark, again) if part), "magenta"),
        )
    return table


def _clock(time_ms: int, decimals: int) -> str:
    if not time_ms:
        return "-"
    text = datetime.datetime.fromtimestamp(time_ms / 1000, datetime.UTC).strftime("%H:%M:%S.%f")
    return text[: 8 + (1 + decimals if decimals else 0)]
