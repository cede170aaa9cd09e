# SPDX-License-Identifier: BSD-3-Clause
"""The native module, and nothing else: metadata is in pyproject.toml.

One binary for every torch >= 2.10 and CPython >= 3.10 (LibTorch stable ABI, limited API), with or
without CUDA in that torch. docs/architecture.md says why each of these flags is there.

CONVT3D_CUDA        auto (default): CUDA if nvcc is found; 1: CUDA or fail; 0: CPU only
CONVT3D_CUDA_ARCHS  e.g. "9.0a" for a development build (default: every release architecture)
CONVT3D_LINEINFO    1: source lines in the kernels, for profilers
CONVT3D_WERROR      1: warnings are errors (CI's setting; users have compilers that we do not know)
CUDA_HOME           the toolkit, if not /usr/local/cuda or beside the nvcc on PATH
MAX_JOBS            compilers run at once
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import setup

try:
    import torch
    from torch.utils import cpp_extension
except ImportError as error:
    sys.exit(
        f"convt3d_ext needs torch >= 2.10 to build ({error}): install it first, or build with "
        "isolation, which brings its own"
    )

ROOT = Path(__file__).resolve().parent
TORCH_TARGET = "0x020a000000000000"  # 2.10; each component is one byte
RELEASE_ARCHS = "8.0;8.6;8.9;9.0a;10.0;12.0+PTX"
OLDEST_NVCC = (12, 8)  # the first that knows 10.0 and 12.0


def find_cuda_home() -> Path | None:
    """The toolkit folder. torch's own guess is None with a CPU torch and wrong behind a wrapper."""
    candidates = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    nvcc = shutil.which("nvcc")
    if nvcc:
        # A wrapper script on PATH may not sit in the toolkit: ask nvcc where it lives.
        dry_run = subprocess.run(
            [nvcc, "--dryrun", "-x", "cu", "/dev/null"], capture_output=True, text=True, check=False
        )
        top = re.search(r"^#\$ TOP=(.*)$", dry_run.stderr, re.MULTILINE)
        candidates.append(top.group(1) if top else str(Path(nvcc).resolve().parent.parent))
    for candidate in candidates:
        if candidate and (Path(candidate) / "bin" / "nvcc").is_file():
            return Path(candidate).resolve()
    return None


def nvcc_version(cuda_home: Path) -> str:
    text = subprocess.run(
        [cuda_home / "bin" / "nvcc", "--version"], capture_output=True, text=True, check=True
    ).stdout
    match = re.search(r"release (\d+)\.(\d+)", text)
    if not match:
        sys.exit(f"cannot read the version of {cuda_home}/bin/nvcc: {text!r}")
    if (int(match[1]), int(match[2])) < OLDEST_NVCC:
        sys.exit(
            f"convt3d_ext needs nvcc {OLDEST_NVCC[0]}.{OLDEST_NVCC[1]} or later, found "
            f"{match[1]}.{match[2]}; set CONVT3D_CUDA=0 for a CPU-only build"
        )
    return f"{match[1]}.{match[2]}"


def choose_cuda() -> Path | None:
    want = os.environ.get("CONVT3D_CUDA", "auto")
    if want not in ("auto", "0", "1"):
        sys.exit(f"CONVT3D_CUDA must be auto, 0 or 1, got {want!r}")
    if want == "0":
        return None
    cuda_home = find_cuda_home()
    if want == "1" and cuda_home is None:
        sys.exit("CONVT3D_CUDA=1, but there is no nvcc: set CUDA_HOME or put nvcc on PATH")
    return cuda_home


def gencode_flags(archs: str) -> list[str]:
    """nvcc's flags. torch adds its own unless a flag contains "arch", as one with a path may."""
    flags = []
    for arch in archs.split(";"):
        number = arch.removesuffix("+PTX").replace(".", "")
        flags.append(f"-gencode=arch=compute_{number},code=sm_{number}")
        if arch.endswith("+PTX"):
            flags.append(f"-gencode=arch=compute_{number},code=compute_{number}")
    return flags


class Build(cpp_extension.BuildExtension):  # type: ignore[misc]
    """Says what is missing before a page of compiler output does."""

    def build_extensions(self) -> None:
        compiler = os.environ.get("CXX", "c++").split()[0]
        if shutil.which(compiler) is None:
            sys.exit(f"convt3d_ext needs a C++20 compiler: there is no {compiler} on PATH")
        super().build_extensions()


def sources(*patterns: str) -> list[str]:
    return sorted(str(p.relative_to(ROOT)) for pattern in patterns for p in ROOT.glob(pattern))


def make_extension() -> cpp_extension.CppExtension:
    torch_version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if torch_version < (2, 10):
        sys.exit(f"convt3d_ext needs torch >= 2.10 to build, found {torch.__version__}")
    cuda_home = choose_cuda()
    torch_include = Path(torch.__file__).resolve().parent / "include"
    # No build path in the binary, whose messages and asserts carry __FILE__.
    prefix_map = [f"-ffile-prefix-map={torch_include}=torch", f"-ffile-prefix-map={ROOT}=convt3d"]
    strict = os.environ.get("CONVT3D_WERROR") == "1"
    shared = [
        "-O3",
        "-std=c++20",
        f"-DTORCH_TARGET_VERSION={TORCH_TARGET}",
        "-DTORCH_STABLE_ONLY",
    ]
    host = ["-fvisibility=hidden", "-fvisibility-inlines-hidden", *prefix_map]
    # -isystem: torch's headers are not ours to keep free of warnings.
    cxx = [*shared, *host, "-isystem", str(torch_include), "-g0", "-fopenmp"]
    cxx += ["-Wall", "-Wextra", *(["-Werror"] if strict else [])]
    link = [
        # libtorch.so pulls in libtorch_cuda where there is one. We use no symbol of it, so it must
        # come before --as-needed or it silently drops out and the stream function is never found.
        *["-Wl,--no-as-needed", "-ltorch", "-ltorch_cpu", "-Wl,--as-needed"],
        *["-Wl,--exclude-libs,ALL", "-Wl,-s", "-fopenmp"],
    ]
    common = {"include_dirs": [str(ROOT / "csrc")], "py_limited_api": True}
    if cuda_home is None:
        print("convt3d_ext: CPU only", file=sys.stderr)
        ext = cpp_extension.CppExtension(
            "convt3d_ext._C",
            sources("csrc/**/*.cpp"),
            extra_compile_args={"cxx": cxx},
            **common,
        )
    else:
        version = nvcc_version(cuda_home)
        archs = os.environ.get("CONVT3D_CUDA_ARCHS", RELEASE_ARCHS)
        if not re.fullmatch(r"\d+\.\d[af]?(\+PTX)?(;\d+\.\d[af]?(\+PTX)?)*", archs):
            sys.exit(f"CONVT3D_CUDA_ARCHS must be a list such as 8.0;9.0a;12.0+PTX, got {archs!r}")
        print(f"convt3d_ext: CUDA {version} for {archs}", file=sys.stderr)
        cpp_extension.CUDA_HOME = str(cuda_home)
        # None with a CPU build of torch, and then a changed header would rebuild no .cu file.
        torch.version.cuda = version
        defines = [
            "-DCONVT3D_WITH_CUDA",
            "-DUSE_CUDA",  # shows the CUDA functions of torch's C shim
            f'-DCONVT3D_CUDA_VERSION="{version}"',
            f'-DCONVT3D_CUDA_ARCHS="{archs}"',
        ]
        ext = cpp_extension.CUDAExtension(
            "convt3d_ext._C",
            sources("csrc/**/*.cpp", "csrc/**/*.cu"),
            extra_compile_args={
                "cxx": [*cxx, *defines],
                "nvcc": [
                    *shared,
                    *gencode_flags(archs),
                    "-DCONVT3D_WITH_CUDA",
                    # A third of the size of the default mode; the driver that CUDA 13 needs can
                    # read it. Source lines for profilers would double it: CONVT3D_LINEINFO.
                    "--compress-mode=size",
                    *(["-lineinfo"] if os.environ.get("CONVT3D_LINEINFO") == "1" else []),
                    *(["-Werror=all-warnings"] if strict else []),
                    "-Xptxas=-v,-warn-spills",
                    f"-Xcompiler={','.join([*host, '-Wall', '-Wextra'])}",
                ],
            },
            **common,
        )
        link += ["-l:libcudart_static.a", "-lrt", "-lpthread", "-ldl"]
    ext.libraries = []  # the defaults would not load beside a CPU-only torch
    ext.extra_link_args = link
    return ext


setup(ext_modules=[make_extension()], cmdclass={"build_ext": Build})
