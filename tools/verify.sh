#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Sets everything up (tools/install.sh) and checks the library against torch on this machine: on its
# GPU where there is one, else on its CPU. Arguments go to `python -m convt3d_ext verify`.
set -euo pipefail
cd "$(dirname "$0")/.."
tools/install.sh cli
# Threads that wait by spinning take the cores from those that work: three times longer on two.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-PASSIVE}
exec "${CONVT3D_VENV:-.venv}/bin/python" -m convt3d_ext verify "$@"
