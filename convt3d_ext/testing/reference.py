# SPDX-License-Identifier: BSD-3-Clause
"""The right answer, twice: as the formula reads, and as fast as float64 allows.

Per axis, input element i and tap t land on output element o::

    o + padding = stride * i + dilation * t
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import torch
from torch import Tensor

from convt3d_ext.testing.cases import Case, Ints3
from convt3d_ext.testing.operands import Operands, call_torch, result_shape

# One matmul per tap up to here; beyond (k = 33) torch's float64 convolution is quicker than
# thousands of tiny products.
MAX_TAPS = 512


def naive(case: Case, operands: Operands) -> Tensor:
    """Index loops over every product, for cases of a few thousand products."""
    first, second = operands.first.double().tolist(), operands.second.double().tolist()
    result = torch.zeros(result_shape(case), dtype=torch.float64)
    if case.bias and operands.bias is not None:
        result += operands.bias.double().cpu().view(1, -1, 1, 1, 1)
    per_group_in = case.in_channels // case.groups
    per_group_out = case.out_channels // case.groups

    def at(nested: list, index: tuple[int, ...]) -> float:  # type: ignore[type-arg]
        value = nested
        for i in index:
            value = value[i]
        return value  # type: ignore[return-value]

    channels = itertools.product(range(case.in_channels), range(per_group_out))
    positions = list(itertools.product(*map(range, case.input_size)))
    taps = list(itertools.product(*map(range, case.kernel_size)))
    for n, (c, m) in itertools.product(range(case.batch), channels):
        out_channel = c // per_group_in * per_group_out + m
        for i, t in itertools.product(positions, taps):
            o = tuple(
                case.stride[a] * i[a] + case.dilation[a] * t[a] - case.padding[a] for a in range(3)
            )
            if any(not 0 <= o[a] < case.output_size[a] for a in range(3)):
                continue
            x, w, y = (n, c, *i), (c, m, *t), (n, out_channel, *o)
            if case.direction == "forward":
                result[y] += at(first, x) * at(second, w)
            elif case.direction == "grad_input":
                result[x] += at(first, y) * at(second, w)
            else:
                result[w] += at(first, y) * at(second, x)
    return result


def reference(case: Case, operands: Operands) -> Tensor:
    """The result in float64, on the operands' device."""
    operands = operands.to("fp64")
    if math.prod(case.kernel_size) > MAX_TAPS:
        return call_torch(case, operands)
    if case.direction == "forward":
        return _forward(case, operands)
    if case.direction == "grad_input":
        return _grad_input(case, operands)
    return _grad_weight(case, operands)


Slices = tuple[slice, slice, slice]


def _taps(case: Case) -> Iterator[tuple[Ints3, Slices, Slices]]:
    """Every tap that lands anywhere: its index, the input it reads, the output it meets."""
    depth, height, width = map(range, case.kernel_size)
    for tap in itertools.product(depth, height, width):
        inputs: list[slice] = []
        outputs: list[slice] = []
        for a in range(3):
            stride = case.stride[a]
            shift = case.dilation[a] * tap[a] - case.padding[a]
            first = max(0, -(shift // stride))
            last = min(case.input_size[a] - 1, (case.output_size[a] - 1 - shift) // stride)
            inputs.append(slice(first, last + 1))
            outputs.append(slice(stride * first + shift, stride * last + shift + 1, stride))
            if last < first:
                break
        else:
            yield tap, (inputs[0], inputs[1], inputs[2]), (outputs[0], outputs[1], outputs[2])


def _grouped(case: Case, tensor: Tensor) -> Tensor:
    """[n, channels, d, h, w] as [n, groups, channels / groups, d * h * w]."""
    return tensor.reshape(tensor.shape[0], case.groups, tensor.shape[1] // case.groups, -1)


def _tap_weight(case: Case, weight: Tensor, tap: Ints3) -> Tensor:
    """[groups, in_channels / groups, out_channels / groups] of one tap."""
    columns = weight[:, :, tap[0], tap[1], tap[2]]
    return columns.reshape(case.groups, case.in_channels // case.groups, -1)


def _forward(case: Case, operands: Operands) -> Tensor:
    result = operands.first.new_zeros(case.output_shape)
    if operands.bias is not None:
        result += operands.bias.view(1, -1, 1, 1, 1)
    for tap, i, o in _taps(case):
        part = _grouped(case, operands.first[:, :, i[0], i[1], i[2]])
        product = _tap_weight(case, operands.second, tap).transpose(1, 2) @ part
        target = result[:, :, o[0], o[1], o[2]]
        target += product.view(target.shape)
    return result


def _grad_input(case: Case, operands: Operands) -> Tensor:
    result = operands.first.new_zeros(case.input_shape)
    for tap, i, o in _taps(case):
        part = _grouped(case, operands.first[:, :, o[0], o[1], o[2]])
        target = result[:, :, i[0], i[1], i[2]]
        target += (_tap_weight(case, operands.second, tap) @ part).view(target.shape)
    return result


def _grad_weight(case: Case, operands: Operands) -> Tensor:
    result = operands.first.new_zeros(case.weight_shape)
    for tap, i, o in _taps(case):
        x = _grouped(case, operands.second[:, :, i[0], i[1], i[2]])
        gradient = _grouped(case, operands.first[:, :, o[0], o[1], o[2]])
        product = (x @ gradient.transpose(2, 3)).sum(0)
        result[:, :, tap[0], tap[1], tap[2]] = product.reshape(case.in_channels, -1)
    return result


def round_to_tf32(tensor: Tensor) -> Tensor:
    """float32 values rounded to the nearest TF32, ties to even, as ``cvt.rn.tf32`` does."""
    bits = tensor.float().contiguous().view(torch.int32)
    # 13 bits go; adding half an ulp less one, plus the kept bit below, rounds ties to even.
    rounded = (bits + 0xFFF + ((bits >> 13) & 1)) & ~0x1FFF
    return rounded.view(torch.float32)
