#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Puts the compiler and the headers of CUDA into FOLDER from Python packages, for machines without
# a toolkit (build containers): needs neither root nor a repository of the vendor. Prints CUDA_HOME.
# usage: export CUDA_HOME=$(tools/install_cuda.sh FOLDER)
#   PYTHON  whose pip (default python3)
set -euo pipefail
version=13.0
folder=$(mkdir -p "$1" && cd "$1" && pwd)
home=$folder/nvidia/cu${version%%.*}
if [ ! -x "$home/bin/nvcc" ]; then
  packages=(nvidia-cuda-nvcc nvidia-cuda-runtime nvidia-cuda-cccl nvidia-cuda-crt nvidia-nvvm)
  "${PYTHON:-python3}" -m pip install --quiet --no-deps --target "$folder" \
    "${packages[@]/%/==$version.*}" >&2
  chmod +x "$home"/bin/* "$home"/nvvm/bin/*
  # Where torch's build looks for the static runtime.
  ln -sfn lib "$home/lib64"
fi
echo "$home"
