#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Everything that needs a GPU, from a wheel: tests, verify, bench. Nothing is built or downloaded;
# torch, pytest, hypothesis, rich, matplotlib and monai have to be there.
#
#   tools/gpu_run.sh [--parts tests,large,verify,bench] [--commit SHA] WHEEL OUTPUT_FOLDER
#
# Parts run in this order, each under its own time limit, and a failure does not stop the rest.
# OUTPUT_FOLDER gets a log per part, verify.json, bench.json, bench.png, torch_times.json and
# status.txt, which has one line per part; the exit status is the number of parts that failed.
#
# Limits in seconds: TESTS_LIMIT, LARGE_LIMIT, VERIFY_LIMIT, BENCH_LIMIT. BENCH_SUITE (kernelbench)
# and VERIFY_SUITE (all) name the suites; BENCH_ARGS and VERIFY_ARGS add options. PYTHON names the
# interpreter.
set -u -o pipefail

parts=tests,verify,bench
commit=
while [[ ${1:-} == --* ]]; do
  case $1 in
    --parts) parts=$2 ;;
    --commit) commit=$2 ;;
    *)
      echo "unknown option $1" >&2
      exit 64
      ;;
  esac
  shift 2
done
if [[ $# -ne 2 ]]; then
  sed -n '3,16p' "$0" | cut -c3- >&2
  exit 64
fi

python=${PYTHON:-python3}
wheel=$(realpath "$1")
mkdir -p "$2"
out=$(realpath "$2")
source=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$python" -m pip install --quiet --no-index --no-deps --no-compile --target "$work/site" \
  "$wheel" >"$out/install.log" 2>&1 || {
  cat "$out/install.log"
  exit 70
}
export PYTHONPATH="$work/site${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 CONVT3D_REQUIRE_GPU=1

# The tests beside a copy of their settings, and no package source that could be imported instead.
mkdir "$work/run"
cp -r "$source/tests" "$source/pyproject.toml" "$work/run/"
cd "$work/run" || exit 70
if ! "$python" -c 'import pytest_timeout' 2>/dev/null; then
  sed -i '/^timeout = /d' pyproject.toml # --strict-config refuses the setting without the plugin
fi
"$python" -c 'import convt3d_ext, sys; sys.exit("/site/" not in convt3d_ext.__file__)' || {
  echo "convt3d_ext does not come from the wheel" >&2
  exit 70
}
# All but the modules whose C++ is compiled for tests: they need pybind11 and the sources.
mapfile -t modules < <(grep -L '^from native' tests/test_*.py)

failed=0
: >"$out/status.txt"
# part NAME LIMIT COMMAND...
part() {
  local name=$1 limit=$2 started=$SECONDS status=0 verdict
  shift 2
  case ",$parts,info," in *",$name,"*) ;; *) return ;; esac
  echo "== $name: $*"
  timeout --kill-after=20 "$limit" "$@" 2>&1 | tee "$out/$name.log" | tail -n 60
  status=${PIPESTATUS[0]}
  case $status in
    0) verdict=passed ;;
    124 | 137) verdict="FAILED: over its limit of $limit s" ;;
    *) verdict="FAILED: exit status $status" ;;
  esac
  [[ $status -eq 0 ]] || failed=$((failed + 1))
  echo "$name: $verdict, $((SECONDS - started)) s" | tee -a "$out/status.txt"
}

part info 60 "$python" -m convt3d_ext info
part tests "${TESTS_LIMIT:-420}" \
  "$python" -m pytest -q -p no:cacheprovider --maxfail=200 --tb=short -m 'gpu and not slow' \
  --durations=10 "${modules[@]}"
part large "${LARGE_LIMIT:-420}" \
  "$python" -m pytest -q -p no:cacheprovider --maxfail=10 --tb=short -m 'gpu and slow' \
  --durations=10 "${modules[@]}"
read -r -a verify_args <<<"${VERIFY_ARGS:-}"
part verify "${VERIFY_LIMIT:-480}" \
  "$python" -m convt3d_ext verify --suite "${VERIFY_SUITE:-all}" --device cuda \
  --json "$out/verify.json" "${verify_args[@]}"
read -r -a bench_args <<<"${BENCH_ARGS:-}"
bench_limit=${BENCH_LIMIT:-480}
part bench "$bench_limit" \
  "$python" -m convt3d_ext bench --suite "${BENCH_SUITE:-kernelbench}" --device cuda \
  --json "$out/bench.json" --plot "$out/bench.png" --torch-cache "$out/torch_times.json" \
  --time-limit $((bench_limit * 3 / 4)) ${commit:+--commit "$commit"} "${bench_args[@]}"

echo
cat "$out/status.txt"
exit "$failed"
