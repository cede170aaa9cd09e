# SPDX-License-Identifier: BSD-3-Clause
"""3-D transposed convolution for PyTorch: hand-written C++ and CUDA kernels in one wheel.

conv_transpose3d and ConvTranspose3d take the place of torch's; convert() puts the module into a
model; explain() says which kernel runs and why. The ops are torch.ops.convt3d.forward, grad_input
and grad_weight.
"""

import importlib

# Before the native module, which links to libraries that only torch finds.
import torch

from convt3d_ext._version import __version__

_OLDEST_TORCH = (2, 10)

if tuple(int(part) for part in torch.__version__.split(".")[:2]) < _OLDEST_TORCH:
    raise ImportError(
        f"convt3d_ext {__version__} needs torch >= 2.10, but torch {torch.__version__} is installed"
    )

try:
    importlib.import_module("convt3d_ext._C")  # registers the ops
except ModuleNotFoundError as error:
    if error.name != "convt3d_ext._C":
        raise
    raise ImportError(
        "convt3d_ext has no native module: this is a source checkout that is not built; run "
        "`pip install -e . --no-build-isolation` in it, or leave its folder to import the "
        "installed package"
    ) from None

from convt3d_ext._explain import Candidate, Explanation, explain  # noqa: E402
from convt3d_ext.functional import conv_transpose3d  # noqa: E402
from convt3d_ext.modules import (  # noqa: E402
    ConvTranspose3d,
    LazyConvTranspose3d,
    convert,
    unconvert,
)

__all__ = [
    "Candidate",
    "ConvTranspose3d",
    "Explanation",
    "LazyConvTranspose3d",
    "__version__",
    "conv_transpose3d",
    "convert",
    "explain",
    "unconvert",
]
