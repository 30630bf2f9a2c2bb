"""What bench_kernels.py times: the operations of a training step, at the reports' shapes and at larger ones."""

from __future__ import annotations

from operations.case import Case
from operations.layers import DenseBackward, DenseForward, DenseHead, Loss
from operations.parameters import DenseUpdate, Optimizer

EXP, LARGE = (784, 64, 10), (512, 1024, 1024, 256)

CASES: tuple[Case, ...] = (
    DenseForward(1, 784, 10, "sigmoid", gathered=True),
    DenseForward(64, 784, 64, gathered=True),
    DenseForward(128, 784, 64, gathered=True),
    DenseForward(128, 784, 64),
    DenseForward(128, 64, 64),
    DenseForward(128, 2048, 2048),
    DenseForward(1024, 1024, 1024),
    DenseForward(4096, 1024, 1024),
    DenseForward(8192, 64, 64),
    DenseForward(8192, 784, 1024, gathered=True),
    DenseForward(8192, 2048, 2048),
    DenseBackward(128, 64, 64),
    DenseBackward(128, 2048, 2048),
    DenseBackward(1024, 1024, 1024),
    DenseBackward(4096, 1024, 1024),
    DenseBackward(8192, 64, 64),
    DenseBackward(8192, 2048, 64),
    DenseHead(1, 10, 1, "binary_cross_entropy", "sigmoid"),
    DenseHead(64, 784, 10, gathered=True),
    DenseHead(64, 64, 10),
    DenseHead(128, 64, 10),
    DenseHead(1024, 512, 100),
    DenseHead(4096, 1024, 10),
    DenseHead(8192, 64, 10),
    DenseUpdate((784, 10, 1), 1, "sgd"),
    DenseUpdate((784, 10), 64),
    DenseUpdate(EXP, 64),
    DenseUpdate(EXP, 128),
    DenseUpdate(LARGE, 128),
    DenseUpdate(LARGE, 4096),
    Loss("softmax_cross_entropy", 128, 10),
    Loss("softmax_cross_entropy", 8192, 10),
    Loss("softmax_cross_entropy", 4096, 1000),
    Loss("binary_cross_entropy", 64, 1),
    Loss("binary_cross_entropy", 8192, 1),
    Loss("squared_error", 128, 10),
    Loss("squared_error", 8192, 10),
    Optimizer("adam", EXP),
    Optimizer("adam", LARGE),
    Optimizer("sgd", (784, 10, 1)),
    Optimizer("sgd", LARGE),
)
