// SPDX-License-Identifier: BSD-3-Clause
// The launches where the rows of a position are batch items.
#pragma once
#include "cuda/common/dynamic_shared.h"
#include "cuda/common/launch.h"
#include "cuda/halo_gemm/batch_kernel.cuh"
#include "cuda/halo_gemm/batch_rows.h"
#include "cuda/halo_gemm/call.h"
#include "cuda/halo_gemm/product.h"
#include "cuda/sm90/row_pack.h"
#include "cuda/sm90/tensor_map.h"

namespace convt3d::cuda::halo_gemm {

// Of the tensor that is read, the inputs of one residue of w: batch items come before w.
inline sm90::TensorBox batch_box(const Call& call, const TensorView& input,
                                 const ProductResidue& residue) {
  const Product product = make_product(call.description);
  const Problem& p = product.problem;
  const auto& s = input.stride;
  const auto bytes = static_cast<int>(element_bytes(call.description.precision));
  return {static_cast<const unsigned char*>(input.data) + residue.input_offset * s[4] * bytes,
          call.description.precision,
          {p.in_channels, p.batch, residue.inputs, p.input[1], p.input[0]},
          {1, s[0], s[4] * product.input_stride[2], s[3], s[2]},
          {kRowBytes / bytes, call.config.batch_rows, call.config.pitch, 1, 1}};
}

// `rows` as the result, in NCDHW: channels and positions change places.
inline void turn_result(const Call& call, const void* rows) {
  const Product product = make_product(call.description);
  const bool reversed = product.reversed;
  const Extent3 e = reversed ? call.description.problem.input : product.problem.output();
  const int64_t channels = product.problem.out_channels, positions = volume(e);
  sm90::pack_rows({rows,
                   {positions * channels, channels, channels, channels, 1},
                   product.problem.batch,
                   positions,
                   {1, 1, channels},
                   element_bytes(call.description.precision),
                   reversed ? call.operands.input.data : call.operands.output.data},
                  call.stream);
}

// Limit: a kernel's parameters.
static_assert(sizeof(Params) + sizeof(Maps) + sizeof(LineOrder) <= 4096);

// `second`: of this call's launches. All that packs is launched.
template <typename T>
void run_batch(const Call& call, Params p, const Maps& maps, bool second) {
  const Config& config = call.config;
  LineOrder order{};
  const BatchDeal deal = deal_lines(make_product(call.description), config, call.device.num_sms);
  for (size_t i = 0; i < deal.lines.size(); ++i) {
    const BatchLine& line = deal.lines[i];
    const int place = (line.residue * config.planes + line.d) * config.lines + line.h;
    order.line[i] = line.work > 0 ? static_cast<unsigned short>(place) : kNoLine;
  }
  p.batch_rows = config.batch_rows;
  p.items = static_cast<unsigned>(deal.lines.size() * static_cast<size_t>(p.residue_items));
  p.stage_bytes += p.weight_group * kRowBytes * config.channels;
  const auto kernel = batch_kernel<T, kMaxTileChannels>;
  allow_shared_memory(kernel, "halo_gemm shared memory");
  const auto blocks = static_cast<unsigned>(deal.blocks);
  const auto threads = static_cast<unsigned>((config.warpgroups + 1) * 128);
  launch_grid("halo_gemm batch_kernel", kernel,
              {blocks, threads, kSharedBytes, call.stream, second}, p, maps, order);
  if (config.turned) turn_result(call, p.output);
}

}  // namespace convt3d::cuda::halo_gemm
