"""Changing a few fields of a frozen record of many: what `dataclasses.replace` does, at a fifth of its cost.

A movement has some thirty fields, and every statement makes a new one of which two or three differ. A frozen class sets
each field through `object.__setattr__`, because its own setting is closed. Here the fields are set on a *draft*, of a
class with the same slots that is not frozen; when it is whole, it is made what it stands for. Nobody else ever has it.

For classes whose fields all come in through their constructor and who do nothing after it: `amender` refuses others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, make_dataclass, replace
from operator import attrgetter
from typing import Any, TypeVar, cast

R = TypeVar("R")


def amender(kind: type[R]) -> Callable[[R, dict[str, Any]], R]:
    """Return the function that makes a record of `kind` from one and the fields that change; `kind` has slots."""
    names = tuple(each.name for each in fields(kind))  # type: ignore[arg-type]
    if hasattr(kind, "__post_init__") or not all(each.init for each in fields(kind)):  # type: ignore[arg-type]
        raise TypeError(f"{kind.__name__} does more than take its fields")
    values_of = attrgetter(*names)
    position = {name: number for number, name in enumerate(names)}
    draft_of = make_dataclass(f"{kind.__name__}Draft", names, slots=True)

    def amend(record: R, changes: dict[str, Any]) -> R:
        values = list(values_of(record))
        for name, value in changes.items():
            values[position[name]] = value
        draft: Any = draft_of(*values)
        draft.__class__ = kind
        return cast(R, draft)

    return amend


def amended(record: R, **changes: Any) -> R:
    """Return a record with other values in some fields: by what its class has for it, or else by `replace`."""
    own: Callable[..., R] | None = getattr(record, "amended", None)
    return replace(record, **changes) if own is None else own(**changes)  # type: ignore[type-var]
