// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/shuffle_gemm/resident_launch.cuh"

namespace convt3d::cuda::shuffle_gemm {
template void run_resident<Precision::tf32>(const ResidentParams&, const ResidentConfig&,
                                            cudaStream_t);
}  // namespace convt3d::cuda::shuffle_gemm
