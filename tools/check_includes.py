# SPDX-License-Identifier: BSD-3-Clause
"""The layering of csrc/, and the sizes that keep its files readable.

`python tools/check_includes.py` prints one line per breach and exits 1 if there is any.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[1]
MAX_LINES = 450
MAX_COLUMNS = 100
SOURCE_SUFFIXES = {".py", ".pyi", ".sh", ".cpp", ".h", ".cu", ".cuh"}

# What a layer may include of csrc/, besides itself. cuda/ and cpu/ see the planner's PODs, and only
# TABLES see the families.
CONTRACTS = ("plan/description.h", "plan/family.h", "plan/operands.h")
LAYERS = {
    "geometry": (),
    "plan": ("geometry/",),
    "cuda": ("geometry/", *CONTRACTS),
    "cpu": ("geometry/", *CONTRACTS),
    "binding": ("geometry/", "plan/", "cuda/", "cpu/"),
}
# The two lists of families: who may be chosen, and who is launched.
TABLES = ("plan/planner.cpp", "cuda/cuda.cu")
# A family's fallback for what its description cannot tell: pointers and strides.
FALLBACKS = {
    "halo_gemm": ("cuda/implicit_gemm/implicit_gemm.h",),
    "halo_weight": ("cuda/weight_gemm/weight_gemm.h",),
    "line_weight": ("cuda/weight_gemm/weight_gemm.h", "cuda/few_channels/few_channels.h"),
    "view_weight": ("cuda/weight_gemm/weight_gemm.h",),
    # Whatever family takes the problem that it has padded.
    "padded_channels": ("cuda/cuda.h",),
}
# Whom a family asks whether they take a problem that it is slower with.
YIELDS = {
    "implicit_gemm": (
        "cuda/few_channels/few_channels.h",
        "cuda/subpixel_gemm/subpixel_gemm.h",
    ),
    "line_weight": (
        "cuda/halo_weight/halo_weight.h",
        "cuda/view_weight/view_weight.h",
    ),
    "subpixel_gemm": ("cuda/few_channels/few_channels.h",),
    "tap_gemm": ("cuda/few_channels/few_channels.h",),
}
# A family that is another's tiles, loads and stores with a multiplication of its own.
BASES = {"mma_gemm": ("cuda/implicit_gemm/",), "view_weight": ("cuda/halo_weight/",)}
# Folders of csrc/cuda that every family may use.
CUDA_SHARED = ("cuda/common/", "cuda/sm90/")

TORCH = re.compile(r"^(torch|ATen|c10|caffe2)/")
STABLE_TORCH = re.compile(r"^torch/(csrc/stable/|headeronly/|csrc/inductor/aoti_torch/c/)")
CUDA_RUNTIME = re.compile(r"^(cuda|cub/|thrust/|cooperative_groups)")
FOREIGN_KERNELS = re.compile(r"^(cudnn|cublas|cutlass|cute/|cufft)")
INCLUDE = re.compile(r'^\s*#\s*include\s+[<"]([^>"]+)[>"]', re.MULTILINE)


def tracked(*patterns: str) -> list[PurePosixPath]:
    listing = subprocess.run(
        ["git", "ls-files", "-z", *patterns], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return [PurePosixPath(name) for name in listing.split("\0") if name and (ROOT / name).is_file()]


def family_of(path: str) -> str:
    parts = PurePosixPath(path).parts
    return parts[1] if parts[0] == "cuda" and len(parts) > 2 else ""


def include_breach(path: str, include: str) -> str | None:
    """Why the file `path` (relative to csrc/) may not include `include`; None if it may."""
    layer = PurePosixPath(path).parts[0]
    if FOREIGN_KERNELS.match(include):
        return "the kernels are our own"
    if TORCH.match(include) or include == "Python.h":
        if layer != "binding":
            return "only csrc/binding includes torch or Python"
        if TORCH.match(include) and not STABLE_TORCH.match(include):
            return "outside torch's stable ABI"
        return None
    target = PurePosixPath(include).parts[0]
    if target not in LAYERS:
        if CUDA_RUNTIME.match(include) and layer not in ("cuda", "binding"):
            return "only csrc/cuda and csrc/binding know CUDA"
        return None
    if path in TABLES and target in ("cuda", "cpu"):
        return None
    if target == layer:
        mine, theirs = family_of(path), family_of(include)
        others = [of.get(mine, ()) for of in (FALLBACKS, YIELDS, BASES)]
        if mine != theirs and not include.startswith(sum(others, CUDA_SHARED)):
            return "a family does not include another"
        return None
    return None if include.startswith(LAYERS[layer]) else f"{layer}/ is not above {include}"


def include_breaches() -> Iterator[str]:
    for name in tracked("csrc"):
        path = PurePosixPath(*name.parts[1:])
        if path.suffix not in SOURCE_SUFFIXES:
            continue
        if path.parts[0] not in LAYERS:
            yield f"{name}: not in a layer of csrc/"
            continue
        for include in INCLUDE.findall((ROOT / name).read_text()):
            why = include_breach(str(path), include)
            if why:
                yield f"{name}: includes {include}: {why}"


def size_breaches() -> Iterator[str]:
    for name in tracked():
        if name.suffix not in SOURCE_SUFFIXES:
            continue
        lines = (ROOT / name).read_text().splitlines()
        if len(lines) > MAX_LINES:
            yield f"{name}: {len(lines)} lines, at most {MAX_LINES}"
        for number, line in enumerate(lines, 1):
            # ruff judges Python, and lets a line end in a pragma.
            if len(line) > MAX_COLUMNS and name.suffix not in (".py", ".pyi"):
                yield f"{name}:{number}: {len(line)} columns, at most {MAX_COLUMNS}"
        if lines and not any("SPDX-License-Identifier: BSD-3-Clause" in x for x in lines[:3]):
            yield f"{name}: no SPDX line at its head"


def main() -> int:
    breaches = [*include_breaches(), *size_breaches()]
    print("\n".join(breaches) if breaches else "layers and sizes are right")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
