# SPDX-License-Identifier: BSD-3-Clause
"""What a result must be read with: versions, device, driver, date, command, commit."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
from pathlib import Path

import torch
from rich.console import Console

import convt3d_ext
from convt3d_ext import _C


def environment(device: torch.device, commit: str | None = None) -> dict[str, object]:
    """The facts about this machine and build that every JSON carries."""
    return {
        "date": now(),
        "command": " ".join(["python -m convt3d_ext", *sys.argv[1:]]),
        "commit": commit or _git_commit(),
        "convt3d_ext": convt3d_ext.__version__,
        "build": _C.build_info(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        "driver": driver_version() if device.type == "cuda" else None,
        "device": device_name(device),
    }


def console() -> Console:
    """Where output goes: as wide as the terminal, or wide enough for the tables in a log."""
    return Console() if sys.stdout.isatty() else Console(width=140)


def now() -> str:
    """UTC, to the second."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def device_name(device: torch.device) -> str:
    """Name of the GPU, or of the CPU with the number of threads in use."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        name = names[0] if names else name
    return f"{name}, {torch.get_num_threads()} of {os.cpu_count()} threads"


def driver_version() -> str | None:
    """Version of the NVIDIA driver, if nvidia-smi tells."""
    return _first_line(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"])


def _git_commit() -> str | None:
    folder = Path(convt3d_ext.__file__).parents[1]
    return _first_line(["git", "-C", str(folder), "rev-parse", "HEAD"])


def _first_line(command: list[str]) -> str | None:
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    lines = result.stdout.splitlines()
    return lines[0].strip() if lines else None
