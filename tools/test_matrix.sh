#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# One wheel file against every torch since 2.10 that pip offers, each with a Python that is here.
# Prints a table in Markdown; the exit status is the number of combinations that failed.
# usage: tools/test_matrix.sh WHEEL [TORCH...]     e.g. tools/test_matrix.sh W.whl 2.10.0 2.13.0+cpu
#   PYTHONS  interpreters to take in turn (default: python3.10 to 3.15, those that are there)
#   TESTS    arguments of pytest (default: results, derivatives, transforms, registration, modules)
set -uo pipefail
wheel=$(realpath "$1")
shift
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r "$root/tests" "$root/pyproject.toml" "$root/tools/smoke_test.py" "$work"
cd "$work" || exit 70

if [ -z "${PYTHONS:-}" ]; then
  PYTHONS=""
  for minor in 10 11 12 13 14 15; do
    "python3.$minor" -m venv --help >/dev/null 2>&1 && PYTHONS+=" python3.$minor"
  done
fi
read -r -a pythons <<<"$PYTHONS"
suites=(exact autograd func registration module)
suites=("${suites[@]/#/tests/test_}")
tests=${TESTS:-${suites[*]/%/.py}}
if [ $# -eq 0 ]; then
  mapfile -t versions < <("${pythons[0]}" -m pip index versions torch 2>/dev/null |
    sed -n 's/^Available versions: //p' | tr -d ' ' | tr ',' '\n' |
    awk -F. '$1 > 2 || $2 >= 10' | sort -V)
  set -- "${versions[@]}"
fi

failed=0
rows="| torch | CUDA in torch | Python | GPU | smoke test | tests |\n|---|---|---|---|---|---|\n"
turn=0
for torch in "$@"; do
  python=${pythons[turn % ${#pythons[@]}]}
  turn=$((turn + 1))
  echo "== torch $torch, $python" >&2
  rm -rf venv
  facts="? | ?" smoke=failed result="not run"
  if "$python" -m venv venv && venv/bin/python -m pip install --quiet "torch==$torch" >&2 &&
    venv/bin/python -m pip install --quiet "${wheel}[cli]" pytest pytest-timeout hypothesis \
      expecttest numpy setuptools >&2; then
    facts=$(venv/bin/python -c 'import platform, torch
gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
print(torch.version.cuda or "none", platform.python_version(), gpu, sep=" | ")')
    if venv/bin/python smoke_test.py --built-with-cuda >&2; then
      smoke=passed
      # shellcheck disable=SC2086 # arguments, one word each
      result=$(venv/bin/python -m pytest -q $tests 2>&1 | tee -a /dev/stderr | tail -n 1) ||
        failed=$((failed + 1))
    else
      failed=$((failed + 1))
    fi
  else
    failed=$((failed + 1))
  fi
  rows+="| $torch | $facts | $smoke | $result |\n"
done
printf '%b' "$rows"
exit "$failed"
