"""Networks that come from other programs and go to them.

    from_torch.py    PyTorch's weights, from a safetensors file, as a network
    onnx_model.py    a network as an ONNX model

gpunet's own files need no export for PyTorch: they have its names and layout (see `gpunet.torch_layout`).
"""

from gpunet.exchange.from_torch import import_torch
from gpunet.exchange.onnx_model import export_onnx, make_onnx_model

__all__ = ["export_onnx", "import_torch", "make_onnx_model"]
