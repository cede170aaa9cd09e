# SPDX-License-Identifier: BSD-3-Clause
"""Autocast casts this convolution as it casts torch's."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import convt3d_ext

DTYPES = [torch.float16, torch.bfloat16]


def outcome(function, *tensors):
    try:
        return function(*tensors, 2).dtype
    except RuntimeError:
        return RuntimeError


@pytest.mark.parametrize("to", DTYPES, ids=str)
@pytest.mark.parametrize("bias_dtype", [None, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(
    "weight_dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str
)
@pytest.mark.parametrize(
    "input_dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str
)
def test_result_dtype_as_torch(input_dtype, weight_dtype, bias_dtype, to, device):
    input = torch.randn(1, 4, 2, 2, 2, device=device, dtype=input_dtype)
    weight = torch.randn(4, 3, 2, 2, 2, device=device, dtype=weight_dtype)
    bias = None if bias_dtype is None else torch.randn(3, device=device, dtype=bias_dtype)
    with torch.autocast(device.type, dtype=to):
        ours = outcome(convt3d_ext.conv_transpose3d, input, weight, bias)
        raw = outcome(torch.ops.convt3d.forward, input, weight, bias)
        assert ours == raw == outcome(F.conv_transpose3d, input, weight, bias)


@pytest.mark.parametrize("to", DTYPES, ids=str)
def test_training_step_as_torch(to, device):
    """Parameters and their gradients stay float32; the values agree to the rounding of `to`."""
    torch.manual_seed(0)
    reference = nn.ConvTranspose3d(4, 3, 3, stride=2, padding=1, device=device)
    layer = convt3d_ext.ConvTranspose3d(4, 3, 3, stride=2, padding=1, device=device)
    layer.load_state_dict(reference.state_dict())
    inputs = [torch.randn(2, 4, 3, 3, 3, device=device).requires_grad_()]
    inputs.append(inputs[0].detach().clone().requires_grad_())
    for module, input in zip((reference, layer), inputs, strict=True):
        with torch.autocast(device.type, dtype=to):
            output = module(input)
        assert output.dtype == to
        output.float().pow(2).mean().backward()
    tolerance = 4 * torch.finfo(to).eps
    for name, parameter in layer.named_parameters():
        assert parameter.grad.dtype == torch.float32
        expected = reference.get_parameter(name).grad
        assert (parameter.grad - expected).norm() <= tolerance * expected.norm(), name
    assert (inputs[1].grad - inputs[0].grad).norm() <= tolerance * inputs[0].grad.norm()


@pytest.mark.parametrize("groups", [1, 4])
def test_gradients_and_kernels_are_not_cast(groups, device):
    """grad_input and grad_weight keep their operands' dtype, and float64 stays exact throughout."""
    torch.manual_seed(0)
    for dtype in (torch.float32, torch.float64):
        input = torch.randn(1, 4, 2, 2, 2, device=device, dtype=dtype, requires_grad=True)
        weight = torch.randn(4, 4 // groups, 2, 2, 2, device=device, dtype=dtype)
        parameters = (2, 0, 0, groups)
        output = torch.ops.convt3d.forward(input, weight, None, *parameters)
        arguments = [(output.detach(), weight, [2, 2, 2]), (output.detach(), input, [2, 2, 2])]
        ops = (torch.ops.convt3d.grad_input, torch.ops.convt3d.grad_weight)
        for op, operands in zip(ops, arguments, strict=True):
            expected = op(*operands, *parameters)
            with torch.autocast(device.type, dtype=torch.bfloat16):
                assert torch.equal(op(*operands, *parameters), expected)
        if dtype == torch.float64:
            with torch.autocast(device.type, dtype=torch.bfloat16):
                inside = convt3d_ext.conv_transpose3d(input, weight, None, *parameters)
            assert torch.equal(inside, output)


def test_disabled_inside(device):
    input, weight = torch.randn(1, 2, 2, 2, 2, device=device), torch.randn(2, 2, 2, 2, 2)
    with (
        torch.autocast(device.type, dtype=torch.bfloat16),
        torch.autocast(device.type, enabled=False),
    ):
        output = convt3d_ext.conv_transpose3d(input, weight.to(device))
    assert output.dtype == torch.float32


@pytest.mark.gpu
def test_other_devices_autocast_changes_nothing():
    input, weight = torch.randn(1, 2, 2, 2, 2), torch.randn(2, 2, 2, 2, 2)
    with torch.autocast("cuda", dtype=torch.float16):
        assert convt3d_ext.conv_transpose3d(input, weight).dtype == torch.float32
