"""The command line: `gpunet train` and the others that COMMANDS lists.

A sub-command is a module of this package, named in COMMANDS, with two functions: `make_parser(prog)` and
`run(arguments)`, which returns the exit status. It is imported when it is asked for, and imports NumPy and whatever
needs it inside `run`, so that --help answers at once.

    parser.py      argparse as all of them use it
    messages.py    one line on stderr
    interrupts.py  Ctrl-C, wherever it strikes

Exit statuses: 0 done; 1 the machine's fault (disk full, memory exhausted, device lost, output closed); 2 unusable
input, one sentence on stderr; 130 interrupted by Ctrl-C. Anything else that goes wrong is a bug and keeps its
traceback.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from gpunet.errors import InputError

if TYPE_CHECKING:
    from gpunet.cli.parser import Parser

COMMANDS = {
    "train": "train a network, judge it on a test set, and keep model, figures and plots in a folder",
    "predict": "say what a trained network sees in images",
    "demo": "write a page to try a trained network in a browser",
    "export": "write a trained network for other programs: ONNX, or PyTorch's own layout",
    "import": "make a model of weights that PyTorch has trained",
    "sweep": "train many combinations of hyper-parameters side by side, and rank them by validation",
    "reproduce": "train every experiment of both course reports over many seeds, beside every figure they print",
    "equivalence": "hold a backend against NumPy in float64, operation by operation and step by step",
    "doctor": "print what a bug report needs: versions, threads, devices, caches",
    "warmup": "compile the CUDA kernels that the experiments launch, and keep them on disk",
}

MODULES = {"import": "import_"}  # where a module cannot bear its command's name

INTERRUPTED = 130  # 128 + SIGINT, as shells report it


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: that of the process) and return its exit status.

    --help and --version print and return 0. Errors that a person can mend are one sentence on stderr.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    prog = f"gpunet {argv[0]}" if argv and argv[0] in COMMANDS else "gpunet"
    # Even what is light is imported in here: from the first moment, Ctrl-C is one line.
    try:
        from gpunet.cli.interrupts import interrupts_get_through
        from gpunet.cli.messages import fail

        with interrupts_get_through():
            status = _call(prog, argv)
            if sys.stdout is not None:  # as it is after `>&-`
                sys.stdout.flush()
            return status
    except InputError as error:
        return fail(prog, error)
    except KeyboardInterrupt:
        print(f"{prog}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except MemoryError as error:
        return fail(prog, f"the memory does not suffice ({error or 'none is left'}): try smaller numbers", 1)
    except OSError as error:
        return _fail_to_write(prog, error)


def _call(prog: str, argv: list[str]) -> int:
    from gpunet.cli.messages import warnings_as_notes

    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that stdout's encoding lacks must not end a run
    try:
        command = _top_parser().parse_args(argv[:1]).command
        module = import_module(f"gpunet.cli.{MODULES.get(command, command)}")
        arguments = module.make_parser(prog).parse_args(argv[1:])
    except SystemExit as request:  # argparse, after --help
        return int(request.code or 0)
    with warnings_as_notes(prog, quiet=getattr(arguments, "quiet", False)):
        return module.run(arguments)


def _fail_to_write(prog: str, error: OSError) -> int:
    """Status 1 where the output cannot be written: in silence if its reader is gone, as with `| head`."""
    import errno
    import os
    from contextlib import suppress

    from gpunet.cli.messages import fail

    if error.errno not in (errno.EPIPE, errno.ENOSPC, errno.EDQUOT):
        raise error
    # What is still buffered goes nowhere; else the interpreter complains once more when it ends.
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1 if error.errno == errno.EPIPE else fail(prog, f"the output cannot be written ({error.strerror})", 1)


def _top_parser() -> Parser:
    import gpunet
    from gpunet.cli.parser import Parser

    width = max(map(len, COMMANDS))
    listing = "\n".join(f"  {name:{width}}  {summary}" for name, summary in COMMANDS.items())
    parser = Parser(
        prog="gpunet",
        usage="%(prog)s COMMAND [OPTION ...]",
        description="Small neural networks whose backpropagation is written by hand, on sign-language digits.",
        epilog=f"commands:\n{listing}\n\n`gpunet COMMAND --help` explains each.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {gpunet.__version__}")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of those below")
    return parser
