// SPDX-License-Identifier: BSD-3-Clause
// A call in numbers.
#include "cuda/cluster_gemm/launch.h"

#include <algorithm>
#include <stdexcept>

#include "cuda/cluster_gemm/cluster_gemm.h"
#include "cuda/common/alignment.h"
#include "cuda/common/call.h"
#include "cuda/sm90/row_pack.h"
#include "cuda/sm90/tensor_map.h"
#include "cuda/sm90/walk_map.h"
#include "geometry/ceil_div.h"
#include "geometry/numbers.h"

namespace convt3d::cuda::cluster_gemm {
namespace {

// What the launches of a call have in common.
struct Prepared {
  const Description& description;
  const Operands& operands;
  const Product& product;
  unsigned char* workspace;
  cudaStream_t stream;
  bool packs = false;  // a launch of this call runs

  int64_t bytes() const { return element_bytes(description.precision); }

  void pack(const sm90::RowPack& rows) {
    sm90::RowPack next = rows;
    next.overlapping = packs;
    sm90::pack_rows(next, stream);
    packs = true;
  }
};

// The tensor that is read, as rows of channels.
TensorView read_rows(Prepared* call) {
  const Problem& p = call->description.problem;
  const Product& product = call->product;
  const TensorView& view = product.forward ? call->operands.input : call->operands.output;
  if (!product.packs_read && rows_aligned(view, p.batch, product.read, call->bytes())) return view;
  call->pack({view.data, view.stride, p.batch, product.channels, product.read, call->bytes(),
              call->workspace});
  const int64_t row = packed_channels(call->description, product);
  const Extent3& e = product.read;
  return {call->workspace, {volume(e) * row, 1, e[1] * e[2] * row, e[2] * row, row}};
}

// The weight, as rows of K: strides of {columns, K, d, h, w}.
TensorView weight_rows(Prepared* call) {
  const Problem& p = call->description.problem;
  const Product& product = call->product;
  const TensorView& view = call->operands.weight;
  const int64_t row = packed_channels(call->description, product);
  const Extent3& k = p.kernel;
  if (!product.packs_weight && rows_aligned(view, p.in_channels, k, call->bytes())) {
    return view;
  }
  Product with_read = product;
  with_read.packs_read = true;  // behind its room in the workspace
  unsigned char* const rows = call->workspace + packed_read_bytes(call->description, with_read);
  // Where the other channels lie close together, they are positions of a pack: one of all taps and
  // columns reads long lines.
  if (product.forward) {
    const std::array<int64_t, 5>& s = view.stride;
    const bool taps_outside = s[1] < s[4];  // [tap][column], or [column][tap]
    const bool dense = s[3] == k[2] * s[4] && s[2] == k[1] * s[3];
    const int64_t taps = volume(k), columns = product.columns;
    if (dense || taps == 1) {
      sm90::RowPack pack{view.data,
                         {0, s[0], 0, s[1], s[4]},
                         1,
                         product.channels,
                         {1, columns, taps},
                         call->bytes(),
                         rows};
      if (taps_outside) {
        pack.stride = {0, s[0], 0, s[4], s[1]};
        pack.extent = {1, taps, columns};
      }
      call->pack(pack);
      const int64_t tap = taps_outside ? columns * row : row;
      return {rows, {taps_outside ? row : taps * row, 1, k[1] * k[2] * tap, k[2] * tap, tap}};
    }
    call->pack({view.data,
                {s[1], s[0], s[2], s[3], s[4]},
                columns,
                product.channels,
                k,
                call->bytes(),
                rows});
  } else {
    call->pack({view.data, view.stride, product.columns, product.channels, k, call->bytes(), rows});
  }
  return {rows, {volume(k) * row, 1, k[1] * k[2] * row, k[2] * row, row}};
}

// Whether positions are contiguous, and four of them, from every fourth on, lie on 8 bytes, in 16
// bits.
bool has_lines_of_four(const TensorView& view, const Extent3& extent) {
  const auto& s = view.stride;
  return reinterpret_cast<uintptr_t>(view.data) % 8 == 0 && volume(extent) % 4 == 0 &&
         s[0] % 4 == 0 && s[1] % 4 == 0 && s[4] == 1 && s[3] == extent[2] &&
         s[2] == extent[1] * extent[2];
}

PartParams make_part(const Product& product, const Part& part, int64_t chunks) {
  PartParams params{};
  for (size_t a = 0; a < 3; ++a) {
    const int64_t last = part.first[a] + (part.taps[a] - 1) * part.tap_reads[a];
    const int64_t corner = std::min(part.first[a], last);
    const AxisResidue& axis = part.axis[a];
    params.axis[a] = {make_divisor(part.extent[a]),
                      make_divisor(part.taps[a]),
                      product.forward ? as_int(axis.first_output) : 0,
                      as_int(corner),
                      as_int(part.first[a] - corner),
                      as_int(part.tap_reads[a]),
                      product.forward ? as_int(axis.first_tap) : 0};
  }
  params.positions = as_int(part.positions);
  params.units = as_int(part.all_taps * chunks);
  return params;
}

}  // namespace

void launch(const Description& description, const Device& device, const Operands& operands,
            void* workspace, void* stream) {
  Product product{};
  const char* why = nullptr;
  if (!make_product(description, &product, &why)) throw std::logic_error(why);
  const Problem& problem = description.problem;
  const Config config = choose(description, device);
  const int64_t bytes = element_bytes(description.precision);
  const int chunk = as_int(kChunkBytes / bytes);
  Prepared call{description, operands, product, static_cast<unsigned char*>(workspace),
                static_cast<cudaStream_t>(stream)};
  Launch launch{};
  const TensorView read = read_rows(&call), weight = weight_rows(&call);
  const TensorView& result = product.forward ? operands.output : operands.input;

  Params& p = launch.params;
  p.bias = operands.bias;
  p.bias_stride = operands.bias_stride;
  p.result = result.data;
  for (size_t i = 0; i < 5; ++i) p.result_stride[i] = as_int(result.stride[i]);
  for (size_t a = 0; a < 3; ++a) {
    p.result_step[a] = product.forward ? as_int(problem.stride[a]) : 1;
    p.read_step[a] = as_int(product.step[a]);
    p.tap_step[a] = product.forward ? as_int(product.part[0].axis[a].tap_step) : 1;
  }
  p.parts = product.parts;
  p.columns = as_int(product.columns);
  p.splits = config.splits;
  while (1 << p.log_splits < p.splits) ++p.log_splits;
  p.clusters = config.blocks / config.splits;
  p.chain_units = config.chain_units;
  const int64_t chunks = ceil_div(product.channels, chunk);
  const int64_t column_tiles = ceil_div(product.columns, config.columns);
  p.chunks = make_divisor(chunks);
  p.column_tiles = make_divisor(column_tiles);
  const Extent3 extent = product.forward ? problem.output() : problem.input;
  p.whole_stores = rows_aligned(result, problem.batch, extent, bytes) && product.columns % 4 == 0;
  p.line_stores = bytes == 2 && product.parts == 1 && has_lines_of_four(result, extent);
  int items = 0;
  for (int i = 0; i < product.parts; ++i) {
    const Part& part = product.part[static_cast<size_t>(i)];
    p.part[i] = make_part(product, part, chunks);
    p.part[i].first_item = items;
    const int splits = config.part_splits[static_cast<size_t>(i)];
    while (1 << p.part[i].log_splits < splits) ++p.part[i].log_splits;
    items += as_int(
        ceil_div(column_tiles * ceil_div(part.positions, config.rows) * splits, config.splits));
    sm90::Walk walk{
        read.data,
        description.precision,
        {product.channels, product.read[2], product.read[1], product.read[0], problem.batch},
        {1, read.stride[4], read.stride[3], read.stride[2], read.stride[0]},
        {},
        {},
        {},
        chunk,
        config.rows};
    for (size_t a = 0; a < 3; ++a) {
      walk.first[2 - a] = p.part[i].axis[a].corner;
      walk.count[2 - a] = part.extent[a];
      walk.step[2 - a] = product.step[a];
    }
    launch.maps.walk[i] = sm90::encode(walk);
  }
  const Extent3& k = problem.kernel;
  launch.maps.weight = sm90::encode(
      sm90::TensorBox{weight.data,
                      description.precision,
                      {product.channels, k[2], k[1], k[0], product.columns},
                      {1, weight.stride[4], weight.stride[3], weight.stride[2], weight.stride[0]},
                      {chunk, 1, 1, 1, config.columns}});
  p.items = items;
  launch.config = config;
  launch.blocks = static_cast<unsigned>(config.blocks);
  launch.second = call.packs;
  launch.stream = call.stream;
  with_precision<Precision::tf32, Precision::fp16, Precision::bf16>(
      description.precision, [&]<Precision kPrecision>() { run<kPrecision>(launch); });
}

}  // namespace convt3d::cuda::cluster_gemm
