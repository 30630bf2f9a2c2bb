"""How much memory this machine can still give."""

from __future__ import annotations

import os
from pathlib import Path

UNKNOWN = 2 << 30  # bytes that are taken to be there where the system does not say

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")  # version 2; a container sees its own group there


def available_bytes() -> int:
    """Bytes that new arrays can take without swapping: what the system says, or a container's limit if that is less."""
    return max(0, min(_of_the_system(), _of_the_container()))


def _of_the_system() -> int:
    kilobytes = _named_numbers(_MEMINFO).get("MemAvailable:")
    if kilobytes is not None:
        return kilobytes * 1024
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf, macOS not this name
        return UNKNOWN


def _of_the_container() -> float:
    """What a container may still take; the file cache that it holds would be given up. Infinite without a limit."""
    try:
        limit = int((_CGROUP / "memory.max").read_text())  # "max" is no number
        used = int((_CGROUP / "memory.current").read_text())
    except (OSError, ValueError):
        return float("inf")
    return limit - used + _named_numbers(_CGROUP / "memory.stat").get("inactive_file", 0)


def _named_numbers(path: Path) -> dict[str, int]:
    """The first number behind each line's first word; nothing where the file cannot be read."""
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdigit()}
