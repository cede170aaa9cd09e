// SPDX-License-Identifier: BSD-3-Clause
// From a call of grad_weight to its two launches; instances/ has one explicit instantiation per
// precision.
#pragma once
#include "cuda/column_gemm/box_params.h"
#include "cuda/column_gemm/call.h"
#include "cuda/column_gemm/weight_kernel.cuh"
#include "cuda/common/alignment.h"
#include "cuda/common/cuda_check.h"
#include "cuda/common/dynamic_shared.h"

namespace convt3d::cuda::column_gemm {

inline WeightParams make_weight_params(const WeightCall& call) {
  const Problem& problem = call.description.problem;
  const WeightConfig& c = call.config;
  const int64_t size = element_bytes(call.description.precision);
  WeightParams p{};
  p.box = make_box_params(call);
  p.parts = static_cast<float*>(call.workspace);
  p.channel_warps = c.channel_warps;
  p.position_warps = c.position_warps;
  p.slice_channels = c.channel_warps * kWeightChannels;
  p.splits = c.splits;
  p.parked_items = c.parked_items;
  p.positions = p.box.cells[0] * p.box.cells[1] * p.box.line_rows;
  p.input_rows = c.rows && rows_aligned(call.operands.input, problem.batch, problem.input, size);
  p.whole_input = lines_aligned(call.operands.input, problem, size);
  const int64_t pitch = p.input_rows ? weight_row_pitch(p.slice_channels, size)
                                     : weight_plane_pitch(p.positions, size);
  p.pitch = static_cast<uint32_t>(pitch);
  p.input_bytes = static_cast<uint32_t>(
      (pitch * (p.input_rows ? p.positions : p.slice_channels) + 15) / 16 * 16);
  p.cell_divisor = reciprocal(p.box.cells[1]);
  const int piece = static_cast<int>(16 / size);
  p.piece_divisor = reciprocal(p.input_rows    ? p.slice_channels / piece
                               : p.whole_input ? p.box.line_rows / piece
                                               : p.box.line_rows);
  return p;
}

template <Precision kPrecision>
void run_weight(const WeightCall& call) {
  using T = ElementOf<kPrecision>;
  const WeightParams p = make_weight_params(call);
  const auto kernel = p.input_rows ? column_weight_kernel<kPrecision, true>
                                   : column_weight_kernel<kPrecision, false>;
  const auto bytes = static_cast<int>(call.config.shared);
  allow_shared_memory(kernel, "column_gemm shared memory");
  const dim3 blocks(static_cast<unsigned>(p.splits), static_cast<unsigned>(call.config.slices));
  kernel<<<blocks, kInputThreads, bytes, call.stream>>>(p);
  check(cudaGetLastError(), "column_gemm kernel");
  const int weights = p.box.in_channels * p.box.columns;
  add_column_parts_kernel<<<static_cast<unsigned>((weights + kReduceWeights - 1) / kReduceWeights),
                            dim3(kReduceWeights, kReduceLanes), 0, call.stream>>>(
      p, static_cast<T*>(call.operands.weight.data));
  check(cudaGetLastError(), "column_gemm sums of the splits");
}

}  // namespace convt3d::cuda::column_gemm
