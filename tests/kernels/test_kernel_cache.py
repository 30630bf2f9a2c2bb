"""Compiled kernels on disk: found again by what they are made of, and by nothing else."""

from __future__ import annotations

import errno
import json
import os
import pickle
import shutil
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FunctionType, SimpleNamespace

import numpy as np
import pytest

from gpunet.kernels import kernel_cache, report
from gpunet.kernels.kernel_cache import KernelCache, describe
from gpunet.kernels.launch import SIMULATOR, Launch, jit

FLOATS = ("array(float32, 1d, C)",)  # argument types, as far as the cache is concerned


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The folder of an empty cache, and a fresh count."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("GPUNET_CACHE", str(folder))
    monkeypatch.setattr(kernel_cache, "counts", kernel_cache.Counts())
    monkeypatch.setattr(kernel_cache, "TRUSTED", kernel_cache.TRUSTED | {__name__})  # of `Compiled`
    kernel_cache._folder.cache_clear()
    yield folder
    kernel_cache._folder.cache_clear()


def new_process():
    """What a process works out once, it will work out again."""
    kernel_cache._folder.cache_clear()


class Target:
    """As numba-cuda's target context: knows the toolkit's version and the device's compute capability."""

    def __init__(self, toolkit=(12, 9), capability=(7, 5)):
        self.described = toolkit, capability

    def codegen(self):
        return SimpleNamespace(magic_tuple=lambda: self.described)


class Compiled(SimpleNamespace):
    """As numba-cuda's compiled kernel: can be pickled."""

    signature = FLOATS


def compiled(code, **target):
    return Compiled(code=code, target_context=Target(**target))


def scaled(x, factor):
    return x * factor


TERM = 2


def make_kernel(factor=3.0, device_function=scaled, **options):
    """A dispatcher as numba-cuda's, of a kernel with a closure over a number and a device function, and a global."""
    device_dispatcher = SimpleNamespace(py_func=device_function, targetoptions={"device": True})

    def kernel(x):
        x[0] = device_dispatcher(x[0], factor) + TERM

    return SimpleNamespace(py_func=kernel, targetoptions={"fastmath": False} | options)


def save(dispatcher, code="code", signature=FLOATS, **target):
    KernelCache(dispatcher).save_overload(signature, compiled(code, **target))


def load(dispatcher, signature=FLOATS, **target):
    """The code that is found, or None."""
    found = KernelCache(dispatcher).load_overload(signature, Target(**target))
    return found and found.code


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


# What is found again


def test_kernel_is_found_again_by_another_process(cache):
    assert load(make_kernel()) is None
    save(make_kernel(), "code")
    new_process()
    assert load(make_kernel()) == "code"
    assert kernel_cache.counts == kernel_cache.Counts(loaded=1, compiled=1)
    (path,) = files(cache)
    assert path.name.startswith("kernel-") and kernel_cache.cache_size() == (1, path.stat().st_size)


@pytest.mark.parametrize(
    "other",
    [
        {"signature": ("array(float32, 1d, A)",)},
        {"toolkit": (13, 0)},
        {"capability": (8, 0)},
    ],
)
def test_kernel_for_other_arguments_or_another_device_is_another(cache, other):
    save(make_kernel(), "the one")
    assert load(make_kernel(), **other) is None
    save(make_kernel(), "the other", **other)
    assert (load(make_kernel()), load(make_kernel(), **other)) == ("the one", "the other")


def with_code(function, **changes):
    return FunctionType(function.__code__.replace(**changes), function.__globals__, function.__name__)


@pytest.mark.parametrize(
    "other",
    [
        {"factor": 3},  # an int makes other code than a float
        {"factor": np.float32(3.0)},
        {"factor": (3.0, 4.0)},
        {"fastmath": True},
        {"device_function": lambda x, factor: x / factor},
        {"device_function": with_code(scaled, co_varnames=("factor", "x"))},
        {"device_function": with_code(scaled, co_consts=(*scaled.__code__.co_consts, 2.0))},
    ],
)
def test_kernel_of_other_code_is_another(cache, other):
    save(make_kernel(), "old")
    assert load(make_kernel(**other)) is None


def test_kernel_that_reads_another_global_is_another(cache, monkeypatch):
    """In a device function of another module, say: no file that the kernel stands in has changed."""
    save(make_kernel(), "old")
    monkeypatch.setitem(globals(), "TERM", 3)
    assert load(make_kernel()) is None


def test_description_tells_functions_of_equal_code_apart():
    """Equal byte code in two modules means two things where their globals differ."""
    code = compile("def add_term(x):\n    return x + TERM\n", "a file", "exec").co_consts[0]
    one, other = FunctionType(code, {"TERM": 1}), FunctionType(code, {"TERM": 2})
    assert describe((one, other)) != describe((one, one)) != describe((other, other))


def test_description_is_of_numba_and_plain_values_only():
    with pytest.raises(TypeError, match="cannot be known again"):
        describe(object())
    with pytest.raises(TypeError, match="cannot be known again"):
        describe(kernel_cache)  # a module of ours, in which anything may be looked up


def test_kernel_that_cannot_be_described_is_compiled_and_not_kept(cache):
    for _ in range(2):
        assert load(make_kernel(factor=object())) is None
        save(make_kernel(factor=object()))
    assert files(cache) == []


# When the sources or the compiler are others


def test_kernel_of_edited_sources_is_not_found(cache, tmp_path, monkeypatch):
    """One line of one file, which need not be the kernel's own."""
    sources = tmp_path / "kernels"
    shutil.copytree(kernel_cache.SOURCES, sources, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(kernel_cache, "SOURCES", sources)
    save(make_kernel(), "old")
    new_process()
    assert load(make_kernel()) == "old"
    with (sources / "optimizers.py").open("a") as file:
        file.write("# edited\n")
    new_process()
    assert load(make_kernel()) is None


@pytest.mark.parametrize("distribution", ["numba-cuda", "nvidia-nvjitlink-cu12"])
def test_kernel_of_another_compiler_is_not_found(cache, monkeypatch, distribution):
    save(make_kernel(), "old")
    usual = kernel_cache._version
    monkeypatch.setattr(kernel_cache, "_version", lambda name: "99" if name == distribution else usual(name))
    new_process()
    assert load(make_kernel()) is None


def test_kernel_compiled_under_other_orders_to_numba_is_not_found(cache, monkeypatch):
    save(make_kernel(), "old")
    monkeypatch.setenv("NUMBA_FORCE_CUDA_CC", "8.0")
    new_process()
    assert load(make_kernel()) is None


# When a file is not what it should be


class Trap:
    """Unpickling it makes a folder: proof that somebody did."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_planted_pickle_is_not_run(cache, tmp_path):
    save(make_kernel(), "code")
    (path,) = files(cache)
    sprung = tmp_path / "sprung"
    for content in (pickle.dumps(Trap(sprung)), path.name.encode() + pickle.dumps(Trap(sprung))):
        path.write_bytes(zlib.compress(content))
        assert load(make_kernel()) is None
    assert not sprung.exists()
    pickle.loads(pickle.dumps(Trap(sprung)))  # which would have shown
    assert sprung.exists()


def test_kernel_in_anothers_place_is_not_loaded(cache):
    save(make_kernel(1.0), "one")
    (one,) = files(cache)
    save(make_kernel(2.0), "other")
    (other,) = set(files(cache)) - {one}
    shutil.copy(one, other)
    assert (load(make_kernel(1.0)), load(make_kernel(2.0))) == ("one", None)


def test_file_that_unpacks_to_too_much_is_no_kernel(cache, monkeypatch):
    save(make_kernel(), "code" * 1000)
    assert load(make_kernel()) == "code" * 1000
    monkeypatch.setattr(kernel_cache, "MOST_BYTES", 2000)
    assert files(cache)[0].stat().st_size < 2000
    assert load(make_kernel()) is None


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="files have no owners here")
def test_file_that_others_may_write_is_not_loaded(cache, monkeypatch):
    save(make_kernel(), "code")
    (path,) = files(cache)
    mode = path.stat().st_mode
    path.chmod(mode | 0o002)
    assert load(make_kernel()) is None
    path.chmod(mode)
    assert load(make_kernel()) == "code"
    owner = path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    assert load(make_kernel()) == ("code" if owner == 0 else None)  # root may do as it likes anyway


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_pipe_in_a_kernels_place_is_not_waited_for(cache):
    save(make_kernel(), "code")
    (path,) = files(cache)
    path.unlink()
    os.mkfifo(path)
    assert load(make_kernel()) is None


# When the disk does not do as it should


@pytest.mark.parametrize("damage", ["empty", "truncated", "one bit", "something else"])
def test_damaged_file_is_no_kernel_and_is_replaced(cache, damage):
    save(make_kernel(), "code")
    (path,) = files(cache)
    content = path.read_bytes()
    middle = len(content) // 2
    one_bit = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    damaged = {"empty": b"", "truncated": content[:-1], "one bit": one_bit, "something else": b"something else"}
    path.write_bytes(damaged[damage])
    assert load(make_kernel()) is None
    assert kernel_cache.counts.loaded == 0
    save(make_kernel(), "code")
    assert load(make_kernel()) == "code"


def test_folder_that_cannot_be_written_means_no_cache(cache):
    cache.write_text("a file where the folder should be")
    assert load(make_kernel()) is None
    save(make_kernel())
    assert load(make_kernel()) is None
    assert cache.read_text() == "a file where the folder should be"
    with pytest.raises(OSError):
        kernel_cache.ensure_writable()


def test_cache_that_is_there_may_not_be_writable(cache, monkeypatch):
    """Not by permissions, which root does not feel."""
    kernel_cache.ensure_writable()

    def read_only(**options):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", read_only)
    with pytest.raises(OSError, match="Read-only"):
        kernel_cache.ensure_writable()


def test_full_disk_leaves_nothing_behind(cache, monkeypatch):
    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    save(make_kernel())
    assert cache.is_dir() and files(cache) == []


def test_kernel_that_cannot_be_pickled_is_not_kept(cache):
    class Linked(SimpleNamespace):
        def __reduce__(self):
            raise RuntimeError("Cannot pickle CUDACodeLibrary with linking files")

    KernelCache(make_kernel()).save_overload(FLOATS, Linked(target_context=Target()))
    assert files(cache) == []


def test_kernel_for_one_launch_configuration_is_not_kept(cache):
    """Numba marks kernels that it made for the grid that they were first launched with."""
    kernel = compiled("code")
    kernel.launch_config_sensitive = True
    KernelCache(make_kernel()).save_overload(FLOATS, kernel)
    assert files(cache) == []


def test_writers_at_once_leave_whole_kernels(cache):
    """Two kernels, each from two writers, while two readers look: a reader finds its kernel, or none."""
    kernels = {factor: make_kernel(factor) for factor in (1.0, 2.0)}
    code = {factor: f"code {factor} " * 20_000 for factor in kernels}

    def write(factor):
        for _ in range(20):
            save(kernels[factor], code[factor])

    def read(factor):
        return [load(kernels[factor]) for _ in range(100)]

    with ThreadPoolExecutor(6) as pool:
        written = [pool.submit(write, factor) for factor in (*kernels, *kernels)]
        found = {factor: pool.submit(read, factor) for factor in kernels}
    assert [each.result() for each in written] == [None] * 4
    for factor in kernels:
        assert set(found[factor].result()) <= {None, code[factor]}
        assert load(kernels[factor]) == code[factor]


def test_folders_unused_for_longest_go(cache):
    """When another is added, and nothing else that lies there."""
    names = [f"{kernel_cache.FOLDER}{index:016x}" for index in range(kernel_cache.KEPT + 2)]
    for index, name in enumerate([*names, "kernels-of-mine"]):
        (cache / name).mkdir(parents=True)
        (cache / name / "one.kernel").write_bytes(b"")
        os.utime(cache / name, (1000 - index, 1000 - index))
    save(make_kernel())
    own = kernel_cache._folder().name
    assert {path.name for path in cache.iterdir()} == {*names[: kernel_cache.KEPT - 1], own, "kernels-of-mine"}


def test_folder_is_marked_as_used(cache):
    save(make_kernel())
    (folder,) = cache.iterdir()
    os.utime(folder, (1000, 1000))
    new_process()
    load(make_kernel())
    assert folder.stat().st_mtime > 1000


def test_cache_folder_is_the_users(monkeypatch, tmp_path):
    monkeypatch.delenv("GPUNET_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert kernel_cache.cache_folder() == tmp_path / ".cache" / "gpunet" / "kernels"
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert kernel_cache.cache_folder() == Path("/caches/gpunet/kernels")
    monkeypatch.setenv("GPUNET_CACHE", "~/kernels")
    assert kernel_cache.cache_folder() == tmp_path / "kernels"


@pytest.mark.skipif(not SIMULATOR, reason="there is a device")
def test_cache_is_inert_in_the_simulator(cache):
    kernel = jit(make_kernel().py_func)
    assert not hasattr(kernel, "_cache")
    Launch(kernel, 1, 1, (np.zeros(1, np.float32),)).compile()
    assert not cache.exists() and kernel_cache.counts == kernel_cache.Counts()


def test_import_of_the_cache_loads_no_numba():
    program = "import sys, gpunet.kernels.kernel_cache; raise SystemExit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# Numba's own dispatchers, compiled and linked for a device that nothing runs on

PROGRAM = """
import hashlib, json
import numpy as np
import stand_in_device
stand_in_device.install()
from numba.cuda.cudadrv import nvvm
from gpunet.kernels import epoch, kernel_cache, report
from gpunet.kernels.launch import Recording

compilations = []
compile_ir = nvvm.compile_ir
nvvm.compile_ir = lambda *arguments, **options: compilations.append(1) or compile_ir(*arguments, **options)

cases = {case.name: case for case in report.cases()}
launches = Recording()
epoch.advance(np.zeros(1, np.int32), stream=launches)
launches[0].compile()
cases["sgd"].kernel.compile(cases["sgd"].signature).bind()
kernels = [*launches[0].kernel.overloads.values(), *cases["sgd"].kernel.overloads.values()]
cubins = [getattr(cubin, "code", cubin) for kernel in kernels for cubin in kernel.library._cubin_cache.values()]
described = [hashlib.sha256(kernel_cache.describe(case.kernel).encode()).hexdigest() for case in cases.values()]
print(json.dumps({
    "counts": vars(kernel_cache.counts),
    "compilations": len(compilations),
    "cubins": [hashlib.sha256(cubin).hexdigest() for cubin in cubins],
    "described": described,
}))
"""


def in_a_process(folder, **variables):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    environment |= {"GPUNET_CACHE": str(folder), "PYTHONPATH": str(Path(__file__).parent)} | variables
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    """One process after another with the same cache: strings hash otherwise, and Python finds no byte code on disk."""
    try:
        report.find_ptxas()
    except SystemExit as missing:
        pytest.skip(str(missing))
    folder = tmp_path_factory.mktemp("processes")
    elsewhere = {"PYTHONPYCACHEPREFIX": str(folder / "pyc"), "PYTHONDONTWRITEBYTECODE": "1"}
    cache = folder / "cache"
    return in_a_process(cache, PYTHONHASHSEED="1"), in_a_process(cache, PYTHONHASHSEED="2", **elsewhere)


def test_second_process_loads_what_the_first_compiled(processes):
    first, second = processes
    assert first["counts"] == {"loaded": 0, "compiled": 2} and first["compilations"] >= 2
    assert second["counts"] == {"loaded": 2, "compiled": 0} and second["compilations"] == 0
    assert first["cubins"] == second["cubins"] and len(set(first["cubins"])) == 2


def test_every_variant_is_described_alike_in_all_processes(processes):
    """And no two alike: each is a kernel of its own."""
    first, second = processes
    assert first["described"] == second["described"]
    assert len(set(first["described"])) == len(first["described"]) >= 100
