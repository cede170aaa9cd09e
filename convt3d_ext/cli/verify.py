# SPDX-License-Identifier: BSD-3-Clause
"""``verify``: every selected case in every precision, layout and direction, against torch."""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from convt3d_ext.cli.environment import console as make_console
from convt3d_ext.cli.environment import environment
from convt3d_ext.testing.cases import PRECISIONS, Case
from convt3d_ext.testing.compare import Check
from convt3d_ext.testing.operands import resolve_device
from convt3d_ext.testing.verification import verify as verify_case
from convt3d_ext.testing.workloads import SUITES, chosen, fit_memory, shrink

# The CPU ignores allow_tf32; float64 first, so that the narrow sets come last.
CPU_PRECISIONS = tuple(precision for precision in PRECISIONS if precision != "tf32")


@dataclass
class _Tally:
    checks: int = 0
    failed: int = 0
    families: set[str] = field(default_factory=set)
    worst: float = 0.0  # largest error as a fraction of its bound


def select(arguments: argparse.Namespace, device: torch.device) -> dict[str, list[Case]]:
    """The cases of the selected suites, fitted to the device."""
    suites = SUITES if arguments.suite == "all" else (arguments.suite,)
    selected = {}
    for suite in ("problem",) if arguments.problem else suites:
        cases = chosen(suite, arguments.match, arguments.problem)
        if device.type == "cuda":
            free = torch.cuda.mem_get_info(device)[0]
            cases = [fit_memory(case, 0.7 * free) for case in cases]
        elif suite != "edges" and not arguments.full_size:
            cases = [shrink(case) for case in cases]
        selected[suite] = cases
    return selected


def verify(arguments: argparse.Namespace) -> int:
    """Run the checks with a progress bar, print a table; 1 if one failed."""
    device = resolve_device(arguments.device)
    console = make_console()
    facts = environment(device)
    console.print(f"convt3d_ext {facts['convt3d_ext']}, torch {facts['torch']}, {facts['device']}")
    suites = select(arguments, device)
    precisions = arguments.precisions or (PRECISIONS if device.type == "cuda" else CPU_PRECISIONS)
    if device.type == "cpu" and not arguments.full_size:
        console.print("CPU: workloads are shrunk (volume, batch, channels); --full-size keeps them")
    start = time.perf_counter()
    checks: list[Check] = []
    failures: list[Check] = []
    tallies: dict[tuple[str, str], _Tally] = defaultdict(_Tally)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=sum(map(len, suites.values())))
        for suite, cases in suites.items():
            for case in cases:
                progress.update(task, description=f"{suite}: {case.name}")
                for check in verify_case(
                    case,
                    device,
                    precisions,
                    arguments.layouts,
                    arguments.directions,
                    arguments.seed,
                ):
                    checks.append(check)
                    _count(tallies[suite, check.case.precision], check)
                    if not check.ok:
                        failures.append(check)
                        progress.console.print(check.message, markup=False, soft_wrap=True)
                progress.advance(task)
                gc.collect()  # before the next case allocates, the last one's tensors go
    seconds = time.perf_counter() - start
    console.print(_table(tallies))
    verdict = f"[red]{len(failures)} FAILED[/red]" if failures else "[green]all passed[/green]"
    console.print(f"{len(checks)} checks, {verdict}, {seconds:.0f} s")
    if arguments.json:
        _write_json(arguments.json, facts, checks, seconds)
    if not checks:
        console.print("nothing matched the selection")
    return 1 if failures or not checks else 0


def _count(tally: _Tally, check: Check) -> None:
    tally.checks += 1
    tally.failed += not check.ok
    tally.families.add(check.family)
    if check.bound:
        tally.worst = max(tally.worst, check.error / check.bound)


def _table(tallies: dict[tuple[str, str], _Tally]) -> Table:
    table = Table("suite", "precision", "checks", "failed", "largest error / bound", "families")
    for (suite, precision), tally in tallies.items():
        table.add_row(
            suite,
            precision,
            str(tally.checks),
            f"[red]{tally.failed}[/red]" if tally.failed else "0",
            f"{tally.worst:.3f}",
            ", ".join(sorted(tally.families)),
        )
    return table


def _write_json(path: str, facts: dict[str, object], checks: list[Check], seconds: float) -> None:
    rows = [
        {
            "name": check.case.name,
            "case": str(check.case),
            "family": check.family,
            "kind": check.kind,
            "ok": check.ok,
            "error": check.error,
            "torch_error": check.torch_error,
            "bound": check.bound,
            "message": check.message,
        }
        for check in checks
    ]
    document = {
        "environment": facts,
        "seconds": round(seconds, 1),
        "checks": len(rows),
        "failed": sum(not check.ok for check in checks),
        # Only failures in full: a run has tens of thousands of checks.
        "failures": [row for row in rows if not row["ok"]],
        "cases": sorted({check.case.problem for check in checks}),
    }
    Path(path).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
