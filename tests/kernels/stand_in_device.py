"""A CUDA device that nothing runs on: kernels are compiled and linked for it, by a process that is not in the
simulator, up to the moment when the driver would load them."""

import sys
from types import SimpleNamespace

import numba.cuda  # noqa: F401 (its modules are what `install` changes)


def install(capability=(7, 5)):
    """Make it the current device, wherever numba-cuda asks for one."""
    device = SimpleNamespace(compute_capability=capability, id=0, name=b"stand-in")
    module = SimpleNamespace(initialized=True)
    module.get_function = lambda name: SimpleNamespace(name=name, module=module)
    context = SimpleNamespace(device=device, create_module_image=lambda *image: module)
    answers = {
        "get_current_device": lambda: device,
        "get_context": lambda *number: context,
        "current_context": lambda *number: context,
    }
    for name, numba_module in list(sys.modules.items()):
        if name.startswith("numba.cuda"):
            for asked, answer in answers.items():
                if hasattr(numba_module, asked):
                    setattr(numba_module, asked, answer)
