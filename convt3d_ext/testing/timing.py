# SPDX-License-Identifier: BSD-3-Clause
"""How long do calls take, and what could this machine do at best?

Contenders are timed interleaved, one repetition of each in a random order, so that a clock that
drifts, a neighbour that wakes up or what a contender leaves behind hits all of them; the median is
the time. On CUDA L2 is flushed before each repetition, and the GPU is given other work while the
host queues a round of them: a time between events is the GPU's then, however slow or busy the host
is. On the CPU an untimed call comes before a short one: caches then hold the same for every
contender, and not what the one before it has left there, which may be the same operands. Nothing
here profiles: events around the call, or a clock on the CPU.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from convt3d_ext.testing.cases import Case
from convt3d_ext.testing.operands import DTYPES, float32_precision

Call = Callable[[], object]

_FLUSH_BYTES = 256 * 2**20  # several times any L2
_HEAD_START = 16  # flushes before a round: about 1 ms on an H200, 10 to 20 calls of a host
_MIN_REPETITIONS, _MAX_REPETITIONS = 3, 25
_SHORT_MS = 50.0  # longer calls do not live from what caches held before


@dataclass(frozen=True)
class Timing:
    """Median time in milliseconds, half the spread of the middle half, and the repetitions."""

    ms: float
    spread_ms: float
    repetitions: int


@dataclass(frozen=True)
class Ceilings:
    """What this machine reached: TFLOP/s of a matrix product per precision, TB/s of a copy."""

    tflops: dict[str, float]
    copy_tb_per_s: float

    def floor_ms(self, case: Case) -> float:
        """The least time for a case: its useful FLOPs or its bytes, whichever takes longer."""
        compute = case.useful_flops / (self.tflops[case.precision] * 1e9)
        memory = case.bytes / (self.copy_tb_per_s * 1e9)
        return max(compute, memory)


class Stopwatch:
    """Times calls on one device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._random = random.Random(0)
        self._flushed = None
        if device.type == "cuda":
            self._flushed = torch.empty(_FLUSH_BYTES, dtype=torch.uint8, device=device)

    def once(self, call: Call, warm: bool = False) -> float:
        """Milliseconds of one call, on CUDA from a cold L2, on the CPU after another if `warm`."""
        if self._flushed is not None:
            return self._queued([call])[0]
        if warm:
            call()
        start = time.perf_counter()
        call()
        return (time.perf_counter() - start) * 1e3

    def _queued(self, calls: list[Call]) -> list[float]:
        """Milliseconds of each call on CUDA: all are queued before the first of them can start."""
        assert self._flushed is not None
        for _ in range(_HEAD_START):
            self._flushed.zero_()
        event: Any = torch.cuda.Event  # has no annotations
        pairs = []
        for call in calls:
            self._flushed.zero_()
            begin, end = event(enable_timing=True), event(enable_timing=True)
            begin.record()
            call()
            end.record()
            pairs.append((begin, end))
        torch.cuda.synchronize(self.device)
        return [float(begin.elapsed_time(end)) for begin, end in pairs]

    def interleaved(self, calls: dict[str, Call], budget_ms: float = 60.0) -> dict[str, Timing]:
        """Time contenders side by side.

        Args:
            calls: contenders by name.
            budget_ms: roughly how long to measure each; at least 3 repetitions, at most 25.
        """
        samples: dict[str, list[float]] = {name: [] for name in calls}
        wanted, short = {}, {}
        for name, call in calls.items():
            call()  # loads kernels; torch's benchmark mode chooses its algorithm
            estimate = max(self.once(call), 1e-3)
            short[name] = estimate < _SHORT_MS
            wanted[name] = min(_MAX_REPETITIONS, max(_MIN_REPETITIONS, int(budget_ms / estimate)))
        order = list(calls)
        for repetition in range(max(wanted.values())):
            self._random.shuffle(order)
            names = [name for name in order if repetition < wanted[name]]
            if self._flushed is not None:
                times = self._queued([calls[name] for name in names])
            else:
                times = [self.once(calls[name], short[name]) for name in names]
            for name, ms in zip(names, times, strict=True):
                samples[name].append(ms)
        return {name: _summary(values) for name, values in samples.items()}


def _summary(values: list[float]) -> Timing:
    quarters = statistics.quantiles(values, n=4)
    return Timing(statistics.median(values), (quarters[2] - quarters[0]) / 2, len(values))


def measure_ceilings(device: torch.device, precisions: tuple[str, ...]) -> Ceilings:
    """Square matrix products and a copy through torch, on random data, best of ten.

    Where there are tensor cores, three TF32 products make a float32 one: a third of that rate is
    the ceiling of float32, if it is more than the rate of IEEE products.
    """
    on_gpu = device.type == "cuda"
    watch = Stopwatch(device)
    tflops = {}
    if on_gpu and "fp32" in precisions:
        precisions = tuple(dict.fromkeys((*precisions, "tf32")))
    for precision in precisions:
        size = (4096 if precision in ("fp64", "fp32") else 8192) if on_gpu else 1024
        a = torch.randn(size, size, device=device).to(DTYPES[precision])
        b = torch.randn(size, size, device=device).to(DTYPES[precision])
        with float32_precision(precision):
            a @ b
            best = min(watch.once(lambda a=a, b=b: a @ b) for _ in range(10))  # type: ignore[misc]
        tflops[precision] = 2.0 * size**3 / best / 1e9
    if on_gpu and "fp32" in precisions:
        tflops["fp32"] = max(tflops["fp32"], tflops["tf32"] / 3)
    elements = 2**29 if on_gpu else 2**25
    source = torch.randn(elements, device=device)
    target = torch.empty_like(source)
    target.copy_(source)
    best = min(watch.once(lambda: target.copy_(source)) for _ in range(10))
    return Ceilings(tflops, 2.0 * 4 * elements / best / 1e9)
