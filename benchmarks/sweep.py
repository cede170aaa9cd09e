# SPDX-License-Identifier: BSD-3-Clause
"""Where the planner's choices are not the fastest, and where one more of something is a cliff.

    python benchmarks/sweep.py families   --suite real --precision bf16 --json families.json
    python benchmarks/sweep.py neighbours --suite all  --precision bf16 --json neighbours.json

`families` times every family that accepts a case: the planner should have taken the fastest.
`neighbours` times each layer beside layers with one more channel, column or sample: time per floor
(useful FLOPs or bytes, whichever takes longer) should stay within 1.5 times. The numbers of the
kernels' tuning.h were chosen with these two.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from convt3d_ext import _C
from convt3d_ext.cli.environment import environment
from convt3d_ext.testing.cases import DIRECTIONS, Case
from convt3d_ext.testing.operands import (
    NARROW,
    call,
    float32_precision,
    normals,
    operand_layouts,
    plan_device,
    resolve_device,
)
from convt3d_ext.testing.timing import Ceilings, Stopwatch, measure_ceilings
from convt3d_ext.testing.workloads import SUITES, workloads

SLOWER = 1.1  # than the fastest family: worth a line
CLIFF = 1.5  # of a neighbour's time per floor over the layer's own


def milliseconds(watch: Stopwatch, case: Case, families: list[str]) -> dict[str, float]:
    """Median time of each family from a cold L2, interleaved."""
    operands = normals(case, case.precision in NARROW, watch.device, seed=0)
    arranged = operands.to(case.precision, operand_layouts(case))
    with float32_precision(case.precision):
        timings = watch.interleaved(
            {family: lambda family=family: call(case, arranged, family) for family in families},
            budget_ms=15.0,
        )
    return {family: timing.ms for family, timing in timings.items()}


def accepting(case: Case, device: torch.device) -> tuple[str, list[str]]:
    """The planner's choice, and every family that could run."""
    plan = _C.plan(str(case), *plan_device(device))
    return plan["family"], [family for family, ok, *_ in plan["candidates"] if ok]


def compare_families(watch: Stopwatch, case: Case) -> Iterator[dict[str, object]]:
    chosen, families = accepting(case, watch.device)
    ms = milliseconds(watch, case, families)
    fastest = min(ms, key=lambda family: ms[family])
    yield {
        "case": str(case),
        "chosen": chosen,
        "fastest": fastest,
        "ratio": ms[chosen] / ms[fastest],
        "limit": SLOWER,
        "ms": ms,
    }


def neighbours(case: Case) -> dict[str, Case]:
    """The same layer with one more of something, a group's worth of channels where grouped."""
    depth, height, width = case.input_size
    return {
        "in_channels": replace(case, in_channels=case.in_channels + case.groups),
        "out_channels": replace(case, out_channels=case.out_channels + case.groups),
        "width": replace(case, input_size=(depth, height, width + 1)),
        "batch": replace(case, batch=case.batch + 1),
    }


def compare_neighbours(
    watch: Stopwatch, ceilings: Ceilings, case: Case
) -> Iterator[dict[str, object]]:
    def per_floor(of: Case) -> tuple[str, float]:
        chosen, _ = accepting(of, watch.device)
        return chosen, milliseconds(watch, of, [chosen])[chosen] / ceilings.floor_ms(of)

    family, own = per_floor(case)
    for name, neighbour in neighbours(case).items():
        chosen, theirs = per_floor(neighbour)
        yield {
            "case": str(neighbour),
            "more": name,
            "chosen": chosen,
            "fastest": family,
            "ratio": theirs / own,
            "limit": CLIFF,
        }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("families", "neighbours"))
    parser.add_argument("--suite", choices=(*SUITES, "all"), default="all")
    parser.add_argument("--match", default="")
    parser.add_argument("--precision", default="bf16,tf32,fp32")
    parser.add_argument("--layout", default="ncdhw,ndhwc")
    parser.add_argument("--direction", default=",".join(DIRECTIONS))
    parser.add_argument("--device")
    parser.add_argument("--commit")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    device = resolve_device(arguments.device)
    watch = Stopwatch(device)
    precisions = tuple(arguments.precision.split(","))
    ceilings = measure_ceilings(device, precisions)
    rows: list[dict[str, object]] = []
    for layer in workloads(arguments.suite):
        if arguments.match not in f"{layer.name} {layer.problem}":
            continue
        for case in layer.variants(
            precisions, tuple(arguments.layout.split(",")), tuple(arguments.direction.split(","))
        ):
            if arguments.what == "families":
                rows += compare_families(watch, case)
            else:
                rows += compare_neighbours(watch, ceilings, case)
    table = Table("case", "chosen", "fastest, or the layer's", "ratio")
    beyond = [row for row in rows if row["ratio"] > row["limit"]]
    for row in sorted(beyond, key=lambda row: -row["ratio"]):
        table.add_row(row["case"], row["chosen"], row["fastest"], f"{row['ratio']:.2f}")
    console = Console(width=140)
    console.print(table)
    console.print(f"{len(beyond)} of {len(rows)} beyond the limit")
    if arguments.json:
        command = " ".join(["python benchmarks/sweep.py", *sys.argv[1:]])
        facts = environment(device, arguments.commit) | {"command": command}
        document = {"environment": facts, "rows": rows}
        arguments.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 1 if beyond else 0


if __name__ == "__main__":
    raise SystemExit(main())
