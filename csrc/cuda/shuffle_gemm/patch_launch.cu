// SPDX-License-Identifier: BSD-3-Clause
// A call in numbers, for grad_input by whole patches.
#include "cuda/shuffle_gemm/patch_launch.h"

#include <algorithm>
#include <array>

#include "cuda/shuffle_gemm/patch_params.h"
#include "cuda/sm90/tensor_map.h"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::shuffle_gemm {
namespace {

int as_int(int64_t value) { return static_cast<int>(value); }

bool is_aligned(const void* data) { return reinterpret_cast<uintptr_t>(data) % 16 == 0; }

// The strides of a dense tensor in the order of its layout; what aten says of an axis of extent 1
// means nothing.
std::array<int64_t, 5> dense_strides(int64_t channels, const Extent3& extent, bool channels_last) {
  const auto [d, h, w] = extent;
  if (channels_last) return {d * h * w * channels, 1, h * w * channels, w * channels, channels};
  return {channels * d * h * w, d * h * w, h * w, w, 1};
}

// NDHWC: a map of each line of the patches, and the rows of the weight, cut at the same lines.
void set_maps(const Description& description, const PatchConfig& config, const Operands& operands,
              const std::array<int64_t, 5>& stride, PatchParams* params) {
  const Problem& p = description.problem;
  const int64_t element = element_bytes(description.precision);
  const int chunk = as_int(kPatchChunk / element);
  const bool lines = description.output == Layout::ncdhw;
  const int64_t all = p.out_channels * volume(p.kernel);
  const int64_t run = lines ? all : p.kernel[2] * p.out_channels;
  const auto [n, d, h, w] = config.box;
  for (int64_t line = 0; !lines && line < p.kernel[0] * p.kernel[1]; ++line) {
    const int64_t td = line / p.kernel[1], th = line % p.kernel[1];
    const char* const first = static_cast<const char*>(operands.output.data) +
                              (td * stride[2] + th * stride[3]) * element;
    params->gradient[line] = sm90::encode({first,
                                           description.precision,
                                           {run, p.input[2], p.input[1], p.input[0], p.batch},
                                           {1, p.stride[2] * stride[4], p.stride[1] * stride[3],
                                            p.stride[0] * stride[2], stride[0]},
                                           {chunk, w, h, d, n}});
  }
  params->weight = sm90::encode({operands.weight.data,
                                 description.precision,
                                 {run, all / run, p.in_channels, 1, 1},
                                 {1, run, all, all, all},
                                 {chunk, 1, config.columns, 1, 1}});
}

void set_pieces(const Description& description, const PatchConfig& config,
                const std::array<int64_t, 5>& stride, PatchParams* params) {
  const Problem& p = description.problem;
  const int64_t element = element_bytes(description.precision);
  const auto [kd, kh, kw] = p.kernel;
  const Extent3 extent = p.output();
  params->source_stride[0] = stride[0];
  for (int i = 1; i < 4; ++i) params->source_stride[i] = stride[i];
  params->source_position[0] = stride[0];
  for (int axis = 0; axis < 3; ++axis) {
    params->source_position[1 + axis] = p.kernel[axis] * stride[2 + axis];
  }
  params->taps = as_int(volume(p.kernel));
  params->kernel_h = as_int(kh);
  params->kernel_w = as_int(kw);
  params->chunk_channels = as_int(kPatchChunk / (volume(p.kernel) * element));
  params->pieces_inner = as_int(config.pieces_inner);
  const int pitch = as_int(config.piece_pitch);
  params->piece_pitch = pitch;
  const int channel = as_int(config.pieces_inner) * pitch;
  const int line = as_int(extent[2] * element), plane = as_int(extent[1]) * line;
  const int word = as_int(kw * element);
  int td = plane, th = line;
  params->pieces_h = 1;
  switch (config.piece) {
    case Piece::part_of_line:
      params->pieces_h = as_int(kh);
      params->piece_axis = 3;
      params->piece_step = word;
      td = as_int(kh) * pitch;
      th = pitch;
      break;
    case Piece::lines:
      params->piece_axis = 2;
      params->piece_step = as_int(kh) * line;
      td = pitch;
      break;
    case Piece::planes:
      params->piece_axis = 1;
      params->piece_step = as_int(kd) * plane;
      break;
  }
  const int position[4] = {params->chunk_channels * channel, as_int(kd) * plane, as_int(kh) * line,
                           word};
  std::copy(position, position + 4, params->stage_position);
  params->stage_tap[0] = channel;
  params->stage_tap[1] = td;
  params->stage_tap[2] = th;
  // Pairs of positions, from even ones on in a box that starts at one.
  params->joins_pairs = p.input[2] % 2 == 0 && config.box[3] % 2 == 0;
}

}  // namespace

bool launch_patches(const Description& description, const Device& device, const Operands& operands,
                    cudaStream_t stream) {
  const Problem& p = description.problem;
  if (!is_aligned(operands.output.data) || !is_aligned(operands.weight.data) ||
      !is_aligned(operands.input.data)) {
    return false;
  }
  const PatchConfig config = choose_patches(description, device);
  const bool lines = description.output == Layout::ncdhw;
  const int64_t element = element_bytes(description.precision);
  const auto of_output = dense_strides(p.out_channels, p.output(), !lines);
  const auto of_input = dense_strides(p.in_channels, p.input, !lines);
  PatchParams params{};
  params.result = operands.input.data;
  params.source = operands.output.data;
  params.channel_stride = of_input[1];
  params.columns = as_int(p.in_channels);
  const int64_t extent[4] = {p.batch, p.input[0], p.input[1], p.input[2]};
  for (int axis = 0; axis < 4; ++axis) {
    params.result_stride[axis] = of_input[axis == 0 ? 0 : axis + 1];
    params.extent[axis] = as_int(extent[axis]);
    params.box[axis] = config.box[axis];
    params.boxes[axis] = as_int(ceil_div(extent[axis], config.box[axis]));
  }
  params.tiles = as_int(config.tiles);
  params.slices = as_int(config.slices);
  params.walkers = as_int(config.walkers);
  params.splits = as_int(config.splits);
  params.chunks = config.chunks;
  params.line_chunks = config.line_chunks;
  params.lines = as_int(p.kernel[0] * p.kernel[1]);
  params.stages = config.stages;
  params.resident = config.resident;
  params.source_bytes = as_int(config.source_bytes);
  const auto [n, d, h, w] = config.box;
  params.box_bytes = n * d * h * w * kPatchChunk;
  set_maps(description, config, operands, of_output, &params);
  if (lines) set_pieces(description, config, of_output, &params);
  with_precision<Precision::tf32, Precision::fp16, Precision::bf16>(
      description.precision,
      [&]<Precision kPrecision>() { run_patches<kPrecision>(params, config, lines, stream); });
  return true;
}

}  // namespace convt3d::cuda::shuffle_gemm
