"""The frame of the command line: help, versions, scripts, and how commands end."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import gpunet as package
from gpunet.cli import COMMANDS, main

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
HEAVY = ("numpy", "scipy", "sklearn", "matplotlib", "rich", "PIL", "safetensors", "gdown", "platformdirs")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_imports_nothing_heavy(command):
    program = (
        "import sys; from gpunet.cli import main\n"
        f"status = main([{command!r}, '--help'])\n"
        f"print('imported:', [name for name in {HEAVY!r} if name in sys.modules])\n"
        "raise SystemExit(status)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: gpunet {command}")
    assert done.stdout.splitlines()[-1] == "imported: []"


@pytest.mark.parametrize("script", ["train", "predict"])
def test_scripts_are_the_sub_commands(script):
    done = subprocess.run(
        [sys.executable, SCRIPTS / f"{script}.py", "--help"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: gpunet {script}")
    assert done.stderr == ""


def test_top_help_names_every_command(gpunet):
    outcome = gpunet("--help")
    assert outcome.status == 0
    for name, summary in COMMANDS.items():
        assert name in outcome.out and summary in outcome.out


def test_version(gpunet):
    assert gpunet("--version") == (0, f"gpunet {package.__version__}\n", "")


@pytest.mark.parametrize("argv", [[], ["trian"], ["--nonsense"]])
def test_a_call_without_a_known_command_is_one_sentence(gpunet, argv):
    outcome = gpunet(*argv)
    assert outcome.status == 2 and outcome.out == ""
    assert len(outcome.err.splitlines()) == 1
    assert outcome.err.startswith("gpunet: error: ") and "gpunet --help" in outcome.err


def test_options_are_not_abbreviated(refused):
    refused("train", "--epoch", "3", words=["--epoch", "gpunet train --help"])


def failing_doctor(monkeypatch, error):
    """The smallest command, made to fail in its middle."""

    def fail(arguments):
        print("some output")
        raise error

    monkeypatch.setattr("gpunet.cli.doctor.run", fail)


def test_ctrl_c_is_one_line_and_130(gpunet, monkeypatch):
    failing_doctor(monkeypatch, KeyboardInterrupt())
    assert gpunet("doctor") == (130, "some output\n", "gpunet doctor: interrupted\n")


def test_ctrl_c_in_a_finalizer_is_one_line_and_130(gpunet, monkeypatch):
    """Python itself prints the traceback of such an interrupt and goes on."""

    class Finalized:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    def finalize(arguments):
        Finalized()
        time.sleep(5)

    monkeypatch.setattr("gpunet.cli.doctor.run", finalize)
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert gpunet("doctor") == (130, "", "gpunet doctor: interrupted\n")
    finally:
        signal.signal(signal.SIGINT, usual)


def test_exhausted_memory_is_one_line(gpunet, monkeypatch):
    failing_doctor(monkeypatch, MemoryError("Unable to allocate 7 TiB"))
    outcome = gpunet("doctor")
    assert outcome.status == 1
    assert "7 TiB" in outcome.err and len(outcome.err.splitlines()) == 1


def test_a_full_disk_is_one_line(gpunet, monkeypatch):
    failing_doctor(monkeypatch, OSError(errno.ENOSPC, "No space left on device"))
    outcome = gpunet("doctor")
    assert outcome.status == 1
    assert "No space left on device" in outcome.err and len(outcome.err.splitlines()) == 1


def test_a_bug_keeps_its_traceback(monkeypatch):
    failing_doctor(monkeypatch, ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError):
        main(["doctor"])


def test_an_operating_system_error_of_another_kind_is_a_bug(monkeypatch):
    failing_doctor(monkeypatch, OSError(errno.EBADF, "Bad file descriptor"))
    with pytest.raises(OSError, match="Bad file"):
        main(["doctor"])


@pytest.mark.parametrize(("argv", "status"), [(["doctor"], 1), (["train", "--help"], 0)])
def test_a_reader_that_goes_away_is_no_error(argv, status):
    """As with `| head -0`: the pipe is closed before anything is written. argparse ignores that altogether."""
    program = f"import sys; from gpunet.cli import main; sys.stdin.read(); raise SystemExit(main({argv!r}))"
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    process.stdin.close()
    said = process.stderr.read()
    process.stderr.close()
    assert (process.wait(timeout=60), said) == (status, b"")
