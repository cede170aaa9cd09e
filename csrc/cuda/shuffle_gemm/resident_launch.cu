// SPDX-License-Identifier: BSD-3-Clause
// A call in numbers, for forward with resident weights.
#include "cuda/shuffle_gemm/resident_launch.h"

#include <algorithm>
#include <array>

#include "cuda/common/alignment.h"
#include "cuda/shuffle_gemm/dense_strides.h"
#include "cuda/shuffle_gemm/resident_params.h"
#include "cuda/sm90/row_pack.h"
#include "cuda/sm90/tensor_map.h"
#include "geometry/numbers.h"

namespace convt3d::cuda::shuffle_gemm {
namespace {

CUtensorMap source_map(const Description& description, const ResidentConfig& config,
                       const void* data) {
  const Problem& p = description.problem;
  const int element = as_int(element_bytes(description.precision));
  const int64_t channels =
      config.packs ? sm90::row_channels(p.in_channels, element) : p.in_channels;
  const int row = kResidentChunk / element;
  if (config.rows) {
    return sm90::encode({data,
                         description.precision,
                         {channels, config.image, 1, 1, 1},
                         {1, channels, channels, channels, channels},
                         {row, kResidentRows, 1, 1, 1}});
  }
  return sm90::encode({data,
                       description.precision,
                       {config.image, channels, p.batch, 1, 1},
                       {1, config.image, channels * config.image, config.image, config.image},
                       {row, row, 1, 1, 1}});
}

}  // namespace

bool launch_resident(const Description& original, const Device& device, const Operands& operands,
                     void* workspace, cudaStream_t stream) {
  const Description description = as_forward(original);
  const Problem& p = description.problem;
  const bool forward = original.direction == Direction::forward;
  TensorView input = forward ? operands.input : operands.output;
  void* const output = forward ? operands.output.data : operands.input.data;
  const ResidentConfig config = choose_resident(description, device);
  if ((!config.packs && !is_aligned(input.data)) || !is_aligned(output) ||
      (!config.fills && !is_aligned(operands.weight.data))) {
    return false;
  }
  const int64_t element = element_bytes(description.precision);
  const int64_t columns = p.out_channels * volume(p.kernel);
  const bool channels_last = description.output == Layout::ndhwc;
  // Only one output of each block has an input, where a layer is pointwise.
  for (int axis = 0; axis < 3 && !forward; ++axis) {
    input.stride[2 + axis] *= original.problem.stride[axis];
  }
  const auto result = dense_strides(p.out_channels, p.output(), channels_last);
  ResidentParams params{};
  if (config.packs) {
    sm90::pack_rows({input.data, input.stride, p.batch, p.in_channels, p.input, element, workspace},
                    stream);
  }
  params.source = source_map(description, config, config.packs ? workspace : input.data);
  params.packs = config.packs;
  params.fills = config.fills;
  params.weight_channel = columns;
  params.weight_column = 1;
  if (volume(p.kernel) == 1) {
    params.weight_channel = operands.weight.stride[forward ? 0 : 1];
    params.weight_column = operands.weight.stride[forward ? 1 : 0];
  }
  if (!config.fills) {
    params.weight = sm90::encode({operands.weight.data,
                                  description.precision,
                                  {columns, p.in_channels, 1, 1, 1},
                                  {1, columns, columns, columns, columns},
                                  {kResidentColumns, kResidentChunk / 2, 1, 1, 1}});
  }
  params.weight_data = operands.weight.data;
  params.bias = operands.bias;
  params.bias_stride = operands.bias_stride;
  params.result = output;
  params.depth = as_int(p.in_channels);
  params.columns = as_int(columns);
  params.image = as_int(config.image);
  params.image_tiles = Divider(config.tiles / config.images);
  params.tiles = as_int(config.tiles);
  params.slices = as_int(config.slices);
  params.walkers = as_int(config.walkers);
  params.strips = as_int(config.strips);
  params.groups = as_int(config.groups);
  params.width = as_int(config.width);
  params.chunks = as_int(config.chunks);
  params.slots = as_int(config.slots);
  params.warpgroups = as_int(config.warpgroups);
  params.access = as_int(config.access);
  params.row_pitch = as_int(config.row_pitch);
  params.group_pitch = as_int(config.group_pitch);
  params.staging_bytes = as_int(config.staging_bytes);
  params.group_accesses = Divider(kResidentRows * config.width * element / config.access);
  params.group_width = Divider(config.width);
  params.volume = Divider(volume(p.input));
  params.plane = Divider(p.input[1] * p.input[2]);
  params.line = Divider(p.input[2]);
  params.result_position[0] = result[0];
  for (int axis = 0; axis < 3; ++axis) {
    params.kernel[axis] = as_int(p.kernel[axis]);
    params.result_position[1 + axis] = p.kernel[axis] * result[2 + axis];
  }
  std::copy(result.begin(), result.end(), params.result_stride);
  params.taps_inner = !channels_last;
  params.out_channels = as_int(p.out_channels);
  with_precision<Precision::tf32, Precision::fp16, Precision::bf16>(
      description.precision,
      [&]<Precision kPrecision>() { run_resident<kPrecision>(params, config, stream); });
  return true;
}

}  // namespace convt3d::cuda::shuffle_gemm
