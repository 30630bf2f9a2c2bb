"""The one place that knows odd shapes: one, primes, and one below, at and above where code changes its path."""

from __future__ import annotations

# (P, B, I, O) of a dense layer.
DENSE = (
    (1, 1, 1, 1),
    (1, 7, 5, 3),
    (3, 1, 13, 2),  # one row: the weight's gradient is an outer product
    (2, 31, 33, 1),  # one output: BLAS turns to its vector routines
    (3, 5, 1, 4),  # one input
    (2, 63, 64, 65),  # about a tile of a kernel
    (1, 128, 784, 10),  # as in the reports
)

# (P, B, C) of logits with two classes or more.
LOGITS = ((1, 1, 2), (3, 7, 2), (2, 5, 3), (3, 33, 10), (1, 128, 11), (2, 4, 257))

# Layer sizes by depth (layers of weights). The last one is the loss's.
HIDDEN_BY_DEPTH = {1: (), 2: (5,), 3: (5, 4), 4: (5, 4, 6)}

# Layer sizes of whole networks, each with padding behind every array and one just over the alignment.
NETWORKS = ((1, 1), (7, 3), (5, 33, 2), (31, 32, 33, 10), (784, 64, 10))

# (n, batch size): whole batches, a short last one, one of a single row, one batch of all, one that exceeds the data.
BATCHES = ((12, 4), (20, 7), (13, 4), (9, 9), (9, 64), (5, 1))
