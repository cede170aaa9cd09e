# SPDX-License-Identifier: BSD-3-Clause
"""Is a result right? Exactly on integers, and by the error rule on random data.

The error rule compares relative L2 errors against float64 (docs/numerics.md has the promise)::

    precision   bound on the result's error
    ---------   ---------------------------------------------------------------------------------
    fp64        sqrt(K) roundings of float64, K products per result
    fp32        2x torch's own IEEE error on the same data; never below one rounding
    tf32        torch's own TF32 error, or that of inputs rounded to nearest TF32, summed in fp32
    fp16, bf16  torch's own error, or that of one rounding of an fp32-grade sum

"fp32-grade" is 2**-20, twice what torch's IEEE path was measured to reach (1e-7 to 4e-7), or the
random walk of K roundings where that is more; as independent errors it is added in quadrature,
which for bfloat16 changes the sixth digit. A torch whose error is far beyond its arithmetic (oneDNN
2.13 returns garbage for some bfloat16 gradients) is no licence to be as wrong: it counts as absent.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from convt3d_ext.testing.cases import Case
from convt3d_ext.testing.operands import DTYPES

FP32_GRADE = 2.0**-20
# Hopper's tensor cores truncate while accumulating: 2**-16 relative to the sum covers it.
_TF32_SUMS = 2.0**-16
_SANE = 16  # torch's error beyond this many times its arithmetic's is a bug of torch's
_UNIT_ROUNDOFF = {"fp64": 2.0**-53, "fp32": 2.0**-24}
_CHUNK = 2**25  # elements compared at a time, to hold no full-size temporaries


@dataclass(frozen=True)
class Check:
    """One comparison: what was compared, whether it held, and the words for when it did not."""

    case: Case
    family: str
    kind: str  # "exact" or "error rule"
    ok: bool
    error: float = 0.0
    torch_error: float | None = None
    bound: float = 0.0
    message: str = ""


def _chunks(a: Tensor, b: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Pairs of slices along the first dimension, with their start."""
    if a.shape != b.shape:
        raise AssertionError(f"shapes differ: {tuple(a.shape)} and {tuple(b.shape)}")
    rows = max(1, _CHUNK // max(1, math.prod(a.shape[1:])))
    for start in range(0, a.shape[0], rows):
        yield start, a[start : start + rows], b[start : start + rows]


def relative_l2(got: Tensor, expected: Tensor) -> float:
    """||got - expected|| / ||expected||; NaN where either holds one, inf for 0 expected."""
    difference = norm = 0.0
    for _, g, e in _chunks(got, expected):
        e = e.double()
        difference += float((g.double() - e).square().sum())
        norm += float(e.square().sum())
    if difference == 0.0:
        return 0.0
    return math.sqrt(difference / norm) if norm else math.inf


def _worst(got: Tensor, expected: Tensor) -> str:
    """Index and values of the largest difference; a NaN beats every number."""
    largest, text, wrong, total = -1.0, "", 0, max(1, got.numel())
    for start, g, e in _chunks(got, expected):
        gap = (g.double() - e.double()).abs()
        wrong += int((gap != 0).sum())
        gap = gap.nan_to_num(nan=math.inf)
        at = int(gap.argmax())
        if float(gap.flatten()[at]) <= largest:
            continue
        largest = float(gap.flatten()[at])
        index = [int(i) for i in torch.unravel_index(torch.tensor(at), gap.shape)]
        g_at, e_at = float(g[tuple(index)]), float(e[tuple(index)])
        index[0] += start
        text = f"worst at {tuple(index)}: got {g_at:.9g}, expected {e_at:.9g}"
    return f"{text}; {wrong} of {total} elements differ"


def _report(case: Case, family: str, what: str, seed: int, details: str) -> str:
    dtype = str(DTYPES[case.precision]).removeprefix("torch.")
    return f"{what}: {case} [{family}, {dtype}, seed {seed}]\n  {details}"


def check_exact(case: Case, family: str, got: Tensor, expected: Tensor, seed: int) -> Check:
    """Every element equals the float64 reference of an integer problem."""
    same = all(bool((g.double() == e).all()) for _, g, e in _chunks(got, expected))
    if same:
        return Check(case, family, "exact", ok=True)
    error = relative_l2(got, expected)
    details = f"{_worst(got, expected)}; relative L2 error {error:.3g}"
    message = _report(case, family, "not exact on integers", seed, details)
    return Check(case, family, "exact", ok=False, error=error, message=message)


def error_bound(
    case: Case,
    expected: Tensor,
    torch_error: float | None,
    tf32_error: float = 0.0,
) -> float:
    """The bound of the table above; without torch's error, its own part of it.

    Args:
        case: the problem; its precision selects the row.
        expected: the float64 reference.
        torch_error: relative L2 error of torch's result, None where torch has none.
        tf32_error: relative L2 error of exact arithmetic on TF32-rounded inputs.
    """
    if case.precision == "fp64":
        return math.sqrt(case.reduction + 1) * _UNIT_ROUNDOFF["fp64"]
    fp32_grade = max(FP32_GRADE, math.sqrt(case.reduction) * _UNIT_ROUNDOFF["fp32"])
    if case.precision == "fp32":
        if torch_error is None or not torch_error <= _SANE * fp32_grade:  # NaN, too
            return fp32_grade
        return max(2 * torch_error, _UNIT_ROUNDOFF["fp32"])
    if case.precision == "tf32":
        own = math.hypot(tf32_error, max(_TF32_SUMS, fp32_grade))
    else:
        own = math.hypot(_rounding_error(expected, DTYPES[case.precision]), fp32_grade)
    if torch_error is None or not torch_error <= _SANE * own:
        return own
    return max(own, torch_error)


def _rounding_error(expected: Tensor, dtype: torch.dtype) -> float:
    """Relative L2 error of the reference rounded once: no result in that type is closer."""
    difference = norm = 0.0
    for _, _, e in _chunks(expected, expected):
        difference += float((e.to(dtype).double() - e).square().sum())
        norm += float(e.square().sum())
    return math.sqrt(difference / norm) if norm else 0.0


def check_error(
    case: Case,
    family: str,
    got: Tensor,
    expected: Tensor,
    torch_error: float | None,
    bound: float,
    seed: int,
) -> Check:
    """The error rule, with a bound from ``error_bound``."""
    error = relative_l2(got, expected)
    ok = error <= bound  # False for NaN
    message = ""
    if not ok:
        torchs = "none" if torch_error is None else f"{torch_error:.3g}"
        details = (
            f"relative L2 error {error:.3g}, torch's {torchs}, allowed {bound:.3g}\n"
            f"  {_worst(got, expected)}"
        )
        message = _report(case, family, "error rule broken", seed, details)
    return Check(case, family, "error rule", ok, error, torch_error, bound, message)
