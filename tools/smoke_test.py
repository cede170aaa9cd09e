# SPDX-License-Identifier: BSD-3-Clause
"""A first use of an installed wheel; run it from a folder without the source tree.

usage: python smoke_test.py [--built-with-cuda]
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F

import convt3d_ext
from convt3d_ext import _C


def check_origin() -> None:
    source_tree = Path(__file__).resolve().parents[1]
    package = Path(convt3d_ext.__file__).resolve().parent
    if package.parent == source_tree:
        sys.exit(f"imported {package}, not an installed wheel")


def check_result(device: str) -> None:
    torch.manual_seed(0)
    leaves = [
        torch.randn(2, 8, 5, 6, 7, device=device, dtype=torch.float64),
        torch.randn(8, 4, 3, 3, 3, device=device, dtype=torch.float64),
        torch.randn(4, device=device, dtype=torch.float64),
    ]
    results = []
    for function in (convt3d_ext.conv_transpose3d, F.conv_transpose3d):
        inputs = [leaf.clone().requires_grad_() for leaf in leaves]
        output = function(*inputs, stride=2, padding=1, output_padding=1)
        results.append((output, *torch.autograd.grad(output.square().sum(), inputs)))
    for ours, torchs in zip(*results, strict=True):
        torch.testing.assert_close(ours, torchs)


def main() -> None:
    check_origin()
    build = _C.build_info()
    print(build)
    if "--built-with-cuda" in sys.argv and not build["cuda"]:
        sys.exit("the wheel was built without CUDA")
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    for device in devices:
        check_result(device)
    print(f"smoke test passed on {', '.join(devices)} with torch {torch.__version__}")


if __name__ == "__main__":
    main()
