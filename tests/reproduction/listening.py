"""A watcher of `gpunet.reproduction.running.reproduce` for the tests."""

from __future__ import annotations


class Listener:
    """Hears how it goes, and may end it."""

    def __init__(self, interrupt_at: int | None = None) -> None:
        self.begun, self.ended, self.done, self.total = [], [], [], 0.0
        self.interrupt_at = interrupt_at

    def start(self, plan, dataset, backend, total):
        self.total = total

    def begin(self, training, number, of):
        if number == self.interrupt_at:
            raise KeyboardInterrupt
        self.begun.append((training, number, of))

    def advance(self, done):
        self.done.append(done)

    def end(self, training, outcome):
        self.ended.append(training)
