"""What the pages say besides code: links, tables of variants, error sentences, the version."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

import pytest
from doc_pages import PAGES, ROOT, prose, read, table_after

from gpunet import __version__
from gpunet.kernels import dense_backward, dense_forward, dense_update, tiles, update_table
from gpunet.parameters import ParameterLayout

KERNELS = "kernels/README.md"
MULTIPROCESSORS = {"T4": 40, "H100": 132}


# Links


def anchors(page: str) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: str, text: str) -> list[str]:
    """Links of a page's text to files, and to headings of pages, that are not there."""
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if re.match(r"\w+:", path):
            continue
        linked = (ROOT / PurePosixPath(page).parent / path).resolve() if path else ROOT / page
        is_page = linked.suffix == ".md" and linked.is_file()
        if not linked.exists() or anchor and not (is_page and anchor in anchors(linked.relative_to(ROOT).as_posix())):
            broken.append(target)
    return broken


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_and_headings(page):
    assert broken_links(page, prose(page)) == []


def test_links_that_lead_nowhere_are_noticed():
    sound = "[a](tiles.py) [b](#letters) [c](CONTRIBUTING.md#style) [d](https://x.org/y#z) [e](../README.md)"
    assert broken_links(KERNELS, sound) == []
    assert broken_links(KERNELS, "[a](tile.py) [b](#numbers) [c](tiles.py#x)") == ["tile.py", "#numbers", "tiles.py#x"]


# Tables of variants


def shape_cells(tile) -> list[str]:
    if isinstance(tile, update_table.Tile):
        of_block, of_thread, slices = (tile.inputs, tile.outputs), (tile.lane_inputs, tile.lane_outputs), tile.chunks
    else:
        of_block, of_thread, slices = (tile.rows, tile.columns), (tile.thread_rows, tile.thread_columns), tile.slices
    return [f"{of_block[0]} x {of_block[1]}", f"{of_thread[0]} x {of_thread[1]}", str(slices), str(tile.threads)]


@pytest.mark.parametrize("module", [dense_forward, dense_backward, dense_update], ids=lambda module: module.__name__)
def test_tables_of_tiles_are_those_of_the_kernels(module):
    name = module.__name__.rpartition(".")[2]
    expected = {
        f"`{variant}`": shape_cells(tile)
        for variant, tile in module.VARIANTS.items()
        if not isinstance(tile, update_table.Run)
    }
    rows = table_after(KERNELS, f"tiles of {name}")
    as_table = "\n".join(f"| {' | '.join([variant, *cells])} |" for variant, cells in expected.items())
    assert {row[0]: row[1:5] for row in rows} == expected, f"{KERNELS}, tiles of {name}, should have\n{as_table}"
    assert len(rows) == len(expected) and all(row[5] for row in rows), "each variant has a reason"


def test_table_of_chosen_variants_is_what_launchers_choose(monkeypatch):
    rows = table_after(KERNELS, "chosen variants")
    layers = [tuple(slots) for slots in ParameterLayout((784, 64, 10)).layers]
    assert len(rows) >= 4
    for networks, *chosen in rows:
        count, forward, update = int(networks), [], []
        for multiprocessors in MULTIPROCESSORS.values():
            for module in (tiles, dense_update):
                monkeypatch.setattr(module, "multiprocessors", lambda number=multiprocessors: number)
            forward.append(f"`{dense_forward._variant(count, 128, 784, 64)}`")
            update.append(f"`{dense_update.variant_for(128, layers, count)}`")
        assert chosen == forward + update, f"{networks} networks"


# Sentences and numbers


def source_text() -> str:
    """Sources whose errors the page for Colab names, string literals in one piece."""
    files = ("gpunet/ops/backend.py", "gpunet/ops/device_memory.py", "gpunet/ops/replay.py", "gpunet/training_run.py")
    text = "\n".join(read(file) for file in (*files, "benchmarks/gpu_check.py"))
    return re.sub(r"\"\s*\n\s*f?\"", "", text)


def pieces(sentence: str) -> list[str]:
    return [piece.strip() for piece in sentence.split("...") if re.search(r"\w{2}", piece)]


def test_colab_page_names_errors_in_their_own_words():
    source = source_text().replace("{SIMULATOR_VARIABLE}", "NUMBA_ENABLE_CUDASIM").replace("{reason}", "")
    rows = re.findall(r"^\| `(.+?)` \|", read("scripts/COLAB.md"), re.MULTILINE)
    assert len(rows) >= 8
    for sentence in rows:
        for piece in pieces(sentence.removeprefix("gpu_check: ")):
            assert piece in source, f"no error says {piece!r}"


def test_changelog_begins_with_this_version():
    newest = re.search(r"^## \[(.+?)\]", read("gpunet/CHANGELOG.md"), re.MULTILINE)
    assert newest[1] == __version__
