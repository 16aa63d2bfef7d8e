"""Times as people read them, in UTC.

A cosigner says its own time, and nothing keeps it within the calendar: what lies beyond that is shown as the number it
is. Nothing here is hashed or signed.
"""

from __future__ import annotations

from datetime import UTC, datetime

ISO = "%Y-%m-%dT%H:%M:%S+00:00"


def time_text(at_s: int, form: str = ISO) -> str:
    """Write a Unix time in seconds."""
    try:
        return datetime.fromtimestamp(at_s, UTC).strftime(form)
    except (OverflowError, ValueError, OSError):
        return f"{at_s} s"
