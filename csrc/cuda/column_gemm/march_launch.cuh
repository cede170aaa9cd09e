// SPDX-License-Identifier: BSD-3-Clause
// From a call with all taps as columns to its launch; instances/ has one explicit instantiation per
// precision.
#pragma once
#include <algorithm>
#include <cstdlib>

#include "cuda/column_gemm/call.h"
#include "cuda/column_gemm/forward_params.h"
#include "cuda/column_gemm/march_kernel.cuh"
#include "cuda/common/cuda_check.h"
#include "cuda/common/dynamic_shared.h"

namespace convt3d::cuda::column_gemm {

inline MarchParams make_march_params(const MarchCall& call) {
  const MarchConfig& c = call.config;
  MarchParams p{};
  fill_forward(call, c.pairs * kWarpRows, &p);
  // march_load.cuh: an input whose planes reach farther is loaded by elements.
  constexpr int64_t kLongest = int64_t{1} << 31;
  const int64_t lines = p.input_extent[1] + p.shifts[1] - 1;
  if (p.whole_loads &&
      std::abs(p.input_stride[3]) * lines + std::abs(p.input_stride[4]) * p.input_extent[2] >=
          kLongest) {
    p.whole_loads = false;
    if (p.rows) set_planes(call, c.pairs * kWarpRows, &p);
  }
  p.lines = p.cells[1] + p.shifts[1] - 1;
  p.pairs = c.pairs;
  p.columns = c.column_tiles / kWarpColumnTiles;
  p.sum_pitch = march_sum_pitch(c.pairs);
  p.jobs = p.cells[1] * p.cells[2] * p.stride[0];
  const int per_piece = static_cast<int>(16 / element_bytes(call.description.precision));
  p.pieces = p.rows ? 2 * p.steps : p.line_rows / per_piece;
  p.share_step = kThreads / (p.rows ? p.pieces : p.lines * p.pieces);
  p.whole_planes = p.tiles[2] == 1 && p.line_rows == p.input_extent[2] &&
                   p.input_stride[3] == p.input_stride[4] * p.input_extent[2];
  p.piece_divisor = reciprocal(p.pieces);
  p.channel_divisor = reciprocal(p.lines * (p.whole_loads ? p.pieces : p.line_rows));
  p.cell_divisor = reciprocal(p.cells[1] * p.cells[2]);
  p.line_divisor = reciprocal(p.cells[2]);
  p.column_divisor = reciprocal(p.columns);
  return p;
}

template <Precision kPrecision>
void run_march(const MarchCall& call) {
  const MarchParams p = make_march_params(call);
  const auto kernel =
      p.rows ? column_march_kernel<kPrecision, true> : column_march_kernel<kPrecision, false>;
  const auto bytes = static_cast<int>(call.config.shared - kStaticBytes);
  allow_shared_memory(kernel, "column_gemm march shared memory");
  const auto blocks = static_cast<unsigned>(std::min(p.items, call.device.num_sms));
  kernel<<<blocks, kThreads, bytes, call.stream>>>(p);
  check(cudaGetLastError(), "column_gemm march kernel");
}

}  // namespace convt3d::cuda::column_gemm
