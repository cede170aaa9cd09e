# SPDX-License-Identifier: BSD-3-Clause
"""Problems that nobody chose, and so nobody tuned a kernel for: the suite ``random``."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import replace

from convt3d_ext.testing.cases import Case, Ints3

_CHANNELS = (1, 2, 3, 4, 5, 6, 8, 12, 16, 17, 24, 32, 33, 40, 48, 64, 65, 96, 128, 192, 256, 320)
_OF_GROUP = (1, 1, 2, 3, 4, 8, 16, 32)
_BATCHES = (1, 1, 2, 4, 8)
_EXTENTS = (2, 3, 4, 6, 8, 12, 16, 20, 24, 32, 40, 48, 64)
# Cubes thrice as often as flat kernels, and what networks use most often.
_KERNELS: tuple[Ints3, ...] = (
    *[(k, k, k) for k in (1, 2, 3, 3, 3, 4, 5, 7)],
    *[(1, 3, 3), (1, 2, 2), (3, 3, 1)],
)
_STRIDES: tuple[Ints3, ...] = (*[(s, s, s) for s in (1, 2, 2, 2, 3, 4, 5)], (1, 2, 2))


def _axes(values: Iterator[int]) -> Ints3:
    first, second, third = values
    return first, second, third


def _draw(rng: random.Random) -> Case:
    groups = rng.choice((1, 1, 1, 1, 1, 1, 2, 4, 8))
    in_channels, out_channels = rng.choice(_CHANNELS), rng.choice(_CHANNELS)
    if rng.random() < 0.08:  # depthwise, or with a multiplier
        groups = in_channels
    if groups > 1:
        in_channels, out_channels = (groups * rng.choice(_OF_GROUP) for _ in range(2))
    kernel, stride = rng.choice(_KERNELS), rng.choice(_STRIDES)
    extent = rng.choice(_EXTENTS)
    return Case(
        rng.choice(_BATCHES),
        in_channels,
        out_channels,
        _axes(
            max(1, int(extent * rng.choice((1, 1, 1, 0.5, 1.5)))) + rng.choice((0, 0, 0, 1))
            for _ in range(3)
        ),
        kernel,
        stride,
        _axes(rng.choice((0, (k - 1) // 2)) for k in kernel),
        _axes(rng.choice((0, 0, min(1, s - 1))) for s in stride),
        groups=groups,
        bias=rng.random() < 0.3,
    )


def random_cases(count: int, seed: int, max_gflop: float, max_mb: float) -> list[Case]:
    """Valid problems of at most so many GFLOP, and MB of input and output in float32.

    Example:
        >>> from convt3d_ext.testing.random_cases import random_cases
        >>> len(random_cases(3, seed=0, max_gflop=1, max_mb=10))
        3
    """
    rng = random.Random(seed)
    cases: list[Case] = []
    while len(cases) < count:
        try:
            case = _draw(rng)
        except ValueError:  # no such problem: an empty output
            continue
        products = math.prod((case.batch, *case.input_size, *case.weight_shape))
        sizes = math.prod(case.input_shape), math.prod(case.output_shape)
        # A result of a few elements has no statistics for an error rule.
        if 2e-9 * products <= max_gflop and 4e-6 * sum(sizes) <= max_mb and min(sizes) >= 2048:
            cases.append(replace(case, name=f"random_{len(cases)}"))
    return cases
