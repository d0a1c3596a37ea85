"""Times as people and captions write them, from milliseconds. Pure."""

from __future__ import annotations


def timecode(milliseconds: int, point: str = ".") -> str:
    """``3675042`` as ``01:01:15.042``, the point as the format has it."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{point}{rest:03}"


def short_timecode(milliseconds: int) -> str:
    """The same, with hours only where there are some."""
    return timecode(milliseconds).removeprefix("00:")


def clock(milliseconds: int) -> str:
    """``3675000`` as ``1:01:15``, ``75000`` as ``0:01:15``."""
    minutes, seconds = divmod(milliseconds // 1000, 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"


def short_clock(seconds: float | None) -> str:
    """``75`` as ``1:15``, ``3675`` as ``1:01:15``; a dash for None."""
    return "-" if seconds is None else clock(round(seconds) * 1000).removeprefix("0:").removeprefix("0")
