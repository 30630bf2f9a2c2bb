"""bench_kernels: what it counts, what it refuses to time, and what it says where there is no device.

The device's side runs on a stand-in for CuPy, so that its arithmetic is held; its times mean nothing here.
"""

from __future__ import annotations

import json

import bench_kernels
import device_clock
import numpy as np
import pytest
import stand_in_cupy
from measuring import host_times, percentiles
from operations import cases as kernel_cases
from operations import layers as layer_cases
from operations.bounds import Expected
from operations.case import Case, exactly
from operations.cases import DenseBackward, DenseForward, DenseHead, DenseUpdate, Loss, Optimizer
from PIL import Image

from gpunet.ops import NumpyOps

# One of each kind of case, small.
SMALL_CASES = (
    DenseForward(7, 33, 5, gathered=True),
    DenseForward(1, 13, 3, "sigmoid"),
    DenseBackward(5, 13, 7),
    DenseBackward(3, 4, 2, "sigmoid"),
    DenseHead(6, 9, 3),
    DenseHead(1, 5, 1, "binary_cross_entropy", "sigmoid"),
    DenseHead(6, 9, 4, "squared_error"),
    DenseHead(6, 9, 3, gathered=True),
    DenseUpdate((9, 5, 3), 6),
    DenseUpdate((9, 4, 1), 1, "sgd"),
    Loss("softmax_cross_entropy", 7, 5),
    Loss("binary_cross_entropy", 7, 1),
    Loss("squared_error", 7, 5),
    Optimizer("adam", (9, 5, 3)),
    Optimizer("sgd", (9, 5, 3)),
)


@pytest.fixture
def small_cases(monkeypatch):
    monkeypatch.setattr(bench_kernels, "CASES", SMALL_CASES)
    monkeypatch.setattr(bench_kernels, "host_times", lambda run, samples, patience: [1.0] * samples)
    monkeypatch.setattr(device_clock, "SMALLEST_FLUSH", 1)


def run_without_device(monkeypatch, *arguments):
    monkeypatch.setattr(bench_kernels, "find_device", lambda number: "there is none")
    return bench_kernels.main([str(argument) for argument in arguments])


def run_on_stand_in(monkeypatch, *arguments, ops=None):
    monkeypatch.setattr(bench_kernels, "find_device", lambda number: stand_in_cupy.device(ops))
    return bench_kernels.main([str(argument) for argument in arguments])


# Where there is no device


def test_bench_kernels_without_a_device_times_numpy_and_says_so(monkeypatch, capsys, tmp_path):
    path = tmp_path / "new" / "kernels.json"
    only = ("dense_head 1 x 10", "dense_update 784-10-1", "sgd 784")
    assert run_without_device(monkeypatch, "--quick", "--only", *only, "--out", path) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(
        "No GPU is used, because there is none: only NumPy is timed, and nothing here was measured"
    )
    results = json.loads(path.read_text())
    assert results["device"] is None and results["ceiling"] is None and not results["complete"]
    assert [row["kernel"] for row in results["rows"]] == ["dense_head", "dense_update", "sgd"]
    for row in results["rows"]:
        assert list(row["us"]) == list(row["errors"]) == ["NumPy"] and row["floor_us"] is None
        assert 0 < row["us"]["NumPy"]["p20"] <= row["us"]["NumPy"]["median"] <= row["us"]["NumPy"]["p80"] < 1e5
    assert results["machine"]["numpy"] == np.__version__
    with Image.open(path.with_suffix(".png")) as figure:
        assert figure.width > 1000 and figure.convert("L").getextrema() == (0, 255)


def test_bench_kernels_interrupted_keeps_the_cases_that_it_has_measured(monkeypatch, capsys, small_cases, tmp_path):
    path, measure, calls = tmp_path / "kernels.json", bench_kernels.measure, []

    def interrupted_at_the_third(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return measure(*arguments)

    monkeypatch.setattr(bench_kernels, "measure", interrupted_at_the_third)
    assert run_without_device(monkeypatch, "--samples", 1, "--out", path) == 130
    results = json.loads(path.read_text())
    assert len(results["rows"]) == 2 and results["complete"] is False
    assert "interrupted; the cases measured so far are kept" in capsys.readouterr().err


def test_bench_kernels_redraws_a_figure_from_its_file(monkeypatch, small_cases, tmp_path):
    path = tmp_path / "kernels.json"
    assert run_without_device(monkeypatch, "--samples", 1, "--only", "adam", "--out", path) == 0
    figure = path.with_suffix(".png")
    drawn = figure.read_bytes()
    figure.unlink()
    assert bench_kernels.main(["--figure", str(path)]) == 0
    assert figure.read_bytes() == drawn


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("--only", "convolution"), "--only convolution: no case"),
        (("--figure", "nothing.json"), "--figure nothing.json"),
    ],
)
def test_bench_kernels_refuses_in_a_sentence(monkeypatch, capsys, arguments, words):
    assert run_without_device(monkeypatch, *arguments) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_bench_kernels_never_writes_a_part_over_the_whole():
    whole = {"device": None, "complete": True}
    assert bench_kernels.default_path(whole).name == "kernels-cpu.json"
    assert bench_kernels.default_path(whole | {"complete": False}).name == "kernels-cpu-part.json"
    name = {"device": {"device": "NVIDIA H100 80GB HBM3"}, "complete": True}
    assert bench_kernels.default_path(name).name == "kernels-nvidia-h100-80gb-hbm3.json"


# On a device


def test_bench_kernels_on_a_device_times_all_contenders(monkeypatch, capsys, small_cases, tmp_path):
    monkeypatch.setitem(device_clock.CEILINGS, stand_in_cupy.NAME, device_clock.Ceiling(1e6, 1e6))
    path = tmp_path / "kernels.json"
    assert run_on_stand_in(monkeypatch, "--samples", 2, "--out", path) == 0
    assert "No GPU" not in capsys.readouterr().out
    results = json.loads(path.read_text())
    assert results["complete"] and results["device"]["device"] == stand_in_cupy.NAME
    assert len(results["rows"]) == len(SMALL_CASES)
    for row, case in zip(results["rows"], SMALL_CASES, strict=True):
        contenders = ["NumPy", "kernel", "CuPy", "kernel, again", "CuPy, again"]
        contenders += ["cuBLAS"] if case.kernel in ("dense_forward", "dense_backward") else []
        assert list(row["us"]) == contenders and list(row["errors"]) == ["NumPy", "kernel", "CuPy"]
        assert all(0 <= error <= 1 for error in row["errors"].values())
        assert row["floor_us"] == max(case.flops, case.bytes)
    assert path.with_suffix(".png").stat().st_size > 10_000


def test_bench_kernels_has_no_floor_of_an_unknown_device_and_does_not_repeat_what_is_large(
    monkeypatch, small_cases, tmp_path
):
    monkeypatch.setattr(bench_kernels, "SMALL", 0)
    path = tmp_path / "kernels.json"
    assert run_on_stand_in(monkeypatch, "--samples", 1, "--only", "sgd", "--out", path) == 0
    results = json.loads(path.read_text())
    assert results["ceiling"] is None and results["rows"][0]["floor_us"] is None
    assert list(results["rows"][0]["us"]) == ["NumPy", "kernel", "CuPy"]


class WithoutBias(stand_in_cupy.DeviceOps):
    def dense_forward(self, x, weight, bias, out, **options):
        super().dense_forward(x, weight, bias * 0, out, **options)


class WithNan(stand_in_cupy.DeviceOps):
    def dense_forward(self, x, weight, bias, out, **options):
        super().dense_forward(x, weight, bias, out, **options)
        out[0, -1, -1] = np.nan


class HalfRate(stand_in_cupy.DeviceOps):
    def sgd(self, state, step):
        state.step_table[...] *= 0.5
        super().sgd(state, step)


@pytest.mark.parametrize(
    "ops, only, result",
    [(WithoutBias, "dense_forward", "out"), (WithNan, "dense_forward", "out"), (HalfRate, "sgd", "parameters")],
)
def test_bench_kernels_refuses_to_time_a_wrong_kernel(monkeypatch, capsys, small_cases, tmp_path, ops, only, result):
    path = tmp_path / "kernels.json"
    assert run_on_stand_in(monkeypatch, "--samples", 1, "--only", only, "--out", path, ops=ops()) == 1
    error = capsys.readouterr().err
    assert only in error and f"{result} by kernel is off by" in error and "nothing of it is timed" in error
    assert not path.exists()


def test_bench_kernels_refuses_to_time_another_product_in_cupy(monkeypatch, capsys, small_cases, tmp_path):
    def forgets_activation(xp, x, weight, bias, out, activation):
        xp.add(xp.dot(x, weight), bias, out=out)

    monkeypatch.setattr(layer_cases, "forward_in_cupy", forgets_activation)
    arguments = ("--samples", 1, "--only", "dense_forward", "--out", tmp_path / "kernels.json")
    assert run_on_stand_in(monkeypatch, *arguments) == 1
    assert "out by CuPy is off by" in capsys.readouterr().err


def test_device_clock_counts_no_sample_in_which_the_device_waited(monkeypatch):
    monkeypatch.setattr(device_clock, "SMALLEST_FLUSH", 1)
    clock, calls = stand_in_cupy.device().clock, []
    monkeypatch.setattr(stand_in_cupy.Event, "late", 3)
    times = clock.times(lambda: calls.append(1), 2, calls=1)
    assert len(times) == 2 and len(calls) == 3 + 3 + 2  # warm-ups, late ones, samples
    monkeypatch.setattr(stand_in_cupy.Event, "late", 10**6)
    with pytest.raises(device_clock.HostTooSlow, match="too slowly"):
        clock.times(lambda: None, 1)


# What is counted


def test_floor_is_the_slower_of_operations_and_bytes():
    ceiling = device_clock.Ceiling(flops=48e6, bandwidth=60e6)
    case = DenseForward(2, 3, 4)
    assert case.flops == 2 * 2 * 3 * 4 == 48  # one microsecond
    assert case.bytes == 4 * (2 * 3 + 3 * 4 + 4 + 2 * 4) == 120  # two
    assert ceiling.floor(case.flops, case.bytes) == pytest.approx(2)
    assert ceiling._replace(flops=16e6).floor(case.flops, case.bytes) == pytest.approx(3)


@pytest.mark.parametrize(
    "case, flops, bytes_",
    [
        (DenseForward(2, 5, 4, gathered=True), 80, 2 * (8 + 4) + 4 * (5 * 4 + 4 + 2 * 4)),  # two words a row
        (DenseBackward(2, 3, 4), 48, 4 * (2 * 4 + 3 * 4 + 2 * 3 + 2 * 3)),
        (Loss("softmax_cross_entropy", 2, 3), 24, 4 * (6 + 6 + 2 + 2) + 2),
        # x, weight, bias, row numbers, labels, logits, dlogits, losses, hits, dx
        (DenseHead(2, 3, 4), 96 + 32, 4 * (6 + 12 + 4 + 2 + 2 + 8 + 8 + 2 + 6) + 2),
        # dz's products with x, its sums, and two operations a parameter; x and row numbers, hidden, dz, parameters
        (DenseUpdate((3, 2, 1), 2, "sgd"), 2 * 2 * 8 + 2 * 3 + 2 * 11, 2 * (4 + 4) + 4 * 2 * (2 + 3) + 8 * 11),
        (Optimizer("adam", (3, 2)), 13 * 64, 28 * 64),  # weight and bias padded to 32 each
    ],
    ids=lambda value: value.kernel if isinstance(value, Case) else "",
)
def test_work_of_each_kind_of_case_is_that_counted_by_hand(case, flops, bytes_):
    assert (case.flops, case.bytes) == (flops, bytes_)


def test_cases_are_told_apart_and_span_the_shapes_asked_for():
    names = [(case.title, case.detail) for case in kernel_cases.CASES]
    assert len(set(names)) == len(names)
    forward = {case.shape for case in kernel_cases.CASES if case.kernel == "dense_forward"}
    assert forward >= {"128 x 784 x 64", "4096 x 1024 x 1024", "8192 x 2048 x 2048", "8192 x 64 x 64"}
    assert {case.kernel for case in SMALL_CASES} == {case.kernel for case in kernel_cases.CASES}


# What counts as equal


def test_bounds_refuse_a_sum_of_which_one_term_is_missing():
    case = DenseForward(16, 784, 64)
    inputs = case.draw()
    out = case.expected(inputs)["out"]

    def relu_of(x):
        return np.maximum(x @ inputs["weight"] + inputs["bias"][:, None], 0)

    assert out.error(relu_of(inputs["x"])) < 0.1
    inputs["x"][:, :, 500] = 0
    assert out.error(relu_of(inputs["x"])) > 10


def test_bounds_forgive_a_hit_only_where_two_logits_are_as_good_as_equal():
    case = DenseHead(2, 3, 2)
    inputs = case.draw()
    inputs["x"][...], inputs["weight"][...] = 1, 0
    inputs["bias"][...] = (1, 1 + 2**-22)
    close = case.expected(inputs)["hits"]
    assert close.error(1 - close.value) == 1 and close.error(close.value) == 0
    inputs["bias"][...] = (1, 1.1)
    clear = case.expected(inputs)["hits"]
    assert clear.error(1 - clear.value) == np.inf


def test_expected_lets_no_nan_pass():
    expected = Expected(np.zeros((1, 2)), np.full((1, 2), 0.5))
    assert expected.error(np.array([0.25, -0.5], np.float32)) == 1
    assert expected.error(np.array([0.0, np.nan], np.float32)) == np.inf
    assert Expected(np.zeros(1), np.array([np.nan])).error(np.ones(1)) == np.inf


@pytest.mark.parametrize("case", SMALL_CASES, ids=lambda case: f"{case.title} {case.detail}")
def test_cases_in_float64_are_within_a_hair_of_what_is_expected(case):
    """The bounds belong to the results that they are compared with."""
    inputs = case.draw()
    expected, exact = case.expected(inputs), exactly(case, inputs)
    assert expected.keys() == exact.keys() == case.on(NumpyOps(), inputs).results.keys()
    for name, values in exact.items():
        assert expected[name].error(values) < 1e-3
        assert expected[name].bound.shape == values.shape


@pytest.mark.filterwarnings("ignore:overflow encountered")  # uint32 arithmetic, in the simulator
@pytest.mark.parametrize("number", [2, 4, 8, 10, 13])
def test_cases_lie_where_the_kernels_read_them(number):
    """One case of each kind that the simulator is quick at; the kernels themselves have tests of their own."""
    pytest.importorskip("numba.cuda")
    from gpunet.ops.cuda_ops import CudaOps

    case, ops = SMALL_CASES[number], CudaOps()
    inputs = case.draw()
    prepared, expected = case.on(ops, inputs), case.expected(inputs)
    ops.capture(prepared.launches)()
    for name, result in prepared.results.items():
        assert expected[name].error(ops.to_host(result)) <= 1


# Times on the host


def test_host_times_are_of_single_calls():
    calls = []
    times = host_times(lambda: calls.append(1), 4, patience=1.0, at_least=1e-4)
    assert len(times) == 4 and all(0 < each < 50 for each in times)
    assert len(host_times(lambda: None, 100, patience=0.0)) == 3


def test_percentiles_are_those_of_the_times():
    assert percentiles([3.0, 1.0, 2.0, 5.0, 4.0, 6.0]) == {"p20": 2.0, "median": 3.5, "p80": 5.0}
