#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Compiles every CUDA kernel into a wheel (no GPU needed), checks it, and uses it from a fresh
# environment with a CPU build of torch. Wants tools/install.sh dev. The wheel is left in DIST.
# usage: tools/build_cuda.sh DIST         CONVT3D_CUDA_ARCHS (default here: 9.0a)
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
python=${CONVT3D_VENV:-.venv}/bin/python
dist=$(mkdir -p "$1" && cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

touch "$work/start"
export CONVT3D_CUDA=1 CONVT3D_CUDA_ARCHS=${CONVT3D_CUDA_ARCHS:-9.0a}
# The wheel is built from the source distribution, so that one is proved complete as well.
"$python" -m build --no-isolation --outdir "$dist" 2>&1 |
  tee "$work/log" | grep -vE 'ptxas info|bytes stack frame'
"$python" tools/check_ptxas.py "$work/log"
wheel=$(find "$dist" -name '*.whl' -newer "$work/start")
"$python" tools/check_wheel.py "$wheel"

"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet "${TORCH_SPEC:-torch>=2.10}" "${wheel}[cli]"
cp tools/smoke_test.py "$work"
cd "$work"
venv/bin/python smoke_test.py --built-with-cuda
venv/bin/python -m convt3d_ext info
