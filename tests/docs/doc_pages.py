"""The pages of documentation, and what is in them: blocks of code, commands, links, tables."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (".", "gpunet", "kernels", "scripts", "tests", "benchmarks")
PAGES = sorted(path.relative_to(ROOT).as_posix() for folder in FOLDERS for path in (ROOT / folder).glob("*.md"))

_FENCED = re.compile(r"^( *)```(\S*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_QUOTED_FILE = re.compile(r"# (\w[\w/]*\.py)\n")
_LEFT_OUT = re.compile(r"^ *\.\.\.\n", re.MULTILINE)
OPERATORS = "&|;<>()"  # of a shell


class Block(NamedTuple):
    """A fenced block: its language, its text, and the number of its first line in the page."""

    page: str
    language: str
    text: str
    line: int

    @property
    def place(self) -> str:
        return f"{self.page}, line {self.line}"

    @property
    def quoted_file(self) -> str | None:
        """The file that an excerpt names in its first line; None for a block that is to be run."""
        named = _QUOTED_FILE.match(self.text)
        return named[1] if named else None


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str, language: str | None = None) -> list[Block]:
    """The fenced blocks of a page, or those of one language."""
    text = read(page)
    found = [
        Block(page, fenced[2], dedent(fenced[3]), text.count("\n", 0, fenced.start()) + 2)
        for fenced in _FENCED.finditer(text)
    ]
    return [block for block in found if language in (None, block.language)]


def prose(page: str) -> str:
    """A page without its blocks."""
    return _FENCED.sub("", read(page))


def commands(text: str) -> Iterator[list[str]]:
    """The simple commands of a block for the shell: what stands between its ends of lines and &&, as words.

    A command with any other operator stays one list of words, the operator among them.
    """
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=OPERATORS)
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, "&&"]:
            if word != "&&":
                words.append(word)
            elif words:
                yield words
                words = []


def missing_from(source: str, excerpt: str) -> str | None:
    """The first piece of an excerpt that does not follow in a source, lines for lines; None where all do.

    Pieces are parted by lines of `...`. A piece may be indented less than in the source.
    """
    lines, begin = source.splitlines(), 0
    for piece in _LEFT_OUT.split(excerpt):
        piece = dedent(piece).strip("\n")
        length = piece.count("\n") + 1
        while dedent("\n".join(lines[begin : begin + length])) != piece:
            begin += 1
            if begin > len(lines) - length:
                return piece
        begin += length
    return None


def table_after(page: str, comment: str) -> list[list[str]]:
    """The cells of the table that follows an HTML comment, row by row, its header left out."""
    _, found, rest = read(page).partition(f"<!-- {comment} -->\n")
    assert found, f"{page} has no comment {comment!r}"
    rows = [line for line in rest.partition("\n\n")[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows[2:]]
