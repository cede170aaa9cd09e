# SPDX-License-Identifier: BSD-3-Clause
"""Operands at the edge: empty, unbatched, expanded, offset, transposed, sliced, large kernels."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional

import convt3d_ext
from convt3d_ext.testing.cases import DIRECTIONS, Case
from convt3d_ext.testing.operands import DTYPES, Operands, call, integers
from convt3d_ext.testing.reference import reference

CASE = Case.parse("mb2_ic6oc4_id3ih4iw5_k3s2p1op1")
DTYPE_NAMES = ("fp32", "fp64", "fp16", "bf16")


def in_direction(case: Case, direction: str, precision: str = "fp32") -> Case:
    return replace(case, direction=direction, precision=precision)


@pytest.mark.parametrize("precision", DTYPE_NAMES)
def test_empty_batch(precision: str, device: torch.device) -> None:
    """A result without elements, and a weight gradient that is a sum of nothing: zero."""
    options = {"device": device, "dtype": DTYPES[precision]}
    x = torch.empty(0, 6, 3, 4, 5, **options)
    weight = torch.randn(6, 4, 3, 3, 3, device=device).to(DTYPES[precision])
    gradient = torch.empty(0, 4, 6, 8, 10, **options)
    ops = torch.ops.convt3d
    parameters = ((2,), (1,), (1,))
    assert ops.forward(x, weight, None, *parameters).shape == (0, 4, 6, 8, 10)
    assert ops.grad_input(gradient, weight, (3, 4, 5), *parameters).shape == x.shape
    grad_weight = ops.grad_weight(gradient, x, (3, 3, 3), *parameters)
    assert torch.equal(grad_weight, torch.zeros_like(weight))


def test_empty_batch_backward(device: torch.device) -> None:
    module = convt3d_ext.ConvTranspose3d(6, 4, 3, stride=2, device=device)
    x = torch.empty(0, 6, 3, 3, 3, device=device, requires_grad=True)
    module(x).sum().backward()
    assert x.grad is not None
    assert module.weight.grad is not None
    assert not module.weight.grad.any()
    assert x.grad.shape == x.shape


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("precision", DTYPE_NAMES)
def test_unbatched(direction: str, precision: str, device: torch.device) -> None:
    case = in_direction(replace(CASE, batch=1), direction, precision)
    operands = integers(case, True, device, seed=0).to(precision)
    batched = call(case, operands)
    if direction != "grad_weight":
        batched = batched[0]
    second = operands.second if direction != "grad_weight" else operands.second[0]
    got = call(case, Operands(operands.first[0], second))
    assert torch.equal(got, batched)


def shapes_of_trouble(value: Tensor) -> dict[str, Tensor]:
    """The same values in memory that is laid out in every way a caller's may be."""
    n, c, d, h, w = value.shape
    offset = value.new_zeros(value.numel() + 3)[3:].view(value.shape).copy_(value)
    wide = value.new_zeros(n, c, d, h, w + 3)[..., 1 : w + 1].copy_(value)
    every_other = value.new_zeros(n, 2 * c, d, 2 * h, w)[:, ::2, :, 1::2].copy_(value)
    transposed = value.transpose(2, 4).contiguous().transpose(2, 4)
    swapped = value.transpose(0, 1).contiguous().transpose(0, 1)
    return {
        "offset": offset,
        "wide rows": wide,
        "every other channel and row": every_other,
        "depth innermost": transposed,
        "channels outermost": swapped,
        "channels innermost, offset": offset.to(memory_format=torch.channels_last_3d),
    }


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("precision", DTYPE_NAMES)
def test_any_strides(direction: str, precision: str, device: torch.device) -> None:
    case = in_direction(CASE, direction, precision)
    plain = integers(case, True, device, seed=0).to(precision)
    expected = reference(case, plain)
    for first in shapes_of_trouble(plain.first).values():
        for name, second in shapes_of_trouble(plain.second).items():
            got = call(case, Operands(first, second))
            assert torch.equal(got.double(), expected), name


@pytest.mark.parametrize("groups", [1, 3])
def test_expanded_weight(groups: int, device: torch.device) -> None:
    """One kernel for all channels: a view with stride 0."""
    case = replace(CASE, in_channels=3, out_channels=3, groups=groups)
    x = torch.randint(-2, 3, case.input_shape, device=device).float()
    kernel = torch.randint(-2, 3, (1, 1, 3, 3, 3), device=device).float()
    weight = kernel.expand(case.weight_shape)
    got = call(case, Operands(x, weight))
    assert torch.equal(got.double(), reference(case, Operands(x, weight.contiguous())))


def test_expanded_gradient(device: torch.device) -> None:
    """The gradient of a sum: every stride is 0."""
    for direction in ("grad_input", "grad_weight"):
        case = in_direction(CASE, direction)
        plain = integers(case, True, device, seed=0)
        ones = torch.ones((), device=device).expand(case.output_shape)
        got = call(case, Operands(ones, plain.second))
        expected = reference(case, Operands(ones.contiguous(), plain.second))
        assert torch.equal(got.double(), expected)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(
    "problem",
    [
        "mb1_ic1oc1_id1ih1iw1_k1",
        "mb2_ic5oc3_id1ih1iw1_k3s2",
        "mb1_ic4oc4_id1ih1iw1_k3s2p1op1",
        "mb1_ic2oc2_id2ih2iw2_k33s9p16g2",
        "mb1_ic1oc1_id1ih1iw40_k1x1x33s1x1x9p0x0x16",
        "mb178_ic3oc2_id2ih1iw1_k2s2",
    ],
)
def test_extremes(problem: str, direction: str, device: torch.device) -> None:
    case = in_direction(Case.parse(problem), direction)
    for precision in DTYPE_NAMES:
        operands = integers(case, True, device, seed=0)
        got = call(case, operands.to(precision))
        assert torch.equal(got.double(), reference(case, operands)), precision


def test_arguments_are_not_written(device: torch.device) -> None:
    for direction in DIRECTIONS:
        case = in_direction(CASE, direction)
        operands = integers(case, True, device, seed=0)
        copies = operands.first.clone(), operands.second.clone()
        call(case, operands)
        assert torch.equal(operands.first, copies[0])
        assert torch.equal(operands.second, copies[1])


def test_bias_of_any_stride(device: torch.device) -> None:
    x = torch.randint(-2, 3, CASE.input_shape, device=device).float()
    weight = torch.randint(-2, 3, CASE.weight_shape, device=device).float()
    bias = torch.arange(8.0, device=device)[::2]
    expanded = torch.ones((), device=device).expand(4)
    for value in (bias, expanded):
        got = convt3d_ext.conv_transpose3d(x, weight, value, 2, 1, 1)
        expected = functional.conv_transpose3d(x.double(), weight.double(), value.double(), 2, 1, 1)
        assert torch.equal(got.double(), expected)
