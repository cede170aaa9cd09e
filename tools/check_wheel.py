# SPDX-License-Identifier: BSD-3-Clause
"""What a wheel may hold, and what its binary may ask of the machine it lands on.

usage: python tools/check_wheel.py WHEEL      (needs binutils: nm, readelf)
"""

import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

MAX_BYTES = 60 * 10**6
REQUIRED = ("convt3d_ext/py.typed", "convt3d_ext/_C.pyi", "convt3d_ext/_C.abi3.so")
# libtorch.so must stay: it brings libtorch_cuda, where torch has one, and with it the stream.
NEEDED_TORCH = {"libtorch.so", "libtorch_cpu.so"}
NEEDED_SYSTEM = re.compile(
    r"(libstdc\+\+|libgcc_s|libgomp|libc|libm|libdl|librt|libpthread|ld-linux-x86-64|ld-linux-aarch64)\.so\.\d+"
)
# Mangled names of c10::, at::, torch:: are not in the stable ABI.
UNSTABLE_SYMBOL = re.compile(r"_ZN?K?(3c10|2at|5torch)")
# CPython's names outside the limited API begin with an underscore, but so do some inside: objects
# and what the headers make of PyArg_ParseTuple and Py_BuildValue.
PRIVATE_PYTHON = re.compile(r"\b_Py(?!_NoneStruct|_TrueStruct|_FalseStruct|_Dealloc|\w+_SizeT)\w+")


def output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def binary_breaches(path: Path) -> list[str]:
    needed = set(re.findall(r"\(NEEDED\).*\[(.*)\]", output("readelf", "-d", str(path))))
    undefined = output("nm", "-D", "--undefined-only", str(path))
    breaches = [f"{name} is not linked" for name in NEEDED_TORCH - needed]
    breaches += [
        f"links {name}" for name in needed - NEEDED_TORCH if not NEEDED_SYSTEM.fullmatch(name)
    ]
    breaches += [
        f"uses {line.split()[-1]}"
        for line in undefined.splitlines()
        if UNSTABLE_SYMBOL.search(line) or PRIVATE_PYTHON.search(line)
    ]
    here = str(Path.cwd()).encode()
    if here in path.read_bytes():
        breaches.append(f"holds the build path {here.decode()}")
    return breaches


def wheel_breaches(wheel: Path) -> list[str]:
    breaches = []
    if "-cp310-abi3-" not in wheel.name:
        breaches.append(f"{wheel.name} is not tagged cp310-abi3")
    if wheel.stat().st_size > MAX_BYTES:
        breaches.append(f"{wheel.stat().st_size} bytes, at most {MAX_BYTES}")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        breaches += [f"{name} is missing" for name in REQUIRED if name not in names]
        if not any(name.endswith("licenses/LICENSE") for name in names):
            breaches.append("the licence is missing")
        for name in names:
            top = name.split("/")[0]
            if top != "convt3d_ext" and not re.fullmatch(r"convt3d_ext-.*\.dist-info", top):
                breaches.append(f"holds {name}")
            if name.endswith((".cpp", ".h", ".cu", ".cuh")):
                breaches.append(f"holds the source {name}")
        binaries = [name for name in names if name.endswith(".so")]
        with tempfile.TemporaryDirectory() as folder:
            for name in binaries:
                breaches += binary_breaches(Path(archive.extract(name, folder)))
    return breaches


def main(wheel: Path) -> int:
    breaches = wheel_breaches(wheel)
    print("\n".join(breaches) if breaches else f"{wheel.name} is right")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
