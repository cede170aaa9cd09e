# SPDX-License-Identifier: BSD-3-Clause
"""One measured row, and what is said about many of them."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from convt3d_ext.testing.cases import DIRECTIONS, Case
from convt3d_ext.testing.timing import Timing

Mean = dict[str, float | int | str | None]
_LATENCY_MS = 0.02  # below this floor a time is that of launches: no fraction of a roofline


@dataclass(frozen=True)
class Row:
    """A case in one precision, layout and direction."""

    case: Case
    precision: str  # what both sides were allowed: of a grouped case in fp32, TF32 as well
    family: str
    ours: Timing
    torch_same: Timing | None  # torch in the same layout; None where torch cannot
    torch_best_ms: float | None  # torch in its better layout
    floor_ms: float
    torch_error: str | None = None

    @property
    def speedup_same(self) -> float | None:
        """Torch's time in the same layout over ours."""
        return self.torch_same.ms / self.ours.ms if self.torch_same else None

    @property
    def speedup_best(self) -> float | None:
        """Torch's time in its better layout over ours."""
        return self.torch_best_ms / self.ours.ms if self.torch_best_ms else None

    @property
    def roofline_fraction(self) -> float:
        """The floor over our time: 1 is what this machine's matmul or copy can do."""
        return self.floor_ms / self.ours.ms

    def as_json(self) -> dict[str, object]:
        """The row as plain values."""
        return {
            "name": self.case.name,
            "case": str(self.case),
            "precision": self.precision,
            "layout": self.case.layout,
            "direction": self.case.direction,
            "family": self.family,
            "ms": self.ours.ms,
            "spread_ms": self.ours.spread_ms,
            "repetitions": self.ours.repetitions,
            "torch_ms": self.torch_same.ms if self.torch_same else None,
            "torch_spread_ms": self.torch_same.spread_ms if self.torch_same else None,
            "torch_best_ms": self.torch_best_ms,
            "torch_error": self.torch_error,
            "speedup_same": self.speedup_same,
            "speedup_best": self.speedup_best,
            "floor_ms": self.floor_ms,
            "roofline_fraction": self.roofline_fraction,
            "useful_flops": self.case.useful_flops,
            "bytes": self.case.bytes,
        }


def geometric_means(rows: list[Row]) -> list[Mean]:
    """Per precision, direction and layout: mean speed-ups and mean fraction of the floor.

    The direction ``step`` is a training step: forward and both gradients of the layers that have
    all three.
    """
    keys = dict.fromkeys((r.precision, r.case.direction, r.case.layout) for r in rows)
    means: list[Mean] = []
    for precision, direction, layout in keys:
        of_key = [
            r
            for r in rows
            if (r.precision, r.case.direction, r.case.layout) == (precision, direction, layout)
        ]
        means.append(
            {
                "precision": precision,
                "direction": direction,
                "layout": layout,
                "cases": len(of_key),
                "speedup_same": _mean([r.speedup_same for r in of_key]),
                "speedup_best": _mean([r.speedup_best for r in of_key]),
                "slowest": min((r.speedup_best for r in of_key if r.speedup_best), default=None),
                "roofline_fraction": _mean(
                    [r.roofline_fraction for r in of_key if r.floor_ms > _LATENCY_MS]
                ),
            }
        )
    return means + _steps(rows)


def _steps(rows: list[Row]) -> list[Mean]:
    layers: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        key = (row.precision, row.case.layout, f"{row.case.name} {row.case.problem}")
        layers.setdefault(key, []).append(row)
    speedups: dict[tuple[str, str], list[float]] = {}
    for (precision, layout, _), directions in layers.items():
        torchs = [row.torch_best_ms for row in directions if row.torch_best_ms]
        if len(torchs) == len(DIRECTIONS):
            ours = sum(row.ours.ms for row in directions)
            speedups.setdefault((precision, layout), []).append(sum(torchs) / ours)
    return [
        {
            "precision": precision,
            "direction": "step",
            "layout": layout,
            "cases": len(values),
            "speedup_same": None,
            "speedup_best": _mean([*values]),
            "slowest": min(values),
            "roofline_fraction": None,
        }
        for (precision, layout), values in speedups.items()
    ]


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value]
    return statistics.geometric_mean(known) if known else None


def slowest(rows: list[Row]) -> Row:
    """The row furthest from its floor."""
    return min(rows, key=lambda row: row.roofline_fraction)


def by_speedup(rows: list[Row]) -> list[tuple[float, Row]]:
    """Slowest first: speed-ups over torch's better layout, and their rows, where torch has one."""
    known = [(row.speedup_best, row) for row in rows if row.speedup_best]
    return sorted(known, key=lambda entry: entry[0])
