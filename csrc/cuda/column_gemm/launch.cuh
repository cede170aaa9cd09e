// SPDX-License-Identifier: BSD-3-Clause
// From a call to its launch; instances/ has one explicit instantiation per precision.
#pragma once
#include <algorithm>

#include "cuda/column_gemm/call.h"
#include "cuda/column_gemm/forward_params.h"
#include "cuda/column_gemm/kernel.cuh"
#include "cuda/common/cuda_check.h"
#include "cuda/common/dynamic_shared.h"

namespace convt3d::cuda::column_gemm {

using Kernel = void (*)(Params);

template <Precision kPrecision, bool kRowsOfChannels>
Kernel kernel_of(int column_tiles) {
  if constexpr (kPrecision != Precision::fp32) {
    if (instance_tiles(column_tiles) == 4)
      return column_gemm_kernel<kPrecision, kRowsOfChannels, 4>;
  }
  return column_gemm_kernel<kPrecision, kRowsOfChannels, 2>;
}

inline Params make_params(const Call& call) {
  const Config& c = call.config;
  Params p{};
  const int lines[2] = {
      c.cells[0] + shifts(call.description.problem.kernel[0], call.description.problem.stride[0]) -
          1,
      c.cells[1] + shifts(call.description.problem.kernel[1], call.description.problem.stride[1]) -
          1};
  fill_forward(call, int64_t{lines[0]} * lines[1] * c.line_rows, &p);
  std::copy_n(lines, 2, p.box_lines);
  p.runs = (p.cells[2] + 31) / 32;
  p.run_divisor = reciprocal(p.runs);
  p.part_lines = c.part_lines;
  p.parts = c.parts;
  p.block_columns = c.block_columns;
  for (int shift = 0; shift < p.shifts[0] * p.shifts[1]; ++shift) {
    const int shift_d = shift / p.shifts[1], shift_h = shift % p.shifts[1];
    for (int column = 0; column < p.column_tiles * 8; ++column) {
      const int residue = column / p.block_columns;
      const int tap_d = shift_d * p.stride[0] + residue / p.stride[1];
      const int tap_h = shift_h * p.stride[1] + residue % p.stride[1];
      if (residue < p.stride[0] * p.stride[1] && tap_d < p.kernel[0] && tap_h < p.kernel[1]) {
        p.tile_mask[shift] |= static_cast<uint16_t>(1u << column / 8);
      }
    }
  }
  return p;
}

template <Precision kPrecision>
void run(const Call& call) {
  const Params p = make_params(call);
  const Kernel kernel = p.rows ? kernel_of<kPrecision, true>(p.column_tiles)
                               : kernel_of<kPrecision, false>(p.column_tiles);
  const auto bytes = static_cast<int>(call.config.shared - kStaticBytes);
  allow_shared_memory(kernel, "column_gemm shared memory");
  const auto blocks = static_cast<unsigned>(std::min(p.items, call.device.num_sms));
  kernel<<<blocks, kThreads, bytes, call.stream>>>(p);
  check(cudaGetLastError(), "column_gemm kernel");
}

}  // namespace convt3d::cuda::column_gemm
