#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Makes a virtual environment with torch and this package, built in place for this machine: for the
# GPUs that nvidia-smi lists if there is an nvcc, else for the CPU.
# usage: tools/install.sh EXTRAS       e.g. tools/install.sh test,dev
#   CONVT3D_VENV  where (default .venv)     TORCH_SPEC  which torch (default torch>=2.10)
#   PYTHON        which Python (default python3)
#   CONVT3D_CUDA, CONVT3D_CUDA_ARCHS, MAX_JOBS: see setup.py
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${CONVT3D_VENV:-.venv}
[ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"
if archs=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null); then
  # 9.0a has the instructions that 9.0 alone does not give.
  archs=$(sort -u <<<"$archs" | sed 's/^9\.0$/9.0a/' | paste -sd ';')
  export CONVT3D_CUDA_ARCHS=${CONVT3D_CUDA_ARCHS:-$archs}
else
  export CONVT3D_CUDA=${CONVT3D_CUDA:-0}
fi
# The build runs against the environment's own torch: an isolated build would install a second one.
"$venv/bin/python" -m pip install --quiet "${TORCH_SPEC:-torch>=2.10}" "setuptools>=77" ninja
"$venv/bin/python" -m pip install --quiet --no-build-isolation --editable ".[$1]"
