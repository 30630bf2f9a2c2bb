"""The order of names: as people count, so that '10' comes after '9'."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterable


def sort_names(names: Iterable[str]) -> list[str]:
    """The names in order: by number if all are whole numbers, else with the numbers inside them taken as numbers."""
    names = list(names)
    try:
        return sorted(names, key=lambda name: (int(name), name))
    except ValueError:
        return sorted(names, key=_natural_key)


def _natural_key(name: str) -> tuple:
    # Splitting by a group leaves text at even places and digits at odd ones, so that like is compared with like.
    parts = re.split("([0-9]+)", name)
    texts = [part.casefold() for part in parts]
    for place in range(1, len(parts), 2):
        digits = parts[place].lstrip("0")
        texts[place] = (len(digits), digits)
    # Names that differ only in case or in leading zeros still get one fixed order.
    return texts, name


_SHORT = reprlib.Repr()
_SHORT.maxstring = 100  # characters: no name that a person has given, but what a damaged file calls one


def quoted(name: str) -> str:
    """The name quoted, for an error sentence; the middle of a very long one left out."""
    return _SHORT.repr(name)


def listed(names: Iterable[str], most: int = 20) -> str:
    """The names quoted and separated by commas, for an error sentence; of a long list the first `most`."""
    names = list(names)
    text = ", ".join(quoted(name) for name in names[:most])
    return text if len(names) <= most else f"{text} and {len(names) - most} more"
