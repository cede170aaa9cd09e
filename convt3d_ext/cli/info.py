# SPDX-License-Identifier: BSD-3-Clause
"""``info``: everything that a bug report should start with."""

from __future__ import annotations

import torch
from rich.table import Table

from convt3d_ext.cli.environment import console, device_name, driver_version, environment


def info() -> int:
    """Print versions, build, devices and the architectures in the binary."""
    cpu = torch.device("cpu")
    facts = environment(cpu)
    build = facts.pop("build")
    for key in ("date", "command", "device", "driver"):
        facts.pop(key)
    table = Table(show_header=False, box=None)
    for key, value in facts.items():
        table.add_row(key, "none" if value is None else str(value))
    assert isinstance(build, dict)
    for key, value in build.items():
        table.add_row(f"build: {key}", "none" if value in (None, "") else str(value))
    table.add_row("cpu", f"{device_name(cpu)}, {torch.backends.cpu.get_cpu_capability()}")
    if torch.cuda.is_available():
        table.add_row("driver", driver_version() or "unknown")
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            memory = properties.total_memory / 2**30
            table.add_row(
                f"cuda:{index}",
                f"{properties.name}, sm_{properties.major}{properties.minor}, "
                f"{properties.multi_processor_count} SMs, {memory:.0f} GiB",
            )
    else:
        table.add_row("cuda devices", "none")
    console().print(table)
    return 0
