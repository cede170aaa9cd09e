# SPDX-License-Identifier: BSD-3-Clause
"""Compiles the plain C++ layers with pybind11 bindings, for tests only."""

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

import pybind11

ROOT = Path(__file__).resolve().parents[2]
NAME = "convt3d_native"
# Everything the planner's tables point at; none of it includes torch or needs CUDA.
SOURCES = ("csrc/geometry/*.cpp", "csrc/plan/*.cpp", "csrc/cpu/**/*.cpp", "csrc/cuda/*/*.cpp")
FLAGS = "-std=c++20 -O1 -fPIC -fvisibility=hidden -fopenmp -Wall -Wextra"
if os.environ.get("CONVT3D_WERROR") == "1":  # as in setup.py
    FLAGS += " -Werror"


def ninja_file() -> str:
    sources = [ROOT / "tests/native/module.cpp"]
    for pattern in SOURCES:
        sources += sorted(ROOT.glob(pattern))
    # Dependency files leave system headers out: csrc is none.
    includes = f"-I {ROOT / 'csrc'}"
    for path in (pybind11.get_include(), sysconfig.get_path("include")):
        includes += f" -isystem {path}"
    objects = [
        str(source.relative_to(ROOT).with_suffix(".o")).replace("/", ".") for source in sources
    ]
    lines = [
        f"cxx = {os.environ.get('CXX') or shutil.which('g++') or 'c++'}",
        f"flags = {FLAGS} {includes}",
        "rule compile",
        "  command = $cxx $flags -MMD -MF $out.d -c $in -o $out",
        "  depfile = $out.d",
        "rule link",
        "  command = $cxx -shared -fopenmp -o $out $in",
        *(f"build {obj}: compile {src}" for obj, src in zip(objects, sources, strict=True)),
        f"build {NAME}.so: link {' '.join(objects)}",
    ]
    return "\n".join(lines) + "\n"


def build(folder: Path) -> ModuleType:
    """Compiles what changed since the last call in `folder`, and imports the module."""
    if NAME in sys.modules:
        return sys.modules[NAME]
    with (folder / "lock").open("w") as lock:  # several pytest workers share the folder
        fcntl.flock(lock, fcntl.LOCK_EX)
        text = ninja_file()
        path = folder / "build.ninja"
        if not path.is_file() or path.read_text() != text:
            path.write_text(text)
        result = subprocess.run(
            [sys.executable, "-m", "ninja", "-C", str(folder)],
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise RuntimeError(f"tests/native does not build:\n{result.stdout}{result.stderr}")
    spec = importlib.util.spec_from_file_location(NAME, folder / f"{NAME}.so")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = module
    spec.loader.exec_module(module)
    return module
