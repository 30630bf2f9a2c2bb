"""A page as a list of blocks, rendered as HTML and as Markdown, so that both say the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gpunet.reporting.facts import clean
from gpunet.reporting.html import cards, e, figure_of, page, pairs, table


@dataclass(frozen=True)
class Heading:
    """level: 1 for the page, 2 for its parts, 3 within them."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    """kind: "" as usual, "warning" in a box, "note" beside a line, "muted" small and grey."""

    text: str
    kind: str = ""


@dataclass(frozen=True)
class Facts:
    """A few figures at a glance: {name: value}."""

    facts: dict[str, str]


@dataclass(frozen=True)
class Rows:
    """A table whose first column is text and whose others are numbers. parts: columns that begin another part."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    parts: tuple[int, ...] = ()


@dataclass(frozen=True)
class Pairs:
    """Names and what they stand for, long texts among them."""

    pairs: dict[str, str]


@dataclass(frozen=True)
class Picture:
    """A figure that lies beside the page as `name`.png. what: it shows, for those who do not see it."""

    name: str
    what: str


Block = Heading | Text | Facts | Rows | Pairs | Picture

# Long tables may break over printed pages, between rows; columns of a wide one come closer there.
_STYLE = """h3 { font-size: 1rem; margin: 1.75rem 0 .5rem; }
.scroll { margin: .75rem 0; }
.scroll td:first-child { white-space: nowrap; }
@media (max-width: 30rem) { table { font-size: .85rem; } th, td { padding-right: .5rem; }
  td.beside, th.beside { padding-left: .5rem; } .scroll td:first-child { white-space: normal; } }
@media print { table { break-inside: auto; font-size: .68rem; } tr { break-inside: avoid; }
  th, td { padding-right: .4rem; } td.beside, th.beside { padding-left: .4rem; } h3 { break-after: avoid; } }
"""


def as_html(title: str, blocks: Iterable[Block], images: dict[str, bytes]) -> str:
    """One page that needs nothing else. images: the figures as PNG, by name."""
    return page(title, (_html(block, images) for block in blocks), _STYLE)


def as_markdown(blocks: Iterable[Block]) -> str:
    """The same, its figures being files beside it."""
    return "\n\n".join(_markdown(block) for block in blocks) + "\n"


def _html(block: Block, images: dict[str, bytes]) -> str:
    if isinstance(block, Heading):
        return f"<h{block.level}>{e(block.text)}</h{block.level}>"
    if isinstance(block, Text):
        kind = f' class="{block.kind}"' if block.kind else ""
        return f"<p{kind}>{e(block.text)}</p>"
    if isinstance(block, Facts):
        return cards(block.facts)
    if isinstance(block, Rows):
        return table(block.columns, block.rows, beside=block.parts)
    if isinstance(block, Pairs):
        return pairs((name, e(text)) for name, text in block.pairs.items())
    return figure_of(block.what, images[block.name])


def _markdown(block: Block) -> str:
    if isinstance(block, Heading):
        return f"{'#' * block.level} {_escaped(block.text)}"
    if isinstance(block, Text):
        text = _escaped(block.text)
        return {"warning": f"> **{text}**", "note": f"> {text}", "muted": f"*{text}*"}.get(block.kind, text)
    if isinstance(block, Facts | Pairs):
        known = block.facts if isinstance(block, Facts) else block.pairs
        return "\n".join(f"- {_escaped(name)}: {_escaped(text)}" for name, text in known.items())
    if isinstance(block, Rows):
        align = ["---", *["---:"] * (len(block.columns) - 1)]
        rows = [block.columns, *block.rows]
        lines = [f"| {' | '.join(map(_escaped, row))} |" for row in rows]
        return "\n".join([lines[0], f"| {' | '.join(align)} |", *lines[1:]])
    return f"![{_escaped(block.what)}]({block.name}.png)"


def _escaped(text: str) -> str:
    """Text that Markdown takes as it stands."""
    text = clean(text)
    for letter in "\\`*_[]<>|#":
        text = text.replace(letter, "\\" + letter)
    return text
