# SPDX-License-Identifier: BSD-3-Clause
"""What the distributions hold, and the rules of the tree that they come from."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import convt3d_ext

ROOT = Path(__file__).resolve().parents[1]
VERSION_FILE = ROOT / "convt3d_ext" / "_version.py"


def run(*command, cwd=ROOT):
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{command}:\n{result.stdout}{result.stderr}"
    return result.stdout


def is_checkout():
    return shutil.which("git") is not None and (ROOT / ".git").exists()


@pytest.fixture(scope="session")
def tracked():
    """What belongs to the project: git's list, or in an unpacked sdist the folder itself."""
    if not is_checkout():
        return [str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if path.is_file()]
    names = run("git", "ls-files", "-z").split("\0")
    return [name for name in names if name and (ROOT / name).is_file()]


@pytest.fixture(scope="session")
def source_copy(tracked, tmp_path_factory):
    """The tracked files alone, so that building leaves nothing in the tree."""
    folder = tmp_path_factory.mktemp("source")
    for name in tracked:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    return folder


def test_sdist_holds_every_source(tracked, source_copy, tmp_path):
    run(
        *(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", str(tmp_path)),
        cwd=source_copy,
    )
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {
        name for name in tracked if name.startswith(("csrc/", "convt3d_ext/", "tests/", "tools/"))
    }
    wanted |= {"setup.py", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "MANIFEST.in"}
    assert wanted - held == set()
    assert not [name for name in held if name.endswith((".so", ".o", ".pyc"))]


def test_wheel_holds_the_package_alone(tracked, source_copy, tmp_path):
    # build_py collects everything that goes into a wheel beside the compiled module.
    run(sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(tmp_path), cwd=source_copy)
    held = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert held == {name for name in tracked if name.startswith("convt3d_ext/")}
    assert {"convt3d_ext/py.typed", "convt3d_ext/_C.pyi"} <= held


def test_version_is_written_once(tracked):
    version = re.fullmatch(
        r'(?:# .*\n|""".*"""\n|\n)*__version__ = "(\d+\.\d+\.\d+\S*)"\n', VERSION_FILE.read_text()
    )
    assert version, "_version.py is read without importing it: one plain assignment"
    assert convt3d_ext.__version__ == version[1]
    assert importlib.metadata.version("convt3d_ext") == version[1]
    elsewhere = [
        name
        for name in tracked
        if name.endswith((".py", ".toml", ".cpp", ".h", ".pyi"))
        and not name.startswith("tests/")
        and name != "convt3d_ext/_version.py"
        and re.search(r"__version__\s*(: str)?=\s*[\"']", (ROOT / name).read_text())
    ]
    assert elsewhere == []


def test_release_wants_its_version_everywhere(source_copy, tmp_path):
    tree = shutil.copytree(source_copy, tmp_path / "tree")

    def says(tag):
        result = subprocess.run(
            ("tools/check_release.sh", tag), cwd=tree, capture_output=True, text=True, check=False
        )
        return (result.returncode, result.stderr)

    version = convt3d_ext.__version__
    assert says("v99.0.0") == (1, f"the tag is v99.0.0, but the version is {version}\n")
    changelog = tree / "CHANGELOG.md"
    changelog.write_text("# Changelog\n\n## [Unreleased]\n")
    assert says(f"v{version}") == (1, f"CHANGELOG.md has no dated entry for {version}\n")
    changelog.write_text(f"# Changelog\n\n## [{version}] - 2026-12-01\n")
    assert says(f"v{version}") == (0, "")
    (tree / "CITATION.cff").write_text("version: 0.0.1\n")
    assert says(f"v{version}") == (1, f"CITATION.cff does not name {version}\n")


@pytest.mark.skipif(not is_checkout(), reason="the rule is about tracked files: needs a checkout")
def test_layers_and_sizes():
    run(sys.executable, "tools/check_includes.py")


def test_layering_rule_can_fail():
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        from check_includes import include_breach
    finally:
        sys.path.remove(str(ROOT / "tools"))
    refused = [
        ("plan/planner.cpp", "torch/csrc/stable/tensor.h"),
        ("binding/ops.cpp", "ATen/ATen.h"),
        ("geometry/problem.h", "plan/family.h"),
        ("geometry/problem.h", "Python.h"),
        ("plan/description.cpp", "cuda/direct/direct.h"),
        ("plan/family.h", "cuda_runtime.h"),
        ("cpu/depthwise.cpp", "cuda/direct/direct.h"),
        ("cuda/direct/launch.cuh", "cuda/wgrad/wgrad.h"),
        ("cuda/direct/launch.cuh", "binding/tensor.h"),
        ("cuda/direct/kernel.cuh", "cudnn.h"),
    ]
    allowed = [
        ("binding/ops.cpp", "torch/csrc/stable/tensor.h"),
        ("binding/ops.cpp", "plan/family.h"),
        ("plan/planner.cpp", "cuda/direct/direct.h"),
        ("cuda/direct/direct.h", "plan/family.h"),
        ("cuda/direct/kernel.cuh", "cuda/sm90/wgmma.cuh"),
        ("cuda/direct/kernel.cuh", "cuda_runtime.h"),
        ("cpu/depthwise.cpp", "geometry/residue.h"),
        ("geometry/problem.cpp", "vector"),
    ]
    assert [pair for pair in refused if include_breach(*pair) is None] == []
    assert [pair for pair in allowed if include_breach(*pair) is not None] == []


def build_error(source_copy, stub=None, **environment):
    """What a build that cannot work says. `stub`: a torch that says it is of this version."""
    command = [sys.executable, "setup.py", "build_ext"]
    if stub is not None:
        fake = source_copy / f"torch-{stub}" / "torch"
        (fake / "utils").mkdir(parents=True, exist_ok=True)
        init = f"__version__ = {stub!r}\n" if stub else "raise ImportError('torch is not here')\n"
        (fake / "__init__.py").write_text(init)
        (fake / "utils" / "__init__.py").touch()
        (fake / "utils" / "cpp_extension.py").write_text("BuildExtension = CppExtension = object\n")
        environment["PYTHONPATH"] = str(fake.parent)
    result = subprocess.run(
        command,
        cwd=source_copy,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    return result.stderr


@pytest.fixture
def old_nvcc(tmp_path):
    (tmp_path / "bin").mkdir()
    nvcc = tmp_path / "bin" / "nvcc"
    nvcc.write_text("#!/bin/sh\necho Cuda compilation tools, release 12.4, V12.4.99\n")
    nvcc.chmod(0o755)
    return tmp_path


def test_build_without_what_it_needs(source_copy, old_nvcc):
    def says(pattern, **arguments):
        assert re.search(pattern, build_error(source_copy, **arguments))

    says("needs torch >= 2.10 to build .torch is not here", stub="", CONVT3D_CUDA="0")
    says("needs torch >= 2.10 to build, found 2.9.1", stub="2.9.1", CONVT3D_CUDA="0")
    says("needs a C..20 compiler: there is no no-such-c", CXX="no-such-c++", CONVT3D_CUDA="0")
    nvcc = {"CONVT3D_CUDA": "1", "CUDA_HOME": str(old_nvcc)}
    says("needs nvcc 12.8 or later, found 12.4; set CONVT3D_CUDA=0", **nvcc)
    says("CONVT3D_CUDA must be auto, 0 or 1, got 'yes'", CONVT3D_CUDA="yes")
    # No nvcc on PATH nor where it is usually found.
    if not Path("/usr/local/cuda/bin/nvcc").exists():
        nowhere = {"PATH": str(Path(sys.executable).parent), "CUDA_HOME": "", "CUDA_PATH": ""}
        says("CONVT3D_CUDA=1, but there is no nvcc", CONVT3D_CUDA="1", **nowhere)


def test_readme():
    text = (ROOT / "README.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(example, {})
    for command in ("./tools/test.sh", "./tools/verify.sh"):
        assert re.search(rf"^{re.escape(command)}\b", text, re.MULTILINE)
        assert os.access(ROOT / command, os.X_OK)
    assert "./tools/test.sh" in (ROOT / ".ci" / "run").read_text()


def test_no_machine_paths(tracked):
    path = re.compile(r"(?<![\w.$}])/(?:work|home|root|Users)/[A-Za-z.]")
    found = [
        f"{name}:{number}: {line.strip()}"
        for name in tracked
        if not name.endswith((".png", ".svg"))
        for number, line in enumerate((ROOT / name).read_text(errors="replace").splitlines(), 1)
        if path.search(line) and name != "tests/test_packaging.py"
    ]
    assert found == []
