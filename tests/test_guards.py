# SPDX-License-Identifier: BSD-3-Clause
"""Poisoned memory: NaN around every operand must not be read, NaN in the result must be replaced.

An operand lies inside a storage of NaN, with NaN in the gaps of its strided variant; one wrong read
turns a result into NaN. The result's memory held NaN before the call: the allocator is made to
hand out a block that was just freed, full of NaN.
"""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from convt3d_ext.testing.cases import DIRECTIONS, LAYOUTS, Case, edges
from convt3d_ext.testing.operands import (
    Operands,
    arrange,
    call,
    integers,
    operand_layouts,
    result_shape,
)
from convt3d_ext.testing.reference import reference
from convt3d_ext.testing.verification import Trial

MARGIN = 4096  # elements on both sides, beyond any vector load or tile


def guarded(tensor: Tensor, layout: str, offset: int) -> Tensor:
    """The same values and strides, with NaN in every element of storage that is not a value."""
    like = arrange(tensor, layout)
    reach = 1 + sum((n - 1) * s for n, s in zip(like.shape, like.stride(), strict=True))
    storage = like.new_full((MARGIN + offset + reach + MARGIN,), torch.nan)
    return storage.as_strided(like.shape, like.stride(), MARGIN + offset).copy_(like)


def poison(shape: tuple[int, ...], like: Tensor) -> None:
    """Leave NaN in the block that the allocator gives next for such a result."""
    for _ in range(2):
        torch.full(shape, torch.nan, dtype=like.dtype, device=like.device)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("case", edges("ci"), ids=lambda case: case.problem)
def test_nothing_outside_is_read_and_everything_is_written(
    case: Case, direction: str, device: torch.device
) -> None:
    bias = case.bias and direction == "forward"
    case = replace(case, direction=direction, bias=bias)
    trial = Trial(case, device)
    plain = integers(case, True, device, seed=5)
    expected = reference(case, plain)
    # An odd offset: 2-, 4- and 8-byte types all lose the alignment that vector loads want.
    for precision, offset in (("fp32", 1), ("bf16", 3), ("fp16", 0), ("fp64", 1), ("tf32", 0)):
        for layout in LAYOUTS:
            variant = replace(case, precision=precision, layout=layout)
            layouts = operand_layouts(variant)
            values = plain.to(precision)
            operands = Operands(
                guarded(values.first, layouts[0], offset),
                guarded(values.second, layouts[1], offset),
                None if values.bias is None else guarded_bias(values.bias),
            )
            for family in trial.families(precision, layout):
                poison(result_shape(case), operands.first)
                got = call(variant, operands, family)
                assert torch.equal(got.double(), expected), f"{variant} [{family}]"


def guarded_bias(bias: Tensor) -> Tensor:
    storage = bias.new_full((bias.numel() * 2 + 2,), torch.nan)
    return storage[1:-1:2].copy_(bias)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_guard_is_a_guard(layout: str) -> None:
    value = torch.randn(1, 2, 3, 4, 5)
    tensor = guarded(value, layout, offset=1)
    assert torch.equal(tensor, value)
    assert tensor.stride() == arrange(value, layout).stride()
    assert tensor.untyped_storage().size() >= 4 * (2 * MARGIN + value.numel())
    neighbours = tensor.as_strided((2 * MARGIN,), (1,), tensor.storage_offset() - MARGIN)
    assert int(neighbours.isnan().sum()) == 2 * MARGIN - value.numel()


def test_the_allocator_hands_out_poison(device: torch.device) -> None:
    """For most results at least: what the test above relies on."""
    hits = 0
    for case in edges("ci"):
        poison(case.output_shape, torch.empty(0, device=device))
        hits += bool(torch.empty(case.output_shape, device=device).isnan().any())
    assert hits > len(edges("ci")) // 2
