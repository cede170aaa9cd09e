# SPDX-License-Identifier: BSD-3-Clause
"""Reads a build log with `ptxas -v` output; fails on register spills.

usage: python tools/check_ptxas.py BUILD_LOG
"""

import re
import sys
from pathlib import Path

ENTRY = re.compile(r"Compiling entry function '(\S+)' for '(sm_\w+)'")
FRAME = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
REGISTERS = re.compile(r"Used (\d+) registers")


def main(log: Path) -> int:
    kernels, most_registers, spills, entry = 0, (0, ""), [], "?"
    for line in log.read_text(errors="replace").splitlines():
        if match := ENTRY.search(line):
            entry = f"{match[1]} ({match[2]})"
            kernels += 1
        elif match := FRAME.search(line):
            if int(match[2]) or int(match[3]):
                spills.append(f"{entry}: {match[0].strip()}")
        elif match := REGISTERS.search(line):
            most_registers = max(most_registers, (int(match[1]), entry))
    print(f"{kernels} kernels, at most {most_registers[0]} registers, {len(spills)} spill")
    print("\n".join(spills))
    if not kernels:
        print("no `ptxas -v` output in the log: nothing was checked", file=sys.stderr)
    return 1 if spills or not kernels else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
