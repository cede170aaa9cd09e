# SPDX-License-Identifier: BSD-3-Clause
"""Is this machine's convt3d_ext right for a case? What `verify` and the tests run.

A ``Trial`` is one problem in one direction on one device. It draws its data once per set (narrow,
wide), computes each float64 reference once, and then checks any precision, layout and family
against them. Every element of every result is compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from convt3d_ext import _C
from convt3d_ext.testing.cases import Case
from convt3d_ext.testing.compare import Check, check_error, check_exact, error_bound, relative_l2
from convt3d_ext.testing.operands import (
    NARROW,
    Operands,
    call,
    call_torch,
    float32_precision,
    integers,
    layout_of,
    normals,
    operand_layouts,
    plan_device,
    shapes,
)
from convt3d_ext.testing.reference import MAX_TAPS, reference, round_to_tf32


class Trial:
    """One problem, one direction, one device; data and references are made when first needed."""

    def __init__(self, case: Case, device: torch.device, seed: int = 0) -> None:
        self.case = case
        self.device = device
        self.seed = seed
        self._made: dict[tuple[str, bool], tuple[Operands, Tensor]] = {}
        # Per precision and layout: what the torch call in its place would give.
        self._bounds: dict[tuple[str, str | None], tuple[float | None, float]] = {}

    def exact(self, precision: str, layout: str, family: str | None = None) -> Check:
        """The result on integers equals the reference."""
        operands, expected = self._data("integers", precision)
        case, got, ran = self._run(operands, precision, layout, family)
        return check_exact(case, ran, got, expected, self.seed)

    def error_rule(self, precision: str, layout: str, family: str | None = None) -> Check:
        """The error on normal data keeps the rule of ``compare``."""
        operands, expected = self._data("normals", precision)
        case, got, ran = self._run(operands, precision, layout, family)
        for torchs in self._torchs_layouts(precision, layout):
            torch_error, bound = self._bound(case, operands, expected, torchs)
            check = check_error(case, ran, got, expected, torch_error, bound, self.seed)
            if check.ok:
                break
        return check

    def _torchs_layouts(self, precision: str, layout: str) -> tuple[str | None, ...]:
        """The layouts to ask torch in, None without it, each where the bounds before are not kept.

        Of 16 bits torch's error can only raise the bound, and to find it takes a CPU without
        AVX-512 seconds; one with 33^3 taps takes over a minute for float32 in NDHWC.
        """
        if precision in NARROW:
            return None, layout
        if self.device.type == "cpu" and math.prod(self.case.kernel_size) > MAX_TAPS:
            return "ncdhw", layout
        return (layout,)

    def families(self, precision: str, layout: str) -> list[str]:
        """Families that accept this problem in this precision and layout, the planned one first."""
        case = replace(self.case, precision=precision, layout=layout)
        meta = Operands(*(torch.empty(shape, device="meta") for shape in shapes(case)))
        arranged = meta.to(precision, operand_layouts(case))
        # The result has the layout that the op gives it, whatever `layout` calls it.
        case = replace(case, layout=_actual_layout(case, arranged, call(case, arranged)))
        plan = _C.plan(str(case), *plan_device(self.device))
        return [family for family, ok, _, _ in plan["candidates"] if ok]

    def _data(self, kind: str, precision: str) -> tuple[Operands, Tensor]:
        narrow = precision in NARROW
        if (kind, narrow) not in self._made:
            draw = integers if kind == "integers" else normals
            operands = draw(self.case, narrow, self.device, self.seed)
            self._made[kind, narrow] = operands, reference(self.case, operands)
        return self._made[kind, narrow]

    def _run(
        self, operands: Operands, precision: str, layout: str, family: str | None
    ) -> tuple[Case, Tensor, str]:
        """The case as it ran (with the layouts that its tensors have), its result, its family."""
        case = replace(self.case, precision=precision, layout=layout)
        arranged = operands.to(precision, operand_layouts(case))
        got = call(case, arranged, family)
        case = replace(case, layout=_actual_layout(case, arranged, got))
        if family is None:
            family = str(_C.plan(str(case), *plan_device(self.device))["family"])
        return case, got, family

    def _bound(
        self, case: Case, operands: Operands, expected: Tensor, layout: str | None
    ) -> tuple[float | None, float]:
        """Torch's error in a layout, if asked for, and the bound on ours."""
        key = (case.precision, layout)
        if key not in self._bounds:
            torch_error = None
            if layout is not None:
                torch_error = self._torch_error(operands, expected, case.precision, layout)
            tf32_error = self._tf32_error(operands, expected) if case.precision == "tf32" else 0.0
            bound = error_bound(case, expected, torch_error, tf32_error)
            self._bounds[key] = torch_error, bound
        return self._bounds[key]

    def _torch_error(
        self, operands: Operands, expected: Tensor, precision: str, layout: str
    ) -> float | None:
        case = replace(self.case, precision=precision, layout=layout)
        try:
            with float32_precision(case.precision):
                result = call_torch(case, operands.to(precision, operand_layouts(case)))
        except RuntimeError:  # OutOfMemoryError is one
            return None  # torch cannot do it: the rule's own part of the bound stands alone
        return relative_l2(result, expected)

    def _tf32_error(self, operands: Operands, expected: Tensor) -> float:
        rounded = Operands(
            round_to_tf32(operands.first), round_to_tf32(operands.second), operands.bias
        )
        return relative_l2(reference(self.case, rounded), expected)


def _actual_layout(case: Case, operands: Operands, result: Tensor) -> str:
    first, second, third = map(layout_of, (operands.first, operands.second, result))
    words = {
        "forward": (first, second, third),
        "grad_input": (third, second, first),
        "grad_weight": (second, third, first),
    }
    return "+".join(words[case.direction])


def verify(
    case: Case,
    device: torch.device,
    precisions: Iterable[str],
    layouts: Iterable[str],
    directions: Iterable[str],
    seed: int = 0,
) -> Iterator[Check]:
    """Both checks of every combination, as the planner runs them."""
    for direction in directions:
        bias = case.bias and direction == "forward"
        trial = Trial(replace(case, direction=direction, bias=bias), device, seed)
        seen = set()
        # Narrow after wide: at most two sets of operands and references are alive at a time.
        for precision in precisions:
            actual = replace(trial.case, precision=precision).precision
            if actual in seen:  # grouped tf32 is fp32
                continue
            seen.add(actual)
            for layout in layouts:
                yield trial.exact(precision, layout)
                yield trial.error_rule(precision, layout)
