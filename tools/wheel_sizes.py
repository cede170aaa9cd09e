# SPDX-License-Identifier: BSD-3-Clause
"""What each GPU architecture adds to a wheel: compressed bytes, as a Markdown table.

usage: python tools/wheel_sizes.py WHEEL

nvcc puts one fat binary for each source into `_C.abi3.so`: a header, then one entry for each
architecture, whose code is compressed already (zip gains nothing). No tool of CUDA's lists their
sizes; the offsets below are those that nvcc 13.0 writes.
"""

import struct
import sys
import zipfile
from collections import Counter
from pathlib import Path

MAGIC = struct.pack("<IHH", 0xBA55ED50, 1, 16)  # magic, version, bytes of the header
KINDS = {1: "compute_{} (PTX)", 2: "sm_{}"}


def bytes_by_architecture(binary: bytes) -> Counter[str]:
    sizes: Counter[str] = Counter()
    start = binary.find(MAGIC)
    while start >= 0:
        entry = start + 16
        end = entry + struct.unpack_from("<Q", binary, start + 8)[0]
        while entry < end:
            kind, _, header, payload = struct.unpack_from("<HHIQ", binary, entry)
            arch = struct.unpack_from("<I", binary, entry + 28)[0]
            sizes[KINDS[kind].format(arch)] += header + payload
            entry += header + payload
        start = binary.find(MAGIC, end)
    return sizes


def main(wheel: Path) -> int:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".so"))
        binary = archive.read(name)
    sizes = bytes_by_architecture(binary)
    print("| part | MB |\n|---|---|")
    for part, size in sorted(sizes.items()):
        print(f"| {part} | {size / 1e6:.1f} |")
    print(f"| the rest of the binary, not compressed | {(len(binary) - sizes.total()) / 1e6:.1f} |")
    print(f"| the wheel | {wheel.stat().st_size / 1e6:.1f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
