#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Builds the wheel that users get and passes it through every gate, without a GPU or a container:
# kernels without spills, contents, symbols, size, manylinux tag, CPython's limited API, torch's
# stable ABI; then the tests, on the installed wheel, with no source tree in sight. Leaves the
# source distribution and the repaired wheel in DIST.
# usage: tools/build_wheel.sh DIST        wants tools/install.sh dev,gates
#   CONVT3D_CUDA_ARCHS  default: every release architecture
#   CUDA_HOME           the toolkit; without any nvcc tools/install_cuda.sh brings one
#   WHEEL_TESTS         arguments of pytest (default: all that need no sources)
#   TORCH_SPEC, PYTHON, CONVT3D_VENV: see tools/install.sh
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
bin=$(cd "${CONVT3D_VENV:-.venv}/bin" && pwd)
dist=$(mkdir -p "$1" && cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
step() { printf '\n== %s (%d s)\n' "$1" "$SECONDS"; }

step "build"
if [ -z "${CUDA_HOME:-}" ] && ! command -v nvcc >/dev/null; then
  CUDA_HOME=$(PYTHON=$bin/python tools/install_cuda.sh "$work/cuda")
  export CUDA_HOME
fi
# The wheel is built from the source distribution, so that one is proved complete as well.
CONVT3D_CUDA=1 CONVT3D_WERROR=1 "$bin/python" -m build --no-isolation --outdir "$work/built" 2>&1 |
  tee "$work/log" | grep -vE 'ptxas info|bytes stack frame'
built=$(find "$work/built" -name '*.whl')
"$bin/python" tools/check_ptxas.py "$work/log"

step "audits"
"$bin/python" tools/check_wheel.py "$built"
PATH=$bin:$PATH "$bin/auditwheel" repair --wheel-dir "$work/repaired" \
  --exclude libtorch.so --exclude libtorch_cpu.so "$built"
wheel=$(find "$work/repaired" -name '*.whl')
PATH=$bin:$PATH tools/audit_wheel.sh "$wheel"

step "install"
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet "${TORCH_SPEC:-torch>=2.10}" "${wheel}[cli,test]"

step "tests of the installed wheel"
cp -r tests pyproject.toml tools/smoke_test.py "$work"
cd "$work"
venv/bin/python smoke_test.py --built-with-cuda
venv/bin/python -m convt3d_ext info
if [ -n "${WHEEL_TESTS:-}" ]; then
  read -r -a modules <<<"$WHEEL_TESTS"
else # all but those whose C++ is compiled for tests, and packaging
  mapfile -t modules < <(grep -L '^from native' tests/test_*.py | grep -v test_packaging)
fi
venv/bin/python -m pytest -q -n auto --maxprocesses 4 "${modules[@]}"
cd "$root"

step "done"
cp "$work"/built/*.tar.gz "$wheel" "$dist"
(cd "$dist" && sha256sum -- *.whl *.tar.gz)
