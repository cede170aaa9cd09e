#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Makes a virtual environment with torch and this package, built in place.
# usage: tools/install.sh EXTRAS       e.g. tools/install.sh test,dev
#   CONVT3D_VENV  where (default .venv)     TORCH_SPEC  which torch (default torch>=2.10)
#   PYTHON        which Python (default python3)
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${CONVT3D_VENV:-.venv}
[ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"
# The build runs against the environment's own torch: an isolated build would install a second one.
"$venv/bin/python" -m pip install --quiet "${TORCH_SPEC:-torch>=2.10}" "setuptools>=77" ninja
"$venv/bin/python" -m pip install --quiet --no-build-isolation --editable ".[$1]"
