// SPDX-License-Identifier: BSD-3-Clause
// A call in numbers, and its launches.
#include "cuda/line_weight/pick_launch.h"

#include <algorithm>

#include "cuda/common/cuda_check.h"
#include "cuda/common/dynamic_shared.h"
#include "cuda/line_weight/pick_kernel.cuh"
#include "cuda/sm90/tensor_map.h"
#include "geometry/numbers.h"

namespace convt3d::cuda::line_weight {
namespace {

template <Precision kPrecision, int kLoads, int kTaps>
void run_lines(const PickParams& p, cudaStream_t stream) {
  const auto kernel = pick_kernel<kPrecision, kLoads, kTaps>;
  allow_shared_memory(kernel, "line_weight pick attribute");
  const unsigned jobs = p.jobs.value;
  kernel<<<jobs* static_cast<unsigned>(p.splits), kPickThreads, kPickShared, stream>>>(p);
  check(cudaGetLastError(), "line_weight pick_kernel");
  constexpr unsigned kItems = pick_lines(kLoads) * kTaps / 16 * (kPickChannels / 8);
  sm90::launch_overlapping("line_weight pick_reduce_kernel",
                           pick_reduce_kernel<ElementOf<kPrecision>, kLoads, kTaps>,
                           {dim3(jobs * kItems), dim3(32 * kPickReduceWarps), 0, stream}, p);
}

}  // namespace

bool launch_picks(const Description& description, const PickConfig& config,
                  const Operands& operands, void* workspace, cudaStream_t stream) {
  const int64_t element = element_bytes(description.precision);
  const auto starts_on = [](const void* data, int64_t bytes) {
    return reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(bytes) == 0;
  };
  if (!starts_on(operands.input.data, 16) ||
      !starts_on(operands.output.data, config.taps * element)) {
    return false;
  }
  const Problem& p = description.problem;
  const int64_t positions = volume(p.input), image = p.in_channels * positions;
  PickParams params{};
  params.input = sm90::encode({operands.input.data,
                               description.precision,
                               {positions, p.in_channels, p.batch, 1, 1},
                               {1, positions, image, image, image},
                               {as_int(kPickRow / element), kPickChannels, 1, 1, 1}});
  params.output = operands.output.data;
  params.weight = operands.weight.data;
  params.partial = static_cast<float*>(workspace);
  params.output_batch = operands.output.stride[0];
  params.output_channel = operands.output.stride[1];
  for (int axis = 0; axis < 3; ++axis) {
    params.output_position[axis] = as_int(operands.output.stride[2 + axis] * p.stride[axis]);
    if (axis == 2) continue;
    params.output_tap[axis] = as_int(operands.output.stride[2 + axis] * p.dilation[axis]);
  }
  std::copy_n(operands.weight.stride.begin(), 5, params.weight_stride);
  params.in_channels = as_int(p.in_channels);
  params.lines = as_int(config.lines);
  params.volume = as_int(positions);
  params.image_tiles = make_divisor(config.image_tiles);
  params.plane = make_divisor(p.input[1] * p.input[2]);
  params.line = make_divisor(p.input[2]);
  params.line_tiles = make_divisor(config.line_tiles);
  params.jobs = make_divisor(config.jobs);
  params.kernel_d = make_divisor(p.kernel[0]);
  params.kernel_h = make_divisor(p.kernel[1]);
  params.tiles = as_int(config.tiles);
  params.splits = as_int(config.splits);
  with_precision<Precision::tf32, Precision::fp16, Precision::bf16>(
      description.precision, [&]<Precision kPrecision>() {
        const auto run = config.taps == 2     ? run_lines<kPrecision, 8, 2>
                         : config.loads == 16 ? run_lines<kPrecision, 16, 1>
                                              : run_lines<kPrecision, 8, 1>;
        run(params, stream);
      });
  return true;
}

}  // namespace convt3d::cuda::line_weight
