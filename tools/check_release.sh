#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# What must hold before a tag is released: it names the version, and the changelog has an entry.
# usage: tools/check_release.sh v1.2.3
set -euo pipefail
cd "$(dirname "$0")/.."
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' convt3d_ext/_version.py)
if [ "$1" != "v$version" ]; then
  echo "the tag is $1, but the version is $version" >&2
  exit 1
fi
grep -q "^## \[$version\] - 20" CHANGELOG.md || {
  echo "CHANGELOG.md has no dated entry for $version" >&2
  exit 1
}
grep -q "^version: $version$" CITATION.cff || {
  echo "CITATION.cff does not name $version" >&2
  exit 1
}
