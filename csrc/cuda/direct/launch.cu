// SPDX-License-Identifier: BSD-3-Clause
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "cuda/direct/call.h"
#include "cuda/direct/direct.h"

namespace convt3d::cuda::direct {

void launch(const Description& description, const Device& device, const Operands& operands,
            void* workspace, void* stream) {
  const Config config = choose(description, device);
  const Call call{description, operands, config, workspace, static_cast<cudaStream_t>(stream)};
  switch (description.precision) {
    case Precision::fp64:
      return run<double>(call);
    case Precision::fp32:
    case Precision::tf32:
      return run<float>(call);
    case Precision::fp16:
      return run<__half>(call);
    case Precision::bf16:
      return run<__nv_bfloat16>(call);
  }
}

}  // namespace convt3d::cuda::direct
