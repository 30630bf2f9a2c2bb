"""Compiled kernels, kept on disk: what one process has compiled, the next one loads.

Numba has a cache of its own (``cuda.jit(cache=True)``), which does not serve here. It knows a kernel by the pickled
contents of its closure, and these bytes change with the .pyc files that Python happens to find. It sees no change in a
device function of another file. And two processes that compile at once can leave an index by which the one's kernel is
loaded for the other's.

Here every kernel has a file, named by a hash of all that its code is made of: byte code, constants and options of the
kernel and of every device function that it calls, the types of its arguments, the device's compute capability and the
toolkit's version. The files lie in a folder for these sources and compilers, so that those of earlier ones can be
thrown away together. A file that is missing, damaged or cannot be written means that the kernel is compiled, no more.

Compiled code is code: whoever may write a file here may run programs as whoever loads it. So only files of one's own
are loaded (or root's), which nobody else may write, and what is unpickled may name nothing but Numba and its like.

Inert in the simulator. Numba is not imported here, so that anybody can ask where the kernels lie.
"""

import functools
import hashlib
import io
import os
import pickle
import shutil
import stat
import sys
import tempfile
import zlib
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from numbers import Number
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

SOURCES = Path(__file__).parent
KEPT = 8  # folders: a few versions and checkouts in turn find their kernels again
FOLDER, FILE = "kernels-", ".kernel"  # what folders' names begin with and files' names end on

MOST_BYTES = 64 * 1024**2  # that a file, which has a fiftieth of it, may have or unpack to

# What a file's pickle may name: packages, and what pickles are put together with. This keeps a pickle that somebody has
# put there from running at once; it is no defence against one that was written to get through.
TRUSTED = {"numba", "numba_cuda", "llvmlite", "cuda", "numpy", "gpunet", "copyreg"}
TRUSTED_BUILTINS = {"object", "complex", "set", "frozenset", "bytearray", "range", "slice"}

# Distributions that decide what a kernel compiles to, or how it is pickled. A toolkit from elsewhere is known by the
# version that Numba reports.
COMPILERS = (
    "numba",
    "numba-cuda",
    "llvmlite",
    "cuda-bindings",
    "cuda-core",
    "nvidia-cuda-nvcc-cu12",
    "nvidia-nvjitlink-cu12",
    "nvidia-nvvm",
    "nvidia-nvjitlink",
)


@dataclass
class Counts:
    """Kernels of one process: loaded from disk, and compiled."""

    loaded: int = 0
    compiled: int = 0


counts = Counts()


class CacheSize(NamedTuple):
    kernels: int
    bytes: int


def cache_folder() -> Path:
    """The folder that `GPUNET_CACHE` names, else one in the user's cache folder. It need not exist yet.

    What is loaded from it is code, so let nobody write to it whom you would not let run programs.
    """
    chosen = os.environ.get("GPUNET_CACHE")
    if chosen:
        return Path(os.path.expanduser(chosen))
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.path.expanduser(base), "gpunet", "kernels")


def cache_size() -> CacheSize:
    """What lies in the cache folder, of these sources and compilers and of earlier ones."""
    sizes = []
    for path in cache_folder().glob(f"{FOLDER}*/*{FILE}"):
        with suppress(OSError):  # another process may throw it away at this moment
            sizes.append(path.stat().st_size)
    return CacheSize(len(sizes), sum(sizes))


def ensure_writable() -> None:
    """Raise OSError unless kernels can be kept."""
    _make_folder()
    tempfile.TemporaryFile(dir=_folder()).close()


class KernelCache:
    """Stands in a numba-cuda dispatcher where its own cache would; the dispatcher asks it before it compiles."""

    def __init__(self, dispatcher: Any) -> None:
        self._dispatcher = dispatcher

    @property
    def cache_path(self) -> str:
        return str(_folder())

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """The compiled kernel for these argument types and the current device, or None."""
        path = self._path(signature, target_context)
        if path is None:
            return None
        try:
            kernel = _unpacked(_read(path), path.name)
        except Exception:  # noqa: BLE001 (a damaged file can raise anything, and the kernel can be compiled in any case)
            return None
        counts.loaded += 1
        return kernel

    def save_overload(self, signature: Any, kernel: Any) -> None:
        """Keep a kernel that has just been compiled, if it can be kept."""
        counts.compiled += 1
        path = self._path(signature, kernel.target_context)
        # Numba refuses with a RuntimeError to pickle a kernel that foreign code is linked to.
        if path is not None and not getattr(kernel, "launch_config_sensitive", False):
            with suppress(OSError, RuntimeError, pickle.PicklingError):
                _write(path, _packed(kernel, path.name))

    def _path(self, signature: Any, target_context: Any) -> Path | None:
        if self._code is None:
            return None
        device = target_context.codegen().magic_tuple()  # the toolkit's version and the compute capability
        digest = hashlib.sha256(f"{self._code} {signature} {device}".encode()).hexdigest()
        return _folder() / f"{self._dispatcher.py_func.__name__}-{digest[:32]}{FILE}"

    @functools.cached_property
    def _code(self) -> str | None:
        """None: the kernel refers to something that other processes would not know again, so it cannot be kept."""
        try:
            return describe(self._dispatcher)
        except TypeError:
            return None


def describe(value: Any) -> str:
    """What a kernel, or something that its code refers to, is made of: the same text in every process.

    Raises TypeError for what cannot be described.
    """
    return _describe(value, {})


def _describe(value: Any, known: dict[FunctionType, int]) -> str:
    """known: the functions that have been met, numbered."""
    if hasattr(value, "py_func"):  # a dispatcher, of a kernel or a device function
        return f"{sorted(value.targetoptions.items())} {_describe(value.py_func, known)}"
    if isinstance(value, FunctionType):
        return _describe_function(value, known)
    if isinstance(value, CodeType):
        return _describe_code(value, known)
    if isinstance(value, tuple):
        return f"({', '.join(_describe(each, known) for each in value)})"
    if value is None or isinstance(value, (str, Number)):
        return f"{type(value).__name__} {value!r}"  # float32 1.0 and float 1.0 make different code
    if type(value).__module__.startswith(("numba.core.types", "numba.cuda.types")):
        return f"type {value!r}"
    if isinstance(value, ModuleType) and not value.__name__.startswith("gpunet"):
        return f"module {value.__name__}"
    if isinstance(value, (BuiltinFunctionType, type)) and not str(value.__module__).startswith("gpunet"):
        return f"{value.__module__}.{value.__qualname__}"
    raise TypeError(f"a kernel that refers to {value!r} cannot be known again")


def _describe_function(function: FunctionType, known: dict[FunctionType, int]) -> str:
    """Its code, and what that finds elsewhere: default values, the closure, and the globals of all names in it."""
    if function in known:
        return f"function {known[function]}"
    known[function] = len(known)
    code = function.__code__
    closure = tuple(cell.cell_contents for cell in function.__closure__ or ())
    found = tuple((name, function.__globals__[name]) for name in code.co_names if name in function.__globals__)
    return " ".join(_describe(each, known) for each in (code, function.__defaults__, closure, found))


def _describe_code(code: CodeType, known: dict[FunctionType, int]) -> str:
    names = (code.co_names, code.co_varnames, code.co_cellvars, code.co_freevars)
    return f"{code.co_code.hex()} {names} {_describe(code.co_consts, known)}"


@functools.cache
def _folder() -> Path:
    """The folder for these sources and compilers, marked as used. It need not exist."""
    digest = hashlib.sha256()
    for path in sorted(SOURCES.glob("*.py")):
        digest.update(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    digest.update(sys.version.encode())
    digest.update(repr([_version(name) for name in COMPILERS]).encode())
    digest.update(repr(sorted(item for item in os.environ.items() if item[0].startswith("NUMBA_"))).encode())
    folder = cache_folder() / f"{FOLDER}{digest.hexdigest()[:16]}"
    with suppress(OSError):
        os.utime(folder)
    return folder


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _packed(kernel: Any, name: str) -> bytes:
    """With its own name, so that a file that was moved is known. 90 % is text; and it gets a checksum."""
    return zlib.compress(name.encode() + pickle.dumps(kernel), level=1)


def _unpacked(content: bytes, name: str) -> Any:
    """The kernel of that name. Raises whatever comes of anything else."""
    unpacking = zlib.decompressobj()
    packed = unpacking.decompress(content, MOST_BYTES)
    if not unpacking.eof or unpacking.unused_data or not packed.startswith(name.encode()):
        raise ValueError(f"{name} is damaged or another kernel's")
    kernel = _Unpickler(io.BytesIO(packed[len(name.encode()) :])).load()
    if not hasattr(kernel, "signature"):  # as what Numba has compiled has
        raise ValueError(f"{name} is no kernel")
    return kernel


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] in TRUSTED or (module == "builtins" and name in TRUSTED_BUILTINS):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is no part of a kernel")


def _read(path: Path) -> bytes:
    """Raises OSError for what is no file, too large, or not to be trusted."""
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0))) as file:
        facts = os.fstat(file.fileno())
        if not stat.S_ISREG(facts.st_mode) or facts.st_size > MOST_BYTES:
            raise OSError(f"{path} is no kernel's file")
        if hasattr(os, "geteuid") and (facts.st_uid not in (os.geteuid(), 0) or facts.st_mode & stat.S_IWOTH):
            raise PermissionError(f"{path} may be somebody else's")
        return file.read(facts.st_size)


def _make_folder() -> None:
    """Where it is new, the folders that have not been used for longest go."""
    folder = _folder()
    if folder.is_dir():
        return
    folder.mkdir(parents=True, exist_ok=True)
    with suppress(OSError):  # another process may be at it too
        by_use = sorted(folder.parent.glob(FOLDER + "[0-9a-f]" * 16), key=os.path.getmtime)
        for old in by_use[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)


def _write(path: Path, content: bytes) -> None:
    """Write the file so that other processes see it complete or not at all."""
    _make_folder()
    # A temporary folder, because a temporary file would keep its private permissions.
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        complete = Path(folder) / path.name
        complete.write_bytes(content)
        os.replace(complete, path)
