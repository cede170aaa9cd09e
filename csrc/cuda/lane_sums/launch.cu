// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/common/element.cuh"
#include "cuda/lane_sums/call.h"
#include "cuda/lane_sums/lane_sums.h"

namespace convt3d::cuda::lane_sums {

void launch(const Description& description, const Device& device, const Operands& operands,
            void* workspace, void* stream) {
  const Config config = choose(description, device);
  const Call call{description, device,    operands,
                  config,      workspace, static_cast<cudaStream_t>(stream)};
  with_precision<Precision::fp32, Precision::tf32, Precision::fp16, Precision::bf16>(
      description.precision, [&]<Precision kPrecision>() { run<ElementOf<kPrecision>>(call); });
}

}  // namespace convt3d::cuda::lane_sums
