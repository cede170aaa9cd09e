# SPDX-License-Identifier: BSD-3-Clause
"""Layers of real networks, with their sources: the suites kernelbench, real and synthetic.

``workloads.json`` beside this file holds them: one object per layer, with the project and the file
that it was read from, the precision and the layout that the project runs it in.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import cache
from pathlib import Path

from convt3d_ext.testing.cases import Case, Ints3, edges
from convt3d_ext.testing.random_cases import random_cases

_VERIFY_BYTES = 64  # per element, see fit_memory
_LAYERS = ("kernelbench", "real", "synthetic")
SUITES = (*_LAYERS, "edges", "random")


@cache
def _read() -> dict[str, list[dict[str, object]]]:
    text = (Path(__file__).parent / "workloads.json").read_text(encoding="utf-8")
    rows: dict[str, list[dict[str, object]]] = json.loads(text)
    return rows


def workloads(suite: str) -> list[Case]:
    """The cases of a suite: one of ``SUITES``, or ``all`` layers of networks alone.

    Example:
        >>> from convt3d_ext.testing.workloads import workloads
        >>> print(workloads("kernelbench")[4].problem)
        mb8_ic32oc32_id12ih24iw48_k3x5x7s2p1x2x3op1g4
    """
    if suite == "all":
        return [case for name in _LAYERS for case in workloads(name)]
    if suite == "edges":
        return edges("full")
    if suite == "random":
        return random_cases(100, seed=0, max_gflop=12, max_mb=250)
    if suite not in SUITES:
        raise ValueError(f"suite must be one of {', '.join(SUITES)} or all, got '{suite}'")
    keys = ("batch", "in_channels", "out_channels", "groups", "bias", "name")
    extents = ("input_size", "kernel_size", "stride", "padding", "output_padding", "dilation")
    return [
        Case(
            **{key: row[key] for key in keys},  # type: ignore[arg-type]
            **{key: tuple(row[key]) for key in extents},  # type: ignore[arg-type]
        )
        for row in _read()[suite]
    ]


def chosen(suite: str, match: str = "", problem: str | None = None) -> list[Case]:
    """The cases of a suite whose name or problem contains ``match``, or one problem instead."""
    cases = [Case.parse(problem, name="problem")] if problem else workloads(suite)
    return [case for case in cases if match in f"{case.name} {case.problem}"]


def sources(suite: str) -> dict[str, str]:
    """Where each layer of a workload suite comes from: name to "project, source"."""
    return {str(row["name"]): f"{row['project']}, {row['source']}" for row in _read()[suite]}


def shrink(case: Case, max_flops: float = 1e7, max_elements: int = 300_000) -> Case:
    """The same kind of problem within limits, whose defaults suit `verify` on two CPU cores.

    A case within them stays as it is. Else batch goes to at most 2, then the largest extent of the
    input is lowered, keeping its parity (odd stays odd: border and residue handling stay the same),
    down to 3 or 4, or to the kernel's extent where that is up to 8; then in_channels and
    out_channels are divided by 2 or 3, whichever keeps them whole multiples of groups, and last
    groups themselves. Kernel, stride, padding, output padding and dilation never change.
    """
    while case.useful_flops > max_flops or case.elements > max_elements:
        smaller = (
            _lower_batch(case)
            or _lower_extent(case)
            or _divide_channels(case)
            or _divide_groups(case)
        )
        if smaller is None:
            break
        case = smaller
    return case


def _lower_batch(case: Case) -> Case | None:
    return replace(case, batch=2) if case.batch > 2 else None


def _lower_extent(case: Case) -> Case | None:
    axis = max(range(3), key=lambda a: case.input_size[a])
    extent = case.input_size[axis]
    # Not below the kernel: oneDNN (torch 2.13, bfloat16 grad_weight, k7 p3 on 4^3) writes outside
    # its buffers there.
    lower = max(extent // 2, 3, min(case.kernel_size[axis], 8))
    lower += (extent - lower) % 2
    if lower >= extent:
        return None
    size = list(case.input_size)
    size[axis] = lower
    try:
        return replace(case, input_size=_ints3(size))
    except ValueError:  # padding leaves no output
        return None


def _divide_channels(case: Case) -> Case | None:
    channels = {"in_channels": case.in_channels, "out_channels": case.out_channels}
    for name in sorted(channels, key=lambda n: -channels[n]):
        per_group = channels[name] // case.groups
        for factor in (2, 3):
            if per_group % factor == 0 and per_group // factor >= 4:
                return replace(case, **{name: channels[name] // factor})  # type: ignore[arg-type]
    return None


def _divide_groups(case: Case) -> Case | None:
    for factor in (2, 3):
        if case.groups % factor == 0 and case.groups // factor >= 2:
            return replace(
                case,
                groups=case.groups // factor,
                in_channels=case.in_channels // factor,
                out_channels=case.out_channels // factor,
            )
    return None


def _ints3(values: list[int]) -> Ints3:
    d, h, w = values
    return d, h, w


def fit_memory(case: Case, free_bytes: float) -> Case:
    """The case itself, or with the largest batch whose verification fits ``free_bytes``.

    Verification keeps four sets of operands in float32 and their references in float64 (48 bytes
    for an element that is in both), and makes float64 copies and one tap's product on the way.
    """
    of_weight = _VERIFY_BYTES * math.prod(case.weight_shape)
    per_image = (_VERIFY_BYTES * case.elements - of_weight) / max(case.batch, 1)
    room = int(max(free_bytes - of_weight, per_image) // per_image)
    return replace(case, batch=min(case.batch, room))
