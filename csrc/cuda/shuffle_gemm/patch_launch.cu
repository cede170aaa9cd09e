// SPDX-License-Identifier: BSD-3-Clause
// A call in numbers, for grad_input, and forward of 32 bits, by whole patches.
#include "cuda/shuffle_gemm/patch_launch.h"

#include <algorithm>
#include <array>

#include "cuda/common/alignment.h"
#include "cuda/common/cuda_check.h"
#include "cuda/shuffle_gemm/dense_strides.h"
#include "cuda/shuffle_gemm/patch_pack.cuh"
#include "cuda/shuffle_gemm/patch_params.h"
#include "cuda/sm90/tensor_map.h"
#include "geometry/ceil_div.h"
#include "geometry/numbers.h"

namespace convt3d::cuda::shuffle_gemm {
namespace {

// NDHWC: a map of each line of the patches; the rows of the weight are cut at the same lines.
void set_rows(const Description& description, const PatchConfig& config, const void* source,
              const std::array<int64_t, 5>& stride, PatchParams* params) {
  const Problem& p = description.problem;
  const int64_t element = element_bytes(description.precision);
  const auto [n, d, h, w] = config.box;
  params->maps = as_int(p.kernel[0] * p.kernel[1]);
  for (int64_t line = 0; line < params->maps; ++line) {
    const int64_t td = line / p.kernel[1], th = line % p.kernel[1];
    const char* const first =
        static_cast<const char*>(source) + (td * stride[2] + th * stride[3]) * element;
    params->gradient[line] = sm90::encode(
        {first,
         description.precision,
         {p.kernel[2] * p.out_channels, p.input[2], p.input[1], p.input[0], p.batch},
         {1, p.stride[2] * stride[4], p.stride[1] * stride[3], p.stride[0] * stride[2], stride[0]},
         {as_int(kPatchChunk / element), w, h, d, n}});
  }
}

// NCDHW: one map, and where its box has what.
void set_lines(const Description& description, const PatchConfig& config, const void* source,
               const std::array<int64_t, 5>& stride, PatchParams* params) {
  const Problem& p = description.problem;
  const int element = as_int(element_bytes(description.precision));
  const int kd = as_int(p.kernel[0]), kh = as_int(p.kernel[1]), kw = as_int(p.kernel[2]);
  const auto [n, d, h, w] = config.box;
  const Extent3 extent = p.output();
  const int channels = as_int(kPatchChunk / (volume(p.kernel) * element));
  sm90::TensorBox map{source,
                      description.precision,
                      {extent[2], extent[1], extent[0], p.out_channels, p.batch},
                      {1, stride[3], stride[2], stride[1], stride[0]},
                      {kw * w, kh * h, kd * d, channels, n}};
  map.swizzled = false;
  params->merged = config.merged;
  if (config.merged == 1) {
    map.extent = {extent[1] * extent[2], extent[0], p.out_channels, p.batch, 1};
    map.stride = {1, stride[2], stride[1], stride[0], stride[0]};
    map.box = {kh * h * kw * w, kd * d, channels, n, 1};
  } else if (config.merged == 2) {
    map.extent = {volume(extent), p.out_channels, p.batch, 1, 1};
    map.stride = {1, stride[1], stride[0], stride[0], stride[0]};
    map.box = {kd * d * kh * h * kw * w, channels, n, 1, 1};
  }
  if (config.two_lines) {
    map.extent = {2 * extent[2], p.input[1], extent[0], p.out_channels, p.batch};
    map.stride = {1, 2 * stride[3], stride[2], stride[1], stride[0]};
    map.box = {as_int(patch_line_bytes(kw * w * element)) / element, h, kd * d, channels, n};
  }
  params->maps = 1;
  params->gradient[0] = sm90::encode(map);
  int line = kw * w * element, plane = kh * h * line, channel = kd * d * plane;
  int line_step = kh * line, second = line;
  if (config.two_lines) {
    second = as_int(patch_line_box(int64_t{n} * channels * kd * d * h, line));
    line = as_int(patch_line_bytes(line));
    line_step = line;
    plane = h * line;
    channel = kd * d * plane;
    params->second_start = as_int(extent[2] * element / 16 * 16 / element);
    params->second_box = second;
    params->box_bytes = 2 * n * channels * channel;
    second += 8;  // which the second's box starts before it
  }
  const int position[4] = {channels * channel, kd * plane, line_step, kw * element};
  const int tap[3] = {channel, plane, second};
  std::copy(position, position + 4, params->stage_position);
  std::copy(tap, tap + 3, params->stage_tap);
  const int step[3] = {as_int(kd * (config.merged == 2 ? extent[1] * extent[2] : 1)),
                       as_int(kh * (config.merged == 1 ? extent[2] : 1)), kw};
  std::copy(step, step + 3, params->box_step);
  params->chunk_channels = channels;
  params->taps = Divider(volume(p.kernel));
  params->kernel_h = Divider(kh);
  params->kernel_w = Divider(kw);
  // Pairs of positions, of which the first is even.
  params->joins_pairs = p.input[2] % 2 == 0 && w % 2 == 0;
  params->joins_eights = config.joins_eights;
  params->joins_words = params->joins_pairs && kw * element == 4;
}

// What float32 needs to compute a sum again.
void set_exact(const Description& description, const void* source, const void* weight, bool forward,
               const std::array<int64_t, 5>& stride, bool lines, PatchParams* params) {
  const Problem& p = description.problem;
  params->gradient_data = source;
  params->weight_data = weight;
  params->weight_column = forward ? 1 : p.out_channels * volume(p.kernel);
  params->weight_depth = forward ? p.in_channels : 1;
  params->gradient_stride[0] = stride[0];
  for (int axis = 0; axis < 3; ++axis) {
    params->gradient_stride[1 + axis] = p.stride[axis] * stride[2 + axis];
    params->depth_stride[axis] = stride[1 + axis];
  }
  params->depth_steps[0] = lines ? as_int(p.out_channels) : 1;
  params->depth_steps[1] = as_int(p.kernel[0]);
  params->depth_steps[2] = as_int(p.kernel[1]);
  params->depth_run = as_int(lines ? p.kernel[2] : p.kernel[2] * p.out_channels);
}

// The rows of the weight.
CUtensorMap weight_map(const Description& description, const PatchConfig& config,
                       const void* weight, bool lines) {
  const Problem& p = description.problem;
  const int64_t element = element_bytes(description.precision);
  const int64_t all = p.out_channels * volume(p.kernel), parts = patch_parts(description.precision);
  const int64_t run = lines ? all : p.kernel[2] * p.out_channels;
  return sm90::encode({weight,
                       description.precision,
                       {run, all / run, p.in_channels, parts, 1},
                       {1, run, all, all * p.in_channels, all},
                       {as_int(kPatchChunk / element), 1, config.columns, as_int(parts), 1}});
}

void pack_weight(const Description& description, const TensorView& weight, void* packed,
                 cudaStream_t stream) {
  const Problem& p = description.problem;
  const auto fold = fold_of(description);
  const int64_t total = fold * fold * p.in_channels * p.out_channels;
  const auto blocks = static_cast<unsigned>(ceil_div(total, kPatchPackThreads));
  const auto launch = [&]<typename Bits>() {
    patch_pack_kernel<Bits><<<blocks, kPatchPackThreads, 0, stream>>>(
        static_cast<const Bits*>(weight.data), weight.stride[0], weight.stride[1],
        as_int(p.in_channels), as_int(p.out_channels), as_int(fold), static_cast<Bits*>(packed));
  };
  element_bytes(description.precision) == 2 ? launch.operator()<uint16_t>()
                                            : launch.operator()<uint32_t>();
  check(cudaGetLastError(), "shuffle_gemm patch_pack_kernel");
}

// float32: the weight's two parts, each as the weight is.
void split_weight(const Description& description, const void* weight, void* parts,
                  cudaStream_t stream) {
  const Problem& p = description.problem;
  const int64_t vectors = p.in_channels * p.out_channels * volume(p.kernel) / 4;
  const auto blocks = static_cast<unsigned>(ceil_div(vectors, kPatchPackThreads));
  patch_split_kernel<<<blocks, kPatchPackThreads, 0, stream>>>(static_cast<const uint4*>(weight),
                                                               vectors, static_cast<uint4*>(parts));
  check(cudaGetLastError(), "shuffle_gemm patch_split_kernel");
}

// Forward: [in_channel][column] to [column][in_channel], in float32 both parts.
void turn_weight(const Description& description, const void* weight, void* parts,
                 cudaStream_t stream) {
  const Problem& p = description.problem;
  const int depth = as_int(p.out_channels), columns = as_int(p.in_channels);
  const dim3 blocks(static_cast<unsigned>(ceil_div(columns, kPatchTurn)),
                    static_cast<unsigned>(ceil_div(depth, kPatchTurn)));
  const auto kernel =
      description.precision == Precision::fp32 ? patch_turn_kernel<true> : patch_turn_kernel<false>;
  kernel<<<blocks, kPatchPackThreads, 0, stream>>>(static_cast<const uint32_t*>(weight), depth,
                                                   columns, static_cast<uint32_t*>(parts));
  check(cudaGetLastError(), "shuffle_gemm patch_turn_kernel");
}

// Where forward's columns and positions go.
void set_places(const Description& description, const Operands& operands, PatchParams* params) {
  const Problem& p = description.problem;
  const bool channels_last = description.output == Layout::ndhwc;
  const auto stride = dense_strides(p.out_channels, p.output(), channels_last);
  const bool one = volume(p.input) == 1;  // then the batch is the line w
  params->result_stride[0] = one ? 0 : stride[0];
  for (int axis = 0; axis < 3; ++axis) {
    params->result_stride[1 + axis] = p.kernel[axis] * stride[2 + axis];
    params->column_stride[1 + axis] = stride[2 + axis];
    params->kernel[axis] = as_int(p.kernel[axis]);
  }
  if (one) params->result_stride[3] = stride[0];
  params->column_stride[0] = stride[1];
  params->out_channels = as_int(p.out_channels);
  params->taps_inner = !channels_last;
  params->bias = operands.bias;
  params->bias_stride = operands.bias_stride;
  params->store = PatchStore::pairs;
  if (!channels_last && p.kernel[2] % 4 == 0) {
    params->store = PatchStore::fours;
  } else if (params->joins_pairs && p.kernel[2] == 2) {
    params->store = PatchStore::positions;
  }
}

}  // namespace

bool launch_patches(const Description& original, const Device& device, const Operands& operands,
                    void* workspace, cudaStream_t stream) {
  const Description description = fold_positions(original);
  const Problem& p = description.problem;
  const bool forward = original.direction == Direction::forward;
  const void* const source = (forward ? operands.input : operands.output).data;
  void* const result = (forward ? operands.output : operands.input).data;
  if (!is_aligned(source) || !is_aligned(operands.weight.data) || !is_aligned(result)) {
    return false;
  }
  const PatchConfig config = choose_patches(original, device);
  const bool lines = description.output == Layout::ncdhw;
  const auto of_output = dense_strides(p.out_channels, p.output(), !lines);
  const auto of_input = dense_strides(p.in_channels, p.input, !lines);
  PatchParams params{};
  params.result = result;
  params.channel_stride = of_input[1];
  params.columns = as_int(p.in_channels);
  const int64_t extent[4] = {p.batch, p.input[0], p.input[1], p.input[2]};
  for (int axis = 0; axis < 4; ++axis) {
    params.result_stride[axis] = of_input[axis == 0 ? 0 : axis + 1];
    params.extent[axis] = as_int(extent[axis]);
    params.box[axis] = Divider(config.box[axis]);
    params.boxes[axis] = Divider(ceil_div(extent[axis], config.box[axis]));
  }
  params.tiles = as_int(config.tiles);
  params.slices = Divider(config.slices);
  params.walkers = as_int(config.walkers);
  params.splits = Divider(config.splits);
  params.chunks = config.chunks;
  params.own_chunks = as_int(ceil_div(config.chunks, config.splits));
  params.line_chunks = Divider(config.line_chunks);
  params.stages = config.stages;
  params.sum_bytes = as_int(config.sum_bytes);
  params.resident = config.resident;
  const auto [n, d, h, w] = config.box;
  params.box_bytes = n * d * h * w * kPatchChunk;
  const bool folded = fold_of(original) > 1;
  if (folded) pack_weight(original, operands.weight, workspace, stream);
  params.packs = forward || description.precision == Precision::fp32;
  if (params.packs) {
    (forward ? turn_weight : split_weight)(description, operands.weight.data, workspace, stream);
    set_exact(description, source, operands.weight.data, forward, of_output, lines, &params);
  }
  const void* const weight = folded || params.packs ? workspace : operands.weight.data;
  params.weight = weight_map(description, config, weight, lines);
  (lines ? set_lines : set_rows)(description, config, source, of_output, &params);
  if (forward) {
    set_places(original, operands, &params);
    with_precision<Precision::fp32, Precision::tf32>(
        description.precision, [&]<Precision kPrecision>() {
          run_patches<kPrecision, true>(params, config, lines, stream);
        });
    return true;
  }
  with_precision<Precision::fp32, Precision::tf32, Precision::fp16, Precision::bf16>(
      description.precision, [&]<Precision kPrecision>() {
        run_patches<kPrecision, false>(params, config, lines, stream);
      });
  return true;
}

}  // namespace convt3d::cuda::shuffle_gemm
