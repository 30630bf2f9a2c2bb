"""What the sub-commands' parsers share. Imports nothing heavy."""

from __future__ import annotations

import argparse
import reprlib
from typing import Any, NoReturn

from gpunet.errors import InputError

LARGEST_WHOLE_NUMBER = 2**32 - 1  # the largest seed; anything counted here is far smaller


class Parser(argparse.ArgumentParser):
    """argparse whose errors are one sentence (`InputError`) and whose options cannot be abbreviated.

    What it parses has an attribute `prog` as well, with which messages begin.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **arguments)
        self.set_defaults(prog=self.prog)

    def error(self, message: str) -> NoReturn:
        raise InputError(f"error: {message} (see {self.prog} --help)")


def whole_number(text: str) -> int:
    """An option's value as an integer; whether its sign makes sense is for the configuration to say."""
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{reprlib.repr(text)} is no whole number") from None
    if abs(number) > LARGEST_WHOLE_NUMBER:
        raise argparse.ArgumentTypeError(f"{reprlib.repr(text)} is too large")
    return number


def memory_size(text: str) -> int:
    """An option's value as bytes, from a size such as 512MB."""
    from gpunet.memory_limit import byte_count

    try:
        return byte_count(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def number(text: str) -> float:
    """An option's value as a float, which may be NaN or infinite: the configuration refuses these by name."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{reprlib.repr(text)} is no number") from None
