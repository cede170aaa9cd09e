# SPDX-License-Identifier: BSD-3-Clause
"""``bench``: side by side with torch, against what the machine can do."""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from convt3d_ext import _C
from convt3d_ext.cli.environment import console as make_console
from convt3d_ext.cli.environment import environment
from convt3d_ext.cli.summary import Row, by_speedup, geometric_means, slowest
from convt3d_ext.cli.torch_cache import TorchCache
from convt3d_ext.cli.verify import CPU_PRECISIONS
from convt3d_ext.testing.cases import ELEMENT_BYTES, Case
from convt3d_ext.testing.operands import (
    NARROW,
    call_as_users_do,
    call_torch,
    float32_precision,
    normals,
    operand_layouts,
    plan_device,
    resolve_device,
)
from convt3d_ext.testing.timing import Call, Ceilings, Stopwatch, Timing, measure_ceilings
from convt3d_ext.testing.workloads import chosen, shrink

_GPU_PRECISIONS = ("fp32", "tf32", "bf16", "fp16")
_ALL_LAYOUTS = ("ncdhw", "ndhwc")  # torch's best layout is the better of these
_LAST_SHOWN = 10  # of the rows, ranked by how they do against torch
_MAX_ELEMENTS = 2**28  # of a layer that --max-gflop makes smaller: 1 GB in float32


@dataclass
class _Bench:
    """One run: where, against which ceilings, with which of torch's times from a file."""

    device: torch.device
    watch: Stopwatch
    ceilings: Ceilings
    cache: TorchCache


def bench(arguments: argparse.Namespace) -> int:
    """Time the selected cases, print tables, write JSON and a plot as asked."""
    device = resolve_device(arguments.device)
    console = make_console()
    if arguments.plot and not _has_matplotlib():
        console.print("--plot needs matplotlib: pip install 'convt3d_ext\\[cli]'")
        return 2
    precisions = arguments.precisions or (
        _GPU_PRECISIONS if device.type == "cuda" else CPU_PRECISIONS[1:]
    )
    cases = chosen(arguments.suite, arguments.match, arguments.problem)
    if not cases:
        console.print("nothing matched the selection")
        return 2
    if arguments.max_gflop:
        cases = [shrink(c, arguments.max_gflop * 1e9, _MAX_ELEMENTS) for c in cases]
    facts = environment(device, arguments.commit)
    watch = Stopwatch(device)
    ceilings = measure_ceilings(device, tuple(dict.fromkeys((*precisions, "fp32"))))
    facts["cudnn_benchmark"] = not arguments.torch_default
    run = _Bench(device, watch, ceilings, TorchCache(arguments.torch_cache, facts))
    console.print(f"{facts['device']}, torch {facts['torch']}, cuDNN {facts['cudnn']}")
    console.print(_ceilings_text(ceilings), run.cache.note, sep="\n")

    rows: list[Row] = []
    skipped: list[str] = []
    start = time.perf_counter()
    for case in cases:
        if arguments.time_limit and time.perf_counter() - start > arguments.time_limit:
            skipped.append(case.name)
            continue
        table = Table("case", *_COLUMNS, title=f"{case.name}  {case.problem}")
        with _cudnn_benchmark(not arguments.torch_default):
            for row in _time_case(run, case, precisions, arguments):
                rows.append(row)
                table.add_row(*_cells(row))
        console.print(table)
        run.cache.save()
        # After every case, so that a run that is cut short leaves what it has measured.
        _write_json(arguments.json, facts, run, rows, skipped)
        gc.collect()
    _write_json(arguments.json, facts, run, rows, skipped)
    if rows:
        _print_summary(console, rows)
    if rows and arguments.plot:
        from convt3d_ext.cli.plot import plot

        plot(arguments.plot, rows, facts)
    if skipped:
        console.print(f"not measured, out of time: {', '.join(skipped)}")
    return 1 if skipped else 0


def _time_case(
    run: _Bench, case: Case, precisions: tuple[str, ...], arguments: argparse.Namespace
) -> Iterator[Row]:
    for direction in arguments.directions:
        for precision in precisions:
            for variant in case.variants((precision,), ("ncdhw",), (direction,)):
                yield from _time_variant(run, variant, precision, arguments.layouts)


def _time_variant(
    run: _Bench, case: Case, precision: str, layouts: tuple[str, ...]
) -> Iterator[Row]:
    """One direction and precision: ours in each layout, torch in both, interleaved."""
    operands = normals(case, case.precision in NARROW, run.device, seed=0)
    calls: dict[str, Call] = {}
    problems: dict[str, str] = {}
    cached = {
        layout: run.cache.get(replace(case, layout=layout), precision) for layout in _ALL_LAYOUTS
    }
    with float32_precision(precision):
        for layout in _ALL_LAYOUTS:
            in_layout = replace(case, layout=layout)
            arranged = operands.to(case.precision, operand_layouts(in_layout))
            if layout in layouts:
                calls[f"ours {layout}"] = _bind(call_as_users_do, in_layout, arranged)
            if cached[layout] is None:
                try:
                    call_torch(in_layout, arranged)
                    calls[f"torch {layout}"] = _bind(call_torch, in_layout, arranged)
                except RuntimeError as error:  # out of memory, or a case that cuDNN refuses
                    problems[layout] = str(error).splitlines()[0]
        timings = run.watch.interleaved(calls)
    torchs: dict[str, Timing] = {}
    for layout in _ALL_LAYOUTS:
        fresh = timings.get(f"torch {layout}")
        if fresh is not None:
            run.cache.put(replace(case, layout=layout), precision, fresh)
        timing = fresh or cached[layout]
        if timing is not None:
            torchs[layout] = timing
    for layout in layouts:
        in_layout = replace(case, layout=layout)
        same = torchs.get(layout)
        yield Row(
            case=in_layout,
            precision=precision,
            family=str(_C.plan(str(in_layout), *plan_device(run.device))["family"]),
            ours=timings[f"ours {layout}"],
            torch_same=same,
            torch_best_ms=min((t.ms for t in torchs.values()), default=None),
            floor_ms=run.ceilings.floor_ms(in_layout),
            torch_error=problems.get(layout),
        )


@contextmanager
def _cudnn_benchmark(enabled: bool) -> Iterator[None]:
    """Whether cuDNN chooses its algorithm by timing, as users who care let it."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = enabled
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def _bind(function: object, case: Case, arranged: object) -> Call:
    return lambda: function(case, arranged)  # type: ignore[operator]


def _has_matplotlib() -> bool:
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


_COLUMNS = (
    "family",
    "ours ms",
    "+-",
    "torch ms",
    "torch best",
    "x torch",
    "x best",
    "floor ms",
    "of floor",
)


def _cells(row: Row) -> list[str]:
    def number(value: float | None, digits: int = 3) -> str:
        return "-" if value is None else f"{value:.{digits}f}"

    return [
        f"{row.precision} {row.case.layout} {row.case.direction}",
        row.family,
        number(row.ours.ms),
        number(row.ours.spread_ms),
        number(row.torch_same.ms if row.torch_same else None),
        number(row.torch_best_ms),
        number(row.speedup_same, 2),
        number(row.speedup_best, 2),
        number(row.floor_ms),
        f"{100 * row.roofline_fraction:.1f} %",
    ]


def _ceilings_text(ceilings: Ceilings) -> str:
    products = ", ".join(f"{name} {value:.1f}" for name, value in ceilings.tflops.items())
    return (
        f"ceilings measured now: matmul {products} TFLOP/s; copy {ceilings.copy_tb_per_s:.3f} TB/s"
    )


def _print_summary(console: Console, rows: list[Row]) -> None:
    table = Table(
        *("precision", "direction", "layout", "cases", "x torch", "x best", "slowest", "of floor"),
        title="means",
    )
    for mean in geometric_means(rows):
        table.add_row(
            str(mean["precision"]),
            str(mean["direction"]),
            str(mean["layout"]),
            str(mean["cases"]),
            *(
                "-" if mean[key] is None else f"{mean[key]:.3f}"
                for key in ("speedup_same", "speedup_best", "slowest", "roofline_fraction")
            ),
        )
    console.print(table)
    row = slowest(rows)
    console.print(
        f"slowest against the floor: {row.case} at {100 * row.roofline_fraction:.1f} %",
        markup=False,
    )
    ranked = by_speedup(rows)
    behind = sum(speedup < 1 for speedup, _ in ranked)
    console.print(f"slower than torch's best: {behind} of {len(ranked)} rows; the last ones:")
    for speedup, row in ranked[:_LAST_SHOWN]:
        console.print(
            f"  {speedup:.2f}x  {row.case}  {row.family}: {row.ours.ms:.3f} ms, "
            f"torch {row.torch_best_ms:.3f}",
            markup=False,
            soft_wrap=True,
        )


def _write_json(
    path: str | None, facts: dict[str, object], run: _Bench, rows: list[Row], skipped: list[str]
) -> None:
    if not path:
        return
    document = {
        "environment": facts,
        "torch_times": run.cache.note,
        "ceilings": {
            "tflops": run.ceilings.tflops,
            "copy_tb_per_s": run.ceilings.copy_tb_per_s,
            "element_bytes": ELEMENT_BYTES,
        },
        "means": geometric_means(rows),
        "not_measured": skipped,
        "rows": [row.as_json() for row in rows],
    }
    Path(path).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
