"""What can be seen of a run at any moment: where each truck stands, how far finality is, who is in health.

Plain data, written by the run and read by the displays.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class TruckLine:
    """One truck on its way, named by its movement."""

    mrn: str
    truck: str
    direction: str
    planned: int
    where: str = "not yet planned"
    final: int = 0
    waiting: int = 0
    remark: str = ""
    driving: bool = False
    done: bool = False


@dataclass(slots=True)
class AuthorityLine:
    name: str
    validators: int
    reachable: int = 0
    last_cosigned_size: int = 0
    remark: str = ""


@dataclass(slots=True)
class Board:
    title: str = ""
    trucks: dict[str, TruckLine] = field(default_factory=dict)
    authorities: dict[str, AuthorityLine] = field(default_factory=dict)
    size: int = 0
    final_size: int = 0
    final_lag_ms: int = 0
    signed: int = 0
    final: int = 0
    resent: int = 0
    state: str = ""

    @property
    def waiting(self) -> int:
        return self.signed - self.final
