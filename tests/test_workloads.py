# SPDX-License-Identifier: BSD-3-Clause
"""Layers of real networks: whole on a GPU, shrunk on the CPU."""

import pytest
import torch

from convt3d_ext.testing.cases import DIRECTIONS, Case
from convt3d_ext.testing.verification import verify
from convt3d_ext.testing.workloads import fit_memory, shrink, workloads

CASES = [case for suite in ("kernelbench", "real", "synthetic") for case in workloads(suite)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_shrunk(case: Case, device: torch.device) -> None:
    small = shrink(case, max_flops=2e6, max_elements=100_000)
    for check in verify(small, device, ("fp32", "bf16"), ("ncdhw", "ndhwc"), DIRECTIONS):
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
