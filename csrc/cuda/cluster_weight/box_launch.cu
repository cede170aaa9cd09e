// SPDX-License-Identifier: BSD-3-Clause
// A call of box_kernel.cuh in numbers.
#include "cuda/cluster_weight/box_launch.h"

#include "cuda/cluster_weight/box_tuning.h"
#include "cuda/common/alignment.h"
#include "cuda/common/call.h"
#include "cuda/sm90/tensor_map.h"
#include "geometry/ceil_div.h"
#include "geometry/numbers.h"

namespace convt3d::cuda::cluster_weight {
namespace {

CUtensorMap input_map(const Description& description, const BoxConfig& c, const void* data) {
  const Problem& p = description.problem;
  const int64_t all = volume(p.input), box = c.positions;
  const int panel = as_int(kPanelRow / element_bytes(description.precision));
  return sm90::encode({data,
                       description.precision,
                       {box, c.image_boxes, p.in_channels, p.batch, 1},
                       {1, box, all, p.in_channels * all, p.in_channels * all},
                       {panel, 1, c.rows, 1, 1}});
}

CUtensorMap output_map(const Description& description, const BoxConfig& c, const void* data) {
  const Problem& p = description.problem;
  const Extent3 extent = p.output();
  const int64_t all = volume(extent), plane = extent[1] * extent[2], image = p.out_channels * all;
  const int rows = c.run / c.piece;
  sm90::TensorBox map{data,
                      description.precision,
                      {c.piece, all / c.piece, p.out_channels, p.batch, 1},
                      {1, c.piece, all, image, image},
                      {c.piece, rows, c.out_channels, 1, 1}};
  if (!c.whole) {
    map.extent = {c.piece, plane / c.piece, extent[0], p.out_channels, p.batch};
    map.stride = {1, c.piece, plane, all, image};
    map.box = {c.piece, rows, as_int(p.kernel[0]), c.out_channels, 1};
  }
  map.swizzled = false;
  return sm90::encode(map);
}

}  // namespace

bool launch_boxes(const Description& description, const BoxConfig& config, const Shape& shape,
                  const Operands& operands, cudaStream_t stream) {
  if (!is_aligned(operands.input.data) || !is_aligned(operands.output.data)) return false;
  const Problem& p = description.problem;
  const int element = as_int(element_bytes(description.precision));
  const int64_t blocks = config.tiles * config.splits;
  BoxLaunch call{
      {}, config.rows, config.turned, static_cast<unsigned>(blocks), config.shared_bytes, stream};
  BoxParams& params = call.params;
  if (!config.turned) params.input = input_map(description, config, operands.input.data);
  params.output = output_map(description, config, operands.output.data);
  params.positions = operands.input.data;
  params.result = operands.weight.data;
  params.in_channels = as_int(shape.in_channels);
  params.columns = as_int(shape.columns);
  params.splits = config.splits;
  params.boxes = config.boxes;
  params.blocks = make_divisor(config.splits);
  params.column_tiles = make_divisor(ceil_div(shape.columns, kColumns));
  params.image_boxes = make_divisor(config.image_boxes);
  params.plane_boxes = make_divisor(p.input[1] / config.lines);
  params.whole = config.whole;
  params.box_positions = config.positions;
  params.groups = config.groups;
  params.images = config.images;
  params.image_positions = config.positions / config.images;
  params.out_channels = config.out_channels;
  params.run_rows = config.run / config.piece;
  params.plane_rows = as_int(p.kernel[0]);
  params.output_bytes = params.image_positions * kColumns * element;
  params.stages = config.stages;
  params.stage_bytes = config.stage_bytes;
  params.output_at = config.output_at;
  params.packed_at = config.packed_at;
  params.tail = config.shared_bytes - kBoxBarrierBytes - config.groups * kPanelRow;
  params.tail = params.tail / 16 * 16;
  params.taps = as_int(volume(p.kernel));
  params.kernel_h = as_int(p.kernel[1]);
  params.kernel_w = as_int(p.kernel[2]);
  params.line_bytes = as_int(p.kernel[2] * p.input[2]) * element;
  params.plane_bytes = as_int(p.kernel[1]) * config.lines * params.line_bytes;
  params.channel_bytes = as_int(p.kernel[0]) * config.planes * params.plane_bytes;
  params.step[0] = as_int(p.kernel[0]) * params.plane_bytes;
  params.step[1] = as_int(p.kernel[1]) * params.line_bytes;
  params.step[2] = as_int(p.kernel[2]) * element;
  params.width = make_divisor(p.input[2]);
  params.lines = make_divisor(config.lines);
  params.planes = make_divisor(config.planes);
  params.of_image = make_divisor(params.image_positions);
  params.joined = p.kernel[2] * element == 4 && p.input[2] % 2 == 0;
  params.store_pieces = is_aligned(params.result) && shape.columns * element % 16 == 0;
  with_precision<Precision::fp32, Precision::tf32, Precision::fp16, Precision::bf16>(
      description.precision, [&]<Precision kPrecision>() { run_boxes<kPrecision>(call); });
  return true;
}

}  // namespace convt3d::cuda::cluster_weight
