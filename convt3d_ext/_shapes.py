# SPDX-License-Identifier: BSD-3-Clause
"""Sizes and strides of the ops' results: what the fake implementations know without running.

Twin of csrc/binding (checks.cpp, tensor.cpp). Every quantity may be a SymInt and stays symbolic;
tests/test_layouts.py compares both with eager results over all operand layouts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = [
    "as_triple",
    "dense_strides",
    "layout_of",
    "output_extents",
    "result_strides",
    "suggests_channels_last",
]

# Dimensions of a 5-D tensor from the innermost to the outermost.
CONTIGUOUS = (4, 3, 2, 1, 0)
CHANNELS_LAST = (1, 4, 3, 2, 0)


def as_triple(values: int | Sequence[int]) -> list[int]:
    """One value per axis {d, h, w}, from one for all or a list of one or three."""
    if isinstance(values, tuple | list):
        return list(values) * 3 if len(values) == 1 else list(values)
    number: Any = values  # an int, or what torch takes for one, as NumPy's
    return [number] * 3


def output_extents(
    input_extents: Sequence[int],
    kernel_size: Sequence[int],
    stride: int | Sequence[int],
    padding: int | Sequence[int],
    output_padding: int | Sequence[int],
    dilation: int | Sequence[int],
) -> list[int]:
    """(input - 1) * stride - 2 * padding + dilation * (kernel - 1) + output_padding + 1."""
    parameters = zip(
        input_extents,
        kernel_size,
        as_triple(stride),
        as_triple(padding),
        as_triple(output_padding),
        as_triple(dilation),
        strict=True,
    )
    return [(i - 1) * s - 2 * p + d * (k - 1) + op + 1 for i, k, s, p, op, d in parameters]


def _known(condition: Any, otherwise: bool) -> bool:
    """A condition as a bool: a guard for symbols with a hint, `otherwise` for those without."""
    if isinstance(condition, bool):
        return condition
    # Only while tracing dynamic shapes, when this module (and sympy) is loaded already.
    from torch.fx.experimental.symbolic_shapes import guard_or_false, guard_or_true

    return bool(guard_or_true(condition) if otherwise else guard_or_false(condition))


def suggests_channels_last(sizes: Sequence[int], strides: Sequence[int]) -> bool:
    """Aten's suggest_memory_format() == channels_last_3d, of a 5-D tensor or its unbatched view."""
    if len(sizes) == 4:  # as unsqueeze(0) would have it
        sizes, strides = [1, *sizes], [sizes[0] * strides[0], *strides]
    if _known(strides[1] == 0, False):
        return False
    least: int = 0
    for dim in CHANNELS_LAST:
        if _known(sizes[dim] == 0, False) or _known(strides[dim] < least, False):
            return False
        # All strides equal to the channel's: ambiguous, and aten decides for contiguous.
        if dim == 0 and _known(least == strides[1], False):
            return False
        least = strides[dim] * sizes[dim]
    return True


def _at_least_one(size: Any) -> Any:
    return torch.sym_max(size, 1)  # type: ignore[no-untyped-call]


def dense_strides(sizes: Sequence[int], channels_last: bool) -> list[int]:
    """Strides of a dense tensor of 5 dimensions, or of 4 without the batch."""
    batched = sizes if len(sizes) == 5 else [1, *sizes]
    strides: list[int] = [0] * 5
    following: int = 1
    for dim in CHANNELS_LAST if channels_last else CONTIGUOUS:
        strides[dim] = following
        following = following * _at_least_one(batched[dim])
    return strides[5 - len(sizes) :]


def result_strides(sizes: Sequence[int], first: Tensor, second: Tensor) -> list[int]:
    """channels_last_3d if either operand suggests it, else contiguous."""
    channels_last = any(suggests_channels_last(t.shape, t.stride()) for t in (first, second))
    return dense_strides(sizes, channels_last)


def layout_of(sizes: Sequence[int], strides: Sequence[int]) -> str:
    """The description's word for a memory order: ncdhw where the strides fit both dense ones."""
    if len(sizes) == 4:
        sizes, strides = [1, *sizes], [sizes[0] * strides[0], *strides]
    for word, order in (("ncdhw", CONTIGUOUS), ("ndhwc", CHANNELS_LAST)):
        following = 1
        dense = True
        for dim in order:
            if sizes[dim] != 1:
                dense = dense and strides[dim] == following
                following *= sizes[dim]
        if dense:
            return word
    return "strided"
