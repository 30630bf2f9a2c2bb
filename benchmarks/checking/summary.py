"""The summary of `gpu_check`: Markdown to paste into an issue, without the paths of somebody's machine."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def as_markdown(results: dict[str, Any], reports: Sequence[Any]) -> str:
    """The summary of a results file and of its parts' `Report`s."""
    environment = results["environment"]
    kernels, system = dict(environment["kernels"]), environment["system"]
    packages = environment["packages"] | environment["optional packages"]
    versions = ", ".join(f"{name} {packages[name]}" for name in ("cupy", "numba-cuda", "numpy") if name in packages)
    device = kernels.pop("device")
    lines = [
        f"# gpunet on {device}, {results['date']}: {results['verdict']}\n",
        f"- {', '.join(f'{name} {value}' for name, value in kernels.items() if name != 'can run')}",
        f"- {versions}, Python {system['python']}, {system['system']}",
        f"- gpunet {system['gpunet']}, commit {results['commit'] or 'unknown'}; {results['seconds']:.0f} s in all\n",
        as_table([("part", "outcome", "seconds", "says")]),
        *(table_row((each.name, each.status, f"{each.seconds:.0f}", each.findings.says)) for each in reports),
    ]
    for report in reports:
        if report.status != "passed":
            lines += [f"\n## {report.name}: {report.status}\n", *(f"- {each}" for each in report.findings.problems)]
            lines += [
                "\n<details><summary>What it printed last</summary>\n",
                "```",
                *report.output,
                "```",
                "</details>",
            ]
    for report in reports:
        if report.findings.table:
            lines += [f"\n## {report.name}\n", as_table(report.findings.table)]
    return "\n".join(lines) + "\n"


def as_table(rows: Sequence[Sequence[str]]) -> str:
    return "\n".join([table_row(rows[0]), "|" + "---|" * len(rows[0]), *map(table_row, rows[1:])])


def table_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def without_paths(text: str, folder: Path) -> str:
    """Results are for others to see; where things lie on this machine is not."""
    for path, name in ((folder, "RESULTS"), (ROOT, "."), (Path(sys.prefix), "PYTHON"), (Path.home(), "~")):
        if path != path.parent:
            text = re.sub(re.escape(str(path)) + r"(?![\w.-])", name, text)
    return text
