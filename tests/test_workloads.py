# SPDX-License-Identifier: BSD-3-Clause
"""Layers of real networks: whole on a GPU, shrunk on the CPU."""

import pytest
import torch

from convt3d_ext import convert
from convt3d_ext.testing.cases import DIRECTIONS, Case
from convt3d_ext.testing.verification import verify
from convt3d_ext.testing.workloads import fit_memory, shrink, workloads

CASES = [case for suite in ("kernelbench", "real", "synthetic") for case in workloads(suite)]
SHRUNK = [shrink(case, max_flops=2e6, max_elements=100_000) for case in CASES]


@pytest.mark.parametrize("case", SHRUNK, ids=lambda case: case.name)
def test_shrunk(case: Case, device: torch.device) -> None:
    for check in verify(case, device, ("fp32", "bf16"), ("ncdhw", "ndhwc"), DIRECTIONS):
        assert check.ok, check.message


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.large_memory
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_whole(case: Case) -> None:
    """In the precision and layouts most used; `python -m convt3d_ext verify` does all of them."""
    device = torch.device("cuda")
    case = fit_memory(case, 0.7 * torch.cuda.mem_get_info()[0])
    for check in verify(case, device, ("fp32", "bf16"), ("ncdhw", "ndhwc"), DIRECTIONS):
        assert check.ok, check.message


@pytest.mark.gpu
@pytest.mark.parametrize("case", workloads("kernelbench"), ids=lambda case: case.name)
def test_agrees_with_torch_as_it_comes(case: Case) -> None:
    """float32 with torch's default flags, TF32 among them, as KernelBench compares."""
    layer = torch.nn.ConvTranspose3d(
        case.in_channels,
        case.out_channels,
        case.kernel_size,
        case.stride,
        case.padding,
        case.output_padding,
        case.groups,
        case.bias,
        case.dilation,
        device="cuda",
    )
    x = torch.rand(case.input_shape, device="cuda")
    with torch.no_grad():
        expected = layer(x)
        got = convert(layer)(x)
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)
