# SPDX-License-Identifier: BSD-3-Clause
"""Torch's times in a file: they change with torch, not with us, and cost most of a run."""

from __future__ import annotations

import json
from pathlib import Path

from convt3d_ext.testing.cases import Case
from convt3d_ext.testing.timing import Timing


class TorchCache:
    """Times by problem, for one device, torch, cuDNN and driver; another of these has its own."""

    def __init__(self, path: str | None, facts: dict[str, object]) -> None:
        self._path = Path(path) if path else None
        keys = ("device", "torch", "cudnn", "driver")
        self._machine = ", ".join(f"{key} {facts[key]}" for key in keys)
        if not facts["cudnn_benchmark"]:
            self._machine += ", cudnn.benchmark off"
        self._date = str(facts["date"])
        self._content: dict[str, dict[str, list[float | int | str]]] = {}
        if self._path and self._path.exists():
            self._content = json.loads(self._path.read_text(encoding="utf-8"))
        self._times = self._content.setdefault(self._machine, {})
        self._known = dict(self._times)

    @property
    def note(self) -> str:
        """When torch's times were measured, in a sentence."""
        if not self._known:
            return f"torch's times: measured in this run, {self._date}"
        dates = sorted({str(values[3]) for values in self._known.values()})
        return f"torch's times: {len(self._known)} from {self._path}, measured {', '.join(dates)}"

    def get(self, case: Case, precision: str) -> Timing | None:
        """The time in the file when this run began; ``precision`` is what torch was allowed."""
        values = self._known.get(_key(case, precision))
        if values is None:
            return None
        return Timing(float(values[0]), float(values[1]), int(values[2]))

    def put(self, case: Case, precision: str, timing: Timing) -> None:
        """Remember a time measured now."""
        self._times[_key(case, precision)] = [
            timing.ms,
            timing.spread_ms,
            timing.repetitions,
            self._date,
        ]

    def save(self) -> None:
        """Write the file, if one was given."""
        if self._path:
            self._path.write_text(json.dumps(self._content, indent=0) + "\n", encoding="utf-8")


def _key(case: Case, precision: str) -> str:
    return str(case) if case.precision == precision else f"{case}, {precision} allowed"
