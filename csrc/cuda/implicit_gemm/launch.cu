// SPDX-License-Identifier: BSD-3-Clause
#include <stdexcept>

#include "cuda/implicit_gemm/call.h"
#include "cuda/implicit_gemm/implicit_gemm.h"

namespace convt3d::cuda::implicit_gemm {

void launch(const Description& description, const Device& device, const Operands& operands,
            void* workspace, void* stream) {
  const Config config = choose(description, device);
  const Call call{description, device,    operands,
                  config,      workspace, static_cast<cudaStream_t>(stream)};
  switch (description.precision) {
    case Precision::fp16:
      return run<Precision::fp16>(call);
    case Precision::bf16:
      return run<Precision::bf16>(call);
    case Precision::tf32:
      return run<Precision::tf32>(call);
    case Precision::fp32:
      return run<Precision::fp32>(call);
    case Precision::fp64:
      break;
  }
  throw std::logic_error("implicit_gemm has no float64");
}

}  // namespace convt3d::cuda::implicit_gemm
