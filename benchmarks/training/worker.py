"""One contender of bench_train.py in a process of its own, which does what it is asked to, line by line.

    python -m training.worker CONTENDER [DEVICE]

A line on standard input is a call of a method of `Session` in JSON, ``{"do": "train", "epochs": 3, ...}``; the line
that answers it is what the method returns, or ``{"error": ...}``. What libraries print goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable
from importlib import import_module
from typing import Any, TextIO

from training.contenders import CONTENDERS, Contender
from training.contenders.problem import Problem, Train
from training.task import Task


class Session:
    """A contender, and the experiment that it trains at the time."""

    def __init__(self, contender: Contender, device: int | None) -> None:
        self._contender, self._device = contender, device
        self._form: Any = None
        self._problem: Problem | None = None
        self._train: Train | None = None

    def start(self) -> dict[str, Any]:
        """Imports. why_not: None, or why this contender cannot train here. seconds: what the imports took."""
        began = time.perf_counter()
        self._form = import_module(f"training.contenders.{self._contender.module}")
        why_not = self._form.why_not(self._contender.variant, self._device)
        return {"why_not": why_not, "seconds": time.perf_counter() - began}

    def open(self, data: str, task: str, name: str) -> dict[str, Any]:
        """Bring an experiment where the contender trains. seconds: without those to load the data."""
        self._problem = Problem.of(Task.load(data, task, name))
        _ = self._problem.images, self._problem.weights  # made here, since everybody is given them
        began = time.perf_counter()
        self._train = self._form.prepare(self._problem, self._contender.variant, self._device)
        return {"seconds": time.perf_counter() - began}

    def train(self, epochs: int, given_order: bool = False) -> dict[str, Any]:
        """Train from the first weights. losses: of each step, or of each epoch."""
        order = self._problem.order() if given_order else None
        began = time.perf_counter()
        losses = self._train(epochs, order)
        seconds = time.perf_counter() - began
        return {"seconds": seconds, "losses": [float(loss) for loss in losses]}


def serve(session: Session, requests: Iterable[str], replies: TextIO) -> None:
    for line in requests:
        request = json.loads(line)
        try:
            reply = getattr(session, request.pop("do"))(**request)
        except Exception as error:  # noqa: BLE001 (whatever a library raises, the other contenders go on)
            reply = {"error": f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"}
        print(json.dumps(reply), file=replies, flush=True)


def main() -> None:
    name, *device = sys.argv[1:]
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    contender = next(each for each in CONTENDERS if each.name == name)
    serve(Session(contender, int(device[0]) if device else None), sys.stdin, replies)


if __name__ == "__main__":
    main()
