#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Adds to DIST what goes beside the distributions of a release: a software bill of materials of the
# x86_64 wheel (CycloneDX) and the checksums of everything.
# usage: tools/sbom.sh DIST
set -euo pipefail
dist=$(cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv "$work/tool"
"$work/tool/bin/python" -m pip install --quiet cyclonedx-bom==7.5.0
"$python" -m venv --without-pip "$work/venv"
wheel=$(find "$dist" -name '*x86_64.whl')
# Its own contents alone: torch is the user's choice, and no code of it is in the wheel.
"$work/tool/bin/python" -m pip --python "$work/venv" install --quiet --no-deps "$wheel"
"$work/tool/bin/cyclonedx-py" environment --output-reproducible --of JSON \
  --output-file "$dist/convt3d_ext.cdx.json" "$work/venv"
(cd "$dist" && sha256sum -- *.whl *.tar.gz *.cdx.json >SHA256SUMS)
