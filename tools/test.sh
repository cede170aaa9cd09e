#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Sets everything up (tools/install.sh) and runs the tests, one process per core up to four.
# Arguments go to pytest; -n 0 keeps everything in one process, as a debugger wants it.
set -euo pipefail
cd "$(dirname "$0")/.."
tools/install.sh test
exec "${CONVT3D_VENV:-.venv}/bin/python" -m pytest -n auto --maxprocesses 4 "$@"
