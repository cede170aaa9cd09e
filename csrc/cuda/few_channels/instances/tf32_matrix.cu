// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/few_channels/matrix_launch.cuh"

namespace convt3d::cuda::few_channels {
template void run_matrix<Precision::tf32>(const MatrixCall&);
}  // namespace convt3d::cuda::few_channels
