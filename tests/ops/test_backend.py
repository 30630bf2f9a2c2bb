"""Which backend is taken, and what is said where one cannot be had; without a device, so on a stand-in for CuPy."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest
from sentences import refused

from gpunet.errors import InputError
from gpunet.ops import backend
from gpunet.ops.numpy_ops import NumpyOps


class RuntimeFailure(Exception):
    """Stands for cupy_backends.cuda.api.runtime.CUDARuntimeError."""


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """As these tests find it, so they leave it."""
    monkeypatch.delenv(backend.SIMULATOR_VARIABLE, raising=False)


@pytest.fixture
def cupy(monkeypatch):
    """A CuPy that reports two devices; its runtime can be changed."""
    module = ModuleType("cupy")
    t4 = {"name": b"Tesla T4", "major": 7, "minor": 5}
    module.cuda = SimpleNamespace(
        runtime=SimpleNamespace(getDeviceCount=lambda: 2, getDeviceProperties=lambda device: t4)
    )
    monkeypatch.setitem(sys.modules, "cupy", module)
    monkeypatch.setattr(backend, "find_spec", lambda name: object())
    return module


def failing(message):
    def fail():
        raise RuntimeFailure(message)

    return fail


def test_backend_reports_no_reason_where_a_device_answers(cupy):
    assert backend.why_no_cuda(0) is None and backend.why_no_cuda(1) is None


def test_backend_says_what_a_device_is(cupy):
    t4 = {"name": b"Tesla T4", "major": 7, "minor": 5, "multiProcessorCount": 40, "totalGlobalMem": 15 * 2**30}
    versions = {"driverGetVersion": lambda: 13000, "runtimeGetVersion": lambda: 12090}
    cupy.cuda.runtime = SimpleNamespace(getDeviceProperties=lambda device: t4, **versions)
    assert backend.device_facts() == {
        "device": "Tesla T4",
        "compute capability": "7.5",
        "multiprocessors": "40",
        "memory": "15.0 GB",
        "CUDA of the driver": "13.0",
        "CUDA of CuPy": "12.9",
    }


def test_backend_auto_takes_a_device_that_answers(cupy, monkeypatch):
    monkeypatch.setattr(backend, "_cuda", lambda device: backend.Backend("its operations", f"CUDA on device {device}"))
    assert backend.make_backend("auto", device=1) == ("its operations", "CUDA on device 1")


def test_backend_auto_computes_on_the_cpu_where_numba_cannot_use_the_device(cupy, monkeypatch):
    def fails(device):
        raise InputError("device 0 answers, but Numba cannot use it (no kernel image)")

    monkeypatch.setattr(backend, "_cuda", fails)
    made = backend.make_backend("auto")
    assert isinstance(made.ops, NumpyOps) and "because device 0 answers, but Numba" in made.note
    with refused("no kernel image"):
        backend.make_backend("cuda")


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("cudaErrorInsufficientDriver: CUDA driver version is insufficient", "no NVIDIA driver, or it is too old"),
        ("cudaErrorNoDevice: no CUDA-capable device is detected", "the driver reports no device"),
        ("cudaErrorUnknown: unknown error\nand more", "CUDA does not start (cudaErrorUnknown: unknown error)"),
    ],
)
def test_backend_says_what_the_driver_lacks(cupy, message, words):
    cupy.cuda.runtime.getDeviceCount = failing(message)
    assert words in backend.why_no_cuda()
    made = backend.make_backend("auto")
    assert isinstance(made.ops, NumpyOps) and words in made.note and "\n" not in made.note
    with refused("backend cuda", words):
        backend.make_backend("cuda")


def test_backend_names_missing_packages(cupy, monkeypatch):
    for package in ("cupy", "numba_cuda"):
        monkeypatch.setattr(backend, "find_spec", lambda name, package=package: None if name == package else object())
        assert "pip install" in backend.why_no_cuda()
        with refused("backend cuda", "pip install"):
            backend.make_backend("cuda")
    with refused("backend sim", "pip install"):
        backend.make_backend("sim")


def test_backend_refuses_a_device_that_is_not_there(cupy):
    with refused("there is no device 2"):
        backend.make_backend("cuda", device=2)


def test_backend_refuses_a_device_too_old_for_the_kernels(cupy):
    cupy.cuda.runtime.getDeviceProperties = lambda device: {"name": b"GTX 1080", "major": 6, "minor": 1}
    with refused("GTX 1080 has compute capability 6.1"):
        backend.make_backend("cuda")


def test_backend_refuses_an_unknown_name():
    with refused("'tpu'", "auto, numpy, jit, cuda, sim"):
        backend.make_backend("tpu")


def test_backend_jit_is_numpy_with_compiled_loops():
    pytest.importorskip("numba")
    made = backend.make_backend("jit")
    assert isinstance(made.ops, NumpyOps) and made.ops.name == "jit" and "Numba" in made.note


def test_backend_jit_says_what_it_lacks(monkeypatch):
    monkeypatch.setitem(sys.modules, "gpunet.ops.jit_ops", None)
    monkeypatch.setattr(backend, "find_spec", lambda name: object())
    with refused("backend jit", "Numba does not load", "--backend numpy"):
        backend.make_backend("jit")
    monkeypatch.setattr(backend, "find_spec", lambda name: None)
    with refused("backend jit", 'pip install "gpunet[jit]"'):
        backend.make_backend("jit")


def test_backend_cannot_turn_to_the_simulator_late(cupy, monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", ModuleType("numba"))
    with refused("before Numba is imported"):
        backend.make_backend("sim")
