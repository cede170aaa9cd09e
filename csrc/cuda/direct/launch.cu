// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/common/element.cuh"
#include "cuda/direct/call.h"
#include "cuda/direct/direct.h"

namespace convt3d::cuda::direct {

void launch(const Description& description, const Device& device, const Operands& operands,
            void* workspace, void* stream) {
  const Config config = choose(description, device);
  const Call call{description, device,    operands,
                  config,      workspace, static_cast<cudaStream_t>(stream)};
  with_precision<Precision::fp64, Precision::fp32, Precision::tf32, Precision::fp16,
                 Precision::bf16>(
      description.precision, [&]<Precision kPrecision>() { run<ElementOf<kPrecision>>(call); });
}

}  // namespace convt3d::cuda::direct
