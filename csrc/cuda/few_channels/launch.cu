// SPDX-License-Identifier: BSD-3-Clause
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <stdexcept>

#include "cuda/few_channels/call.h"
#include "cuda/few_channels/few_channels.h"

namespace convt3d::cuda::few_channels {
namespace {

template <typename T>
void run_mapping(const Call& call) {
  switch (call.config.mapping) {
    case Mapping::planes:
      return run<T, Mapping::planes>(call);
    case Mapping::channels:
      return run<T, Mapping::channels>(call);
    case Mapping::depthwise:
      return run<T, Mapping::depthwise>(call);
    case Mapping::reduction:
      return run<T, Mapping::reduction>(call);
    case Mapping::scatter:
      return run<T, Mapping::scatter>(call);
  }
}

}  // namespace

void launch(const Description& description, const Device& device, const Operands& operands, void*,
            void* stream) {
  const Config config = choose(description);
  const Call call{description, device, operands, config, static_cast<cudaStream_t>(stream)};
  switch (description.precision) {
    case Precision::fp32:
    case Precision::tf32:
      return run_mapping<float>(call);
    case Precision::fp16:
      return run_mapping<__half>(call);
    case Precision::bf16:
      return run_mapping<__nv_bfloat16>(call);
    case Precision::fp64:
      throw std::logic_error("few_channels has no kernel for fp64");
  }
}

}  // namespace convt3d::cuda::few_channels
