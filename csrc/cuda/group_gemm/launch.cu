// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/common/element.cuh"
#include "cuda/group_gemm/call.h"
#include "cuda/group_gemm/group_gemm.h"

namespace convt3d::cuda::group_gemm {

void launch(const Description& description, const Device& device, const Operands& operands,
            void* workspace, void* stream) {
  const Config config = choose(description, device);
  const Call call{description, device,    operands,
                  config,      workspace, static_cast<cudaStream_t>(stream)};
  with_precision<Precision::fp16, Precision::bf16>(
      description.precision, [&]<Precision kPrecision>() { run<ElementOf<kPrecision>>(call); });
}

}  // namespace convt3d::cuda::group_gemm
