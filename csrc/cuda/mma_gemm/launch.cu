// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/mma_gemm/call.h"
#include "cuda/mma_gemm/config.h"
#include "cuda/mma_gemm/mma_gemm.h"

namespace convt3d::cuda::mma_gemm {

void launch(const Description& description, const Device& device, const Operands& operands,
            void* workspace, void* stream) {
  const Config config = choose(description, device);
  const implicit_gemm::Call call{description, device,    operands,
                                 config,      workspace, static_cast<cudaStream_t>(stream)};
  with_precision<Precision::fp16, Precision::bf16, Precision::tf32, Precision::fp32>(
      description.precision, [&]<Precision kPrecision>() { mma_gemm::run<kPrecision>(call); });
}

}  // namespace convt3d::cuda::mma_gemm
