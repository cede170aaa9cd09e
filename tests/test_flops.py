# SPDX-License-Identifier: BSD-3-Clause
"""FlopCounterMode counts what it counts for torch's own function and its backward."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

import convt3d_ext

CASES = {
    "dense": ((2, 4, 3, 4, 3), (4, 3, 2, 2, 2), (2, 0, 0, 1)),
    "padded": ((2, 4, 3, 4, 3), (4, 3, 3, 3, 3), (2, 1, 1, 1)),
    "groups": ((2, 4, 3, 4, 3), (4, 3, 2, 2, 2), (2, 0, 0, 2)),
    "unbatched": ((4, 3, 4, 3), (4, 3, 2, 2, 2), (2, 0, 0, 1)),
}


def count(function, name, needs, device):
    input_size, weight_size, parameters = CASES[name]
    input = torch.randn(input_size, device=device, requires_grad=needs[0])
    weight = torch.randn(weight_size, device=device, requires_grad=needs[1])
    bias = torch.randn(weight_size[1] * parameters[3], device=device, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        output = function(input, weight, bias, *parameters)
        forward = counter.get_total_flops()
        output.sum().backward()
    return forward, counter.get_total_flops()


@pytest.mark.parametrize("needs", [(True, True), (True, False), (False, True)], ids=str)
@pytest.mark.parametrize("name", CASES)
def test_as_torch(name, needs, device):
    ours = count(convt3d_ext.conv_transpose3d, name, needs, device)
    assert ours == count(F.conv_transpose3d, name, needs, device)
    assert ours[1] > ours[0] > 0
