// SPDX-License-Identifier: BSD-3-Clause
// A call in numbers.
#include "cuda/cluster_weight/launch.h"

#include <algorithm>
#include <stdexcept>

#include "cuda/cluster_weight/box_launch.h"
#include "cuda/cluster_weight/cluster_weight.h"
#include "cuda/cluster_weight/tuning.h"
#include "cuda/common/call.h"
#include "geometry/ceil_div.h"
#include "geometry/numbers.h"

namespace convt3d::cuda::cluster_weight {
namespace {

// Bytes that a pointer and whole `bytes` allow to be copied at once.
int piece_of(const void* data, int64_t bytes) {
  int piece = 16;
  while (reinterpret_cast<uintptr_t>(data) % piece != 0 || bytes % piece != 0) piece /= 2;
  return piece;
}

// Rows of channels come in 16 bytes or element by element.
int row_piece(const void* data, int64_t bytes) {
  return piece_of(data, 16) == 16 ? 16 : as_int(bytes);
}

Params make_params(const Description& description, const Config& config, const Operands& operands) {
  const Problem& p = description.problem;
  const Shape& shape = config.shape;
  const int64_t bytes = element_bytes(description.precision);
  const Extent3 output = p.output();
  Params params{};
  params.input = operands.input.data;
  params.output = operands.output.data;
  params.result = operands.weight.data;
  params.in_channels = as_int(shape.in_channels);
  params.columns = as_int(shape.columns);
  params.positions = as_int(shape.positions);
  params.split_positions = as_int(config.split_positions);
  params.splits = config.splits;
  params.blocks = make_divisor(config.splits);
  params.column_tiles = make_divisor(ceil_div(shape.columns, kColumns));
  if (shape.source == Source::channels) {
    params.input_piece = row_piece(params.input, bytes);
    params.output_piece = row_piece(params.output, bytes);
  } else {
    params.input_piece = piece_of(params.input, volume(p.input) * bytes);
    params.output_piece = piece_of(params.output, output[2] * bytes);
  }
  params.store_pieces = piece_of(params.result, shape.columns * bytes) == 16;
  params.depth = make_divisor(p.input[0]);
  params.height = make_divisor(p.input[1]);
  params.width = make_divisor(p.input[2]);
  params.volume = make_divisor(volume(p.input));
  params.out_channels = make_divisor(shape.flat ? shape.columns : p.out_channels);
  params.kernel_h = make_divisor(shape.flat ? 1 : p.kernel[1]);
  params.kernel_w = make_divisor(shape.flat ? 1 : p.kernel[2]);
  params.image = as_int(p.out_channels * volume(output));
  for (size_t axis = 0; axis < 3; ++axis) {
    params.extent[axis] = as_int(shape.flat ? 1 : output[axis]);
    params.stride[axis] = as_int(p.stride[axis]);
    params.padding[axis] = as_int(p.padding[axis]);
    params.dilation[axis] = as_int(p.dilation[axis]);
  }
  return params;
}

}  // namespace

void launch(const Description& description, const Device& device, const Operands& operands, void*,
            void* stream) {
  Shape shape{};
  const char* why = nullptr;
  if (!make_shape(description, &shape, &why)) throw std::logic_error(why);
  const Config config = choose(description, device, shape);
  const BoxConfig boxes = choose_boxes(description, device, shape);
  const auto own_stream = static_cast<cudaStream_t>(stream);
  if (prefers_boxes(boxes, config) &&
      launch_boxes(description, boxes, shape, operands, own_stream)) {
    return;
  }
  Launch call{
      make_params(description, config, operands), shape.source, config.rows, 0, false, own_stream};
  // Single elements are copied by the smaller tile alone.
  if (std::min(call.params.input_piece, call.params.output_piece) < 4) call.rows = 64;
  call.blocks = static_cast<unsigned>(ceil_div(shape.in_channels, call.rows) *
                                      ceil_div(shape.columns, kColumns) * config.splits);
  call.apart = config.splits > 1 && call.blocks <= static_cast<unsigned>(device.num_sms);
  with_precision<Precision::fp32, Precision::tf32, Precision::fp16, Precision::bf16>(
      description.precision, [&]<Precision kPrecision>() { run<kPrecision>(call); });
}

}  // namespace convt3d::cuda::cluster_weight
