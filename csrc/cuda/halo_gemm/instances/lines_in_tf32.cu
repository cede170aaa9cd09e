// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/halo_gemm/lines_in_launch.cuh"
