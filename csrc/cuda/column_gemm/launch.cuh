// SPDX-License-Identifier: BSD-3-Clause
// From a call to its launch; instances/ has one explicit instantiation per precision.
#pragma once
#include <algorithm>

#include "cuda/column_gemm/box_params.h"
#include "cuda/column_gemm/call.h"
#include "cuda/column_gemm/kernel.cuh"
#include "cuda/common/alignment.h"
#include "cuda/common/cuda_check.h"

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
  const Problem& problem = call.description.problem;
  const Operands& operands = call.operands;
  const Config& c = call.config;
  const int64_t size = element_bytes(call.description.precision);
  const Extent3 output = problem.output();
  Params p{};
  p.input = operands.input.data;
  p.weight = operands.weight.data;
  p.bias = operands.bias;
  p.output = operands.output.data;
  p.bias_stride = operands.bias_stride;
  for (int dim = 0; dim < 5; ++dim) {
    p.input_stride[dim] = operands.input.stride[dim];
    p.weight_stride[dim] = operands.weight.stride[dim];
    p.output_stride[dim] = operands.output.stride[dim];
  }
  p.in_channels = static_cast<int>(problem.in_channels);
  p.out_channels = static_cast<int>(problem.out_channels);
  for (int axis = 0; axis < 3; ++axis) {
    p.input_extent[axis] = static_cast<int>(problem.input[axis]);
    p.output_extent[axis] = static_cast<int>(output[axis]);
    p.kernel[axis] = static_cast<int>(problem.kernel[axis]);
    p.stride[axis] = static_cast<int>(problem.stride[axis]);
    p.padding[axis] = static_cast<int>(problem.padding[axis]);
    p.cells[axis] = c.cells[axis];
    p.tiles[axis] = c.tiles[axis];
  }
  p.items = static_cast<int>(problem.batch) * c.tiles[0] * c.tiles[1] * c.tiles[2];
  for (int axis = 0; axis < 2; ++axis) {
    p.shifts[axis] = shifts(p.kernel[axis], p.stride[axis]);
    p.first_cell[axis] = p.padding[axis] / p.stride[axis];
    p.box_lines[axis] = p.cells[axis] + p.shifts[axis] - 1;
  }
  // - floor((kernel - 1 - padding) / stride)
  const int last = p.kernel[2] - 1 - p.padding[2];
  p.least_shift_w = last >= 0 ? -(last / p.stride[2]) : (p.stride[2] - 1 - last) / p.stride[2];
  p.line_rows = c.line_rows;
  p.all_cells_w = (p.output_extent[2] + p.stride[2] - 1) / p.stride[2];
  p.runs = (p.cells[2] + 31) / 32;
  p.run_divisor = reciprocal(p.runs);
  p.part_lines = c.part_lines;
  p.parts = c.parts;
  p.column_tiles = c.column_tiles;
  p.block_columns = c.block_columns;
  p.steps = c.steps;
  p.chunks = c.chunks;
  p.stages = c.stages;
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
  p.channels_last = call.description.output == Layout::ndhwc;
  const int64_t positions = int64_t{p.box_lines[0]} * p.box_lines[1] * p.line_rows;
  const int channels = p.steps * step_channels(call.description.precision);
  p.rows = c.rows && rows_aligned(operands.input, problem.batch, problem.input, size);
  p.pitch = static_cast<uint32_t>(p.rows ? row_pitch(p.steps) : plane_pitch(positions, size));
  p.stage_bytes = static_cast<uint32_t>(p.pitch * (p.rows ? positions : channels));
  p.whole_loads = p.rows || lines_aligned(operands.input, problem, size);
  p.row_divisor = reciprocal(p.line_rows);
  // A cell's outputs: those of its out channels too in NDHWC, where instances hold 1 or 2.
  const int64_t outs = p.channels_last ? problem.out_channels : 1;
  const int64_t bytes = outs * problem.stride[2] * size;
  const int64_t line_bytes = output[2] * outs * size, unit = std::min<int64_t>(bytes, 16);
  p.whole_stores = (outs & (outs - 1)) == 0 && line_bytes % unit == 0 &&
                   reinterpret_cast<uintptr_t>(p.output) % 16 == 0;
  return p;
}

template <Precision kPrecision>
void run(const Call& call) {
  const Params p = make_params(call);
  const Kernel kernel = p.rows ? kernel_of<kPrecision, true>(p.column_tiles)
                               : kernel_of<kPrecision, false>(p.column_tiles);
  const auto bytes = static_cast<int>(call.config.shared - kStaticBytes);
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
        "column_gemm shared memory");
  const auto blocks = static_cast<unsigned>(std::min(p.items, call.device.num_sms));
  kernel<<<blocks, kThreads, bytes, call.stream>>>(p);
  check(cudaGetLastError(), "column_gemm kernel");
}

}  // namespace convt3d::cuda::column_gemm
