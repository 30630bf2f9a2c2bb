"""From the name of a backend to its operations, or to the reason why it cannot be had."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import Any, NamedTuple

from gpunet.errors import InputError
from gpunet.ops.numpy_ops import NumpyOps

BACKENDS = ("auto", "numpy", "jit", "cuda", "sim")
LOWEST_CAPABILITY = (7, 5)  # Turing, a T4's
SIMULATOR_VARIABLE = "NUMBA_ENABLE_CUDASIM"


class Backend(NamedTuple):
    """Operations, and one line that says what they run on and, where that was not what was hoped for, why."""

    ops: Any
    note: str


def make_backend(name: str = "auto", device: int = 0) -> Backend:
    """The backend of that name: "cuda" (on the device of that number), "numpy", "jit" (NumPy and loops that Numba
    compiles), "sim" (the kernels in Numba's simulator), or "auto": "cuda" where a device answers, else "numpy", whose
    note says why.

    Raises `InputError` for an unknown name, and for "jit", "cuda" and "sim" where these cannot be had.
    """
    if name not in BACKENDS:
        raise InputError(f"backend {name!r} is not known: use one of {', '.join(BACKENDS)}")
    if name == "numpy":
        return Backend(NumpyOps(), "NumPy on the CPU")
    if name == "jit":
        return _compiled_loops()
    if name == "sim":
        return _simulator()
    reason = why_no_cuda(device)
    if reason is None:
        try:
            return _cuda(device)
        except InputError as error:
            if name == "cuda":
                raise
            reason = str(error)
    if name == "cuda":
        raise InputError(
            f"backend cuda cannot be used because {reason}; use --backend numpy, or sim to watch the kernels"
        )
    return Backend(NumpyOps(), f"NumPy on the CPU, because {reason}")


def why_no_cuda(device: int = 0) -> str | None:
    """Why kernels cannot run on that device, in words, or None if they can. Starts nothing on the device."""
    if os.environ.get(SIMULATOR_VARIABLE, "0") == "1":
        return f"{SIMULATOR_VARIABLE}=1 asks Numba for its simulator"
    if find_spec("cupy") is None:
        return 'CuPy is not installed (pip install "gpunet[cuda12]" or "gpunet[cuda13]")'
    if find_spec("numba_cuda") is None:
        return 'numba-cuda is not installed (pip install "gpunet[cuda12]" or "gpunet[cuda13]")'
    try:
        import cupy

        runtime = cupy.cuda.runtime
        count = runtime.getDeviceCount()
    except ImportError as error:
        return f"CuPy cannot be loaded ({_first_line(error)})"
    except Exception as error:  # noqa: BLE001 (CuPy's own error class cannot be named where CuPy may be missing)
        return _driver_reason(error)
    if count == 0:
        return "the driver reports no device"
    if not 0 <= device < count:
        return f"there is no device {device}: the driver reports {count}, counted from 0"
    properties = runtime.getDeviceProperties(device)
    capability = properties["major"], properties["minor"]
    if capability < LOWEST_CAPABILITY:
        name = properties["name"].decode()
        return f"{name} has compute capability {capability[0]}.{capability[1]}, and the kernels need 7.5 or later"
    return None


def device_failure(error: BaseException) -> str | None:
    """What a driver says of a device that failed, in one line; None if the error came from anything else."""
    libraries = {"cupy", "cupy_backends", "cuda", "numba"}
    for kind in type(error).__mro__:
        if kind.__module__.partition(".")[0] in libraries and kind.__name__.upper().startswith(("CUDA", "CUBLAS")):
            return f"{type(error).__name__}: {_first_line(error)}"
    return None


def device_facts(device: int = 0) -> dict[str, str]:
    """What a device is, in words, and the CUDA versions of driver and CuPy. Call it where `why_no_cuda` is None; it
    starts nothing on the device."""
    import cupy

    runtime = cupy.cuda.runtime
    properties = runtime.getDeviceProperties(device)
    return {
        "device": properties["name"].decode(),
        "compute capability": f"{properties['major']}.{properties['minor']}",
        "multiprocessors": str(properties["multiProcessorCount"]),
        "memory": f"{properties['totalGlobalMem'] / 2**30:.1f} GB",
        "CUDA of the driver": _cuda_version(runtime.driverGetVersion()),
        "CUDA of CuPy": _cuda_version(runtime.runtimeGetVersion()),
    }


def _cuda_version(number: int) -> str:
    """CUDA counts 12080 for 12.8."""
    return f"{number // 1000}.{number % 1000 // 10}"


def _driver_reason(error: Exception) -> str:
    """CUDA's own name for what is wrong stands in CuPy's message."""
    message = _first_line(error)
    if "InsufficientDriver" in message:
        return "there is no NVIDIA driver, or it is too old for the installed CuPy"
    if "NoDevice" in message:
        return "the driver reports no device"
    return f"CUDA does not start ({message})"


def _cuda(device: int) -> Backend:
    from gpunet.ops.cuda_ops import CudaOps

    try:
        ops = CudaOps(device)
    except Exception as error:
        raise InputError(
            f"device {device} answers, but Numba cannot use it ({_first_line(error)}): driver, CuPy and numba-cuda "
            "must be for the same major CUDA version"
        ) from error
    return Backend(ops, f"CUDA on {ops.device_name}")


def _compiled_loops() -> Backend:
    if find_spec("numba") is None:
        raise InputError('backend jit needs Numba, which is not installed: pip install "gpunet[jit]"')
    try:
        from gpunet.ops.jit_ops import JitOps
    except ImportError as error:  # such as a NumPy that is too new for it
        raise InputError(
            f"backend jit cannot be used because Numba does not load ({_first_line(error)}); use --backend numpy"
        ) from error
    return Backend(JitOps(), "NumPy on the CPU, with loops compiled by Numba")


def _simulator() -> Backend:
    if find_spec("numba_cuda") is None:
        raise InputError("backend sim needs numba-cuda, which is not installed: pip install numba-cuda")
    asked_for = os.environ.get(SIMULATOR_VARIABLE, "0") == "1"
    if "numba" in sys.modules and not asked_for:
        raise InputError(f"backend sim must be chosen before Numba is imported: set {SIMULATOR_VARIABLE}=1")
    os.environ[SIMULATOR_VARIABLE] = "1"
    from gpunet.ops.cuda_ops import CudaOps

    return Backend(
        CudaOps(), "the CUDA kernels in Numba's simulator, one thread after another: for watching, not for speed"
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
