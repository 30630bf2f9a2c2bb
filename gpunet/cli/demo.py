"""`gpunet demo`: a page to try a trained network in a browser."""

from __future__ import annotations

import argparse

from gpunet.cli.messages import note
from gpunet.cli.parser import Parser, whole_number
from gpunet.errors import InputError

EXAMPLES = 12
MOST_EXAMPLES = 1000  # a kilobyte each


def make_parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog,
        description=(
            "Write one HTML page with the network in it: draw an image, drop one or use the camera, and see the\n"
            "classes' probabilities and what the hidden units respond to. The page needs no server and no connection."
        ),
        epilog="The examples come from the run's data, if it is still where it was; a page without them works as well.",
    )
    parser.add_argument("model", metavar="RUN", help="folder of a run, or its model.safetensors")
    parser.add_argument("--out", metavar="FILE.html", help="the page to write (default: demo.html beside the model)")
    parser.add_argument(
        "--examples",
        type=whole_number,
        default=EXAMPLES,
        metavar="N",
        help=f"put so many of the run's test images into the page (default: {EXAMPLES}; 0: none)",
    )
    return parser


def run(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from gpunet.demo import demo_page, run_examples, write_demo_page
    from gpunet.prediction import load_digit_model
    from gpunet.reporting.facts import clean

    if not 0 <= arguments.examples <= MOST_EXAMPLES:
        raise InputError(f"--examples must be 0 to {MOST_EXAMPLES:,}, not {arguments.examples}")
    given = Path(arguments.model)
    folder = given if given.is_dir() else given.parent
    out = folder / "demo.html" if arguments.out is None else Path(arguments.out).expanduser()
    if out.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"the page must be called .html, not {out.name!r}: name another with --out")
    model = load_digit_model(given)

    examples = None
    if arguments.examples:
        try:
            examples = run_examples(model, folder, arguments.examples)
        except InputError as reason:
            note(arguments.prog, f"there are no example images in the page: {reason}")
    page = demo_page(model, examples)
    write_demo_page(out, page)
    count = 0 if examples is None else len(examples.labels)
    print(clean(f"{out}: {len(page.encode()) / 1024:,.0f} KB with {count} test images; open it in a browser"))
    return 0
