# SPDX-License-Identifier: BSD-3-Clause
"""What a call costs before a kernel runs: import, first call, host time of eager calls.

    python benchmarks/latency.py [--device cuda] [--json latency.json]

Each figure of a start is the median over fresh processes. Host time is that of the CPU alone: the
layer is tiny and the device is not waited for within a batch of calls.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

import convt3d_ext
from convt3d_ext.cli.environment import environment

PROCESSES = 5
IMPORT = """
import time, torch
start = time.perf_counter()
import convt3d_ext
print(time.perf_counter() - start)
"""
FIRST_CALL = """
import sys, time, torch
import convt3d_ext
device, channels, extent, dtype = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
like = {"device": device, "dtype": getattr(torch, dtype), "requires_grad": sys.argv[5] == "step"}
x = torch.randn(1, channels, extent, extent, extent, **like)
w = torch.randn(channels, channels, 3, 3, 3, **like)
# torch's own kernels around ours have run before.
y = (x * w.sum()).sum()
if y.requires_grad:
    y.backward()
y.item()
start = time.perf_counter()
y = convt3d_ext.conv_transpose3d(x, w, stride=2).sum()
if y.requires_grad:
    y.backward()
y.item()
print(time.perf_counter() - start)
"""
# Channels, extent, dtype: a small layer has small kernels; those of a large one are loaded as
# they are first called, so a training step loads several.
FIRST_CALLS = {
    "first_call_s": ("16", "4", "float32", "forward"),
    "first_call_large_s": ("64", "32", "bfloat16", "forward"),
    "first_step_large_s": ("64", "32", "bfloat16", "step"),
}


def of_processes(script: str, *arguments: str) -> float:
    """Seconds that the script prints, median over fresh processes; the first fills the caches."""
    command = [sys.executable, "-c", script, *arguments]
    runs = [
        float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        for _ in range(PROCESSES + 1)
    ]
    return statistics.median(runs[1:])


def host_us(functions: dict[str, Callable[[], object]], device: torch.device) -> dict[str, float]:
    """Microseconds of host time of one call of each, median over batches taken in turn."""
    batches: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(30):
        for name, function in functions.items():
            if device.type == "cuda":
                torch.cuda.synchronize()
            start = time.perf_counter()
            for _ in range(50):
                function()
            batches[name].append((time.perf_counter() - start) / 50 * 1e6)
    return {name: statistics.median(times[5:]) for name, times in batches.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--commit")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    figures: dict[str, float] = {"import_beyond_torch_s": of_processes(IMPORT)}
    for name, layer in FIRST_CALLS.items():
        figures[name] = of_processes(FIRST_CALL, arguments.device, *layer)
    x = torch.randn(1, 16, 4, 4, 4, device=device)
    functions: dict[str, Callable[[], object]] = {}
    for name, module in (
        ("ours", convt3d_ext.ConvTranspose3d(16, 16, 2, stride=2, device=device)),
        ("torch", torch.nn.ConvTranspose3d(16, 16, 2, stride=2, device=device)),
    ):

        def forward(module: torch.nn.Module = module) -> None:
            with torch.no_grad():
                module(x)

        wanted = x.clone().requires_grad_()

        def step(module: torch.nn.Module = module, wanted: torch.Tensor = wanted) -> None:
            module(wanted).sum().backward()

        functions |= {f"forward_{name}_us": forward, f"step_{name}_us": step}
    figures |= host_us(functions, device)
    for name, value in figures.items():
        print(f"{name:24} {value:10.4f}")
    if arguments.json:
        facts = environment(device, arguments.commit) | {"command": "python benchmarks/latency.py"}
        document = {"environment": facts, "figures": figures}
        arguments.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
