#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Sets everything up (tools/install.sh) and runs the tests. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
tools/install.sh test
exec "${CONVT3D_VENV:-.venv}/bin/python" -m pytest "$@"
