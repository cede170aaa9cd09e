// SPDX-License-Identifier: BSD-3-Clause
// A call in numbers, and its launch, for grad_input of pointwise layers with a stride.
#include "cuda/shuffle_gemm/skip_launch.h"

#include <algorithm>

#include "cuda/common/cuda_check.h"
#include "cuda/common/dynamic_shared.h"
#include "cuda/shuffle_gemm/skip_kernel.cuh"
#include "geometry/numbers.h"

namespace convt3d::cuda::shuffle_gemm {
namespace {

template <Precision kPrecision>
void run_skips(const SkipParams& params, int shared_bytes, int sms, cudaStream_t stream) {
  const auto kernel = skip_kernel<kPrecision>;
  allow_shared_memory(kernel, "shuffle_gemm skip attribute");
  int blocks = 1;
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, kSkipThreads,
                                                      static_cast<size_t>(shared_bytes)),
        "shuffle_gemm skip occupancy");
  const int grid = std::min(params.tiles, std::max(1, blocks) * sms);
  kernel<<<grid, kSkipThreads, shared_bytes, stream>>>(params);
  check(cudaGetLastError(), "shuffle_gemm skip kernel");
}

}  // namespace

void launch_skips(const Description& description, const Device& device, const Operands& operands,
                  cudaStream_t stream) {
  const Problem& p = description.problem;
  const int64_t element = element_bytes(description.precision), positions = volume(p.input);
  SkipParams params{};
  params.source = operands.output.data;
  params.weight = operands.weight.data;
  params.result = operands.input.data;
  params.source_batch = operands.output.stride[0];
  params.source_channel = operands.output.stride[1];
  for (int axis = 0; axis < 3; ++axis) {
    params.source_position[axis] = as_int(operands.output.stride[2 + axis] * p.stride[axis]);
  }
  params.weight_in = operands.weight.stride[0];
  params.weight_out = operands.weight.stride[1];
  params.in_channels = as_int(p.in_channels);
  params.out_channels = as_int(p.out_channels);
  params.volume = as_int(positions);
  params.chunks = as_int(ceil_div(p.out_channels, int64_t{kSkipDepth}));
  const int64_t image_tiles = ceil_div(positions, int64_t{kSkipPositions});
  params.image_tiles = Divider(image_tiles);
  params.plane = Divider(p.input[1] * p.input[2]);
  params.line = Divider(p.input[2]);
  params.tiles = as_int(p.batch * image_tiles);
  const int64_t piece = element == 2 ? 16 : 8;
  params.whole = reinterpret_cast<uintptr_t>(params.result) % static_cast<uintptr_t>(piece) == 0 &&
                 positions * element % piece == 0;
  const int shared = as_int(skip_shared_bytes(p.in_channels, p.out_channels, element));
  with_precision<Precision::tf32, Precision::fp16, Precision::bf16>(
      description.precision, [&]<Precision kPrecision>() {
        run_skips<kPrecision>(params, shared, device.num_sms, stream);
      });
}

}  // namespace convt3d::cuda::shuffle_gemm
