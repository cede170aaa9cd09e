#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# What WHEEL asks of CPython and of torch: the limited API alone, and the stable ABI of torch 2.10.
# usage: tools/audit_wheel.sh WHEEL        wants abi3audit and torch-abi-audit on PATH
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
abi3audit --strict --summary "$1"
python -m zipfile -e "$1" "$work"
torch-abi-audit --check both "$work/convt3d_ext" | tee "$work/abi"
grep -q 'Min torch: *2\.10' "$work/abi"
