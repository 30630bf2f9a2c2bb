"""What is swept: from `lr=1e-4,1e-3` or `lr=1e-4..1e-1` to combinations of values for an experiment's fields."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from gpunet.errors import InputError

MOST_COMBINATIONS = 100_000
SHORT_NAMES = {"lr": "learning_rate", "batch": "batch_size"}
DRAWN_DIGITS = 3  # significant ones of a number that was drawn, so that what is printed is what was trained
ATTEMPTS = 100  # for each combination that is to be drawn, until it differs from the others

Cell = dict[str, Any]  # {field: value}


def _layers(text: str) -> tuple[int, ...]:
    return () if text == "none" else tuple(map(int, text.split("-")))


class Field(NamedTuple):
    """How a field's values are read and drawn. what: what a value is, in words. scale: how ranges are drawn from,
    "log" or "linear", None where there are none."""

    read: Callable[[str], Any]
    what: str
    scale: str | None = None


RATE, COUNT, WORD = (float, "number"), (int, "whole number"), (str, "name")
FIELDS = {
    "learning_rate": Field(*RATE, "log"),
    "batch_size": Field(*COUNT, "log"),
    "hidden": Field(_layers, "layer size, sizes joined by - (as in 128-64), or none", "log"),
    "epochs": Field(*COUNT, "linear"),
    "dropout": Field(*RATE, "linear"),
    "weight_decay": Field(*RATE, "log"),
    "activation": Field(*WORD),
    "loss": Field(*WORD),
    "optimizer": Field(*WORD),
    "init": Field(*WORD),
    "shuffle": Field(*WORD),
}


@dataclass(frozen=True)
class Range:
    """Numbers from low to high, both included, to be drawn from at random: hidden is one layer of such a size."""

    field: str
    low: float
    high: float

    def draw(self, generator: np.random.Generator) -> Any:
        field = FIELDS[self.field]
        low, high = self.low, self.high
        if field.scale == "log":
            number = math.exp(generator.uniform(math.log(low), math.log(high)))
        else:
            number = generator.uniform(low, high)
        if field.read is float:
            number = float(f"{number:.{DRAWN_DIGITS}g}")
        number = min(max(number, low), high)
        whole = round(number)
        return number if field.read is float else (whole,) if self.field == "hidden" else whole


Space = dict[str, tuple[Any, ...] | Range]


def read_space(definitions: Sequence[str]) -> Space:
    """The fields of definitions such as "lr=1e-4,1e-3" and "hidden=16..256", in their order, under their full names.

    Raises `InputError` for an unknown field, one that is given twice, and values that cannot be read. Whether they are
    in range is for the configuration to say.
    """
    space: Space = {}
    for definition in definitions:
        name, sign, text = definition.partition("=")
        name = name.strip().replace("-", "_")
        name = SHORT_NAMES.get(name, name)
        if not sign:
            raise InputError(f"{definition!r} names no values: write it as field=value,value, such as lr=1e-4,1e-3")
        if name not in FIELDS:
            raise InputError(f"there is no field {name!r} to sweep: use one of {', '.join(FIELDS)}{_instead(name)}")
        if name in space:
            raise InputError(f"the field {name} is given twice: give all of its values at once")
        space[name] = _values(name, text.strip())
    return space


def grid(space: Space) -> list[Cell]:
    """Every combination, the last field varying fastest. Raises `InputError` for ranges, and for far too many."""
    for name, values in space.items():
        if isinstance(values, Range):
            raise InputError(f"{name} is given as a range, and a grid needs values: list them, or draw with --random N")
    count = math.prod(map(len, space.values()))
    if count > MOST_COMBINATIONS:
        raise InputError(f"the grid has {count:,} combinations, more than {MOST_COMBINATIONS:,}: give fewer values")
    return [dict(zip(space, values, strict=True)) for values in product(*space.values())]


def draw(space: Space, count: int, seed: int) -> list[Cell]:
    """So many different combinations, each field drawn by itself: from its range, or from its values, all alike.

    The same space, count and seed give the same ones. Raises `InputError` where there are not that many.
    """
    if not 1 <= count <= MOST_COMBINATIONS:
        raise InputError(f"--random draws from 1 to {MOST_COMBINATIONS:,} combinations, not {count}")
    generator = np.random.default_rng(seed)
    found: dict[tuple[Any, ...], None] = {}
    for _ in range(ATTEMPTS * count):
        found[tuple(_draw(values, generator) for values in space.values())] = None
        if len(found) == count:
            return [dict(zip(space, values, strict=True)) for values in found]
    raise InputError(f"there are hardly {count:,} different combinations to draw: draw fewer, or use --grid")


def value_text(value: Any) -> str:
    """A value as it is written on the command line."""
    if isinstance(value, tuple):
        return "-".join(map(str, value)) or "none"
    short = f"{value:g}" if isinstance(value, float) else str(value)
    return short if not isinstance(value, float) or float(short) == value else repr(value)


def cell_text(cell: Cell) -> str:
    """'learning_rate 0.003, hidden 64'."""
    return ", ".join(f"{name} {value_text(value)}" for name, value in cell.items())


def _values(name: str, text: str) -> tuple[Any, ...] | Range:
    if ".." in text:
        return _range(name, text)
    values = [_read(name, part.strip()) for part in text.split(",") if part.strip()]
    if not values:
        raise InputError(f"{name} is given no values: write {name}=value,value")
    return tuple(dict.fromkeys(values))


def _range(name: str, text: str) -> Range:
    scale, example = FIELDS[name].scale, "lr=1e-4..1e-1"
    if scale is None:
        raise InputError(f"{name} has no ranges: list its values, separated by commas")
    ends = [_read(name, end.strip()) for end in text.split("..")]
    numbers = [end[0] if isinstance(end, tuple) and len(end) == 1 else end for end in ends]
    usable = len(numbers) == 2 and all(isinstance(end, (int, float)) and math.isfinite(end) for end in numbers)
    if not usable or not numbers[0] < numbers[1]:
        raise InputError(f"the range {name}={text} must be two numbers, the lower one first, such as {example}")
    if scale == "log" and numbers[0] <= 0:
        raise InputError(f"the range {name}={text} must begin above zero, since its logarithm is drawn evenly")
    return Range(name, *numbers)


def _read(name: str, text: str) -> Any:
    field = FIELDS[name]
    try:
        return field.read(text)
    except ValueError:
        raise InputError(f"{name} {text[:40]!r} cannot be read: each value is a {field.what}") from None


def _draw(values: tuple[Any, ...] | Range, generator: np.random.Generator) -> Any:
    return values.draw(generator) if isinstance(values, Range) else values[generator.integers(len(values))]


def _instead(name: str) -> str:
    """What gives this one, if it is another option's."""
    options = {"seed": "seed or --seeds", "seeds": "seeds", "data": "data", "limit": "limit", "backend": "backend"}
    return f" ({name} is given by --{options[name]})" if name in options else ""
