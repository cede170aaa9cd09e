#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Every CUDA family on the smoke tier of the edge cases, under compute-sanitizer: memory errors and
# data races in shared memory. Wants the package, a GPU and compute-sanitizer (a part of CUDA).
# usage: tools/sanitize.sh [memcheck|racecheck|initcheck|synccheck]...    default: the first two
#   PYTHON    the interpreter        MATCH    only cases whose text contains it
set -uo pipefail
script=$(mktemp --suffix=.py)
trap 'rm -f "$script"' EXIT
cat >"$script" <<'PYTHON'
import os

import torch

from convt3d_ext import _C
from convt3d_ext.testing.cases import edges
from convt3d_ext.testing.operands import call, integers, operand_layouts, plan_device

device, calls = torch.device("cuda"), 0
precisions, layouts = ("fp32", "tf32", "bf16", "fp16", "fp64"), ("ncdhw", "ndhwc")
for layer in edges("smoke"):
    for case in layer.variants(precisions, layouts):
        if os.environ.get("MATCH", "") not in str(case):
            continue
        arranged = integers(case, True, device, 0).to(case.precision, operand_layouts(case))
        for family, accepts, *_ in _C.plan(str(case), *plan_device(device))["candidates"]:
            if accepts:
                call(case, arranged, family)
                calls += 1
torch.cuda.synchronize()
print(f"{calls} calls")
PYTHON
[ $# -gt 0 ] || set -- memcheck racecheck
failed=0
for tool in "$@"; do
  echo "== $tool"
  # Our kernels alone: torch's only make the operands.
  compute-sanitizer --tool "$tool" --error-exitcode 3 --kernel-name kernel_substring=convt3d \
    "${PYTHON:-python3}" "$script" || failed=$((failed + 1))
done
exit "$failed"
