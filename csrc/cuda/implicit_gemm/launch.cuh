// SPDX-License-Identifier: BSD-3-Clause
// From a call to its launches; instances/ has one explicit instantiation per precision.
#pragma once
#include <algorithm>
#include <stdexcept>

#include "cuda/common/cuda_check.h"
#include "cuda/implicit_gemm/call.h"
#include "cuda/implicit_gemm/kernel.cuh"
#include "cuda/implicit_gemm/weight_pack.cuh"
#include "geometry/residue.h"

namespace convt3d::cuda::implicit_gemm {

inline int ceil_div(int64_t a, int64_t b) { return static_cast<int>((a + b - 1) / b); }

// Whether a position's channels are contiguous, and every position starts on 16 bytes.
inline bool rows_aligned(const TensorView& view, int64_t element_bytes) {
  if (view.stride[1] != 1 || reinterpret_cast<uintptr_t>(view.data) % 16 != 0) return false;
  return std::all_of(view.stride.begin(), view.stride.end(), [&](const int64_t& stride) {
    return &stride == &view.stride[1] || stride * element_bytes % 16 == 0;
  });
}

inline Axis make_axis(const Problem& problem, int axis, int box) {
  Axis result{};
  int taps = 0;
  int64_t most = 0, first = INT64_MAX, last = INT64_MIN;
  for (int64_t r = 0; r < problem.stride[axis]; ++r) {
    const AxisResidue residue = axis_residue(problem, axis, r);
    result.residue[r] = {
        static_cast<int>(residue.first_output), static_cast<int>(residue.num_outputs),
        static_cast<int>(residue.first_tap),    static_cast<int>(residue.num_taps),
        static_cast<int>(residue.first_input),  taps};
    taps += static_cast<int>(residue.num_taps);
    result.input_step = static_cast<int>(residue.input_step);
    result.tap_step = static_cast<int>(residue.tap_step);
    most = std::max(most, residue.num_outputs);
    if (residue.num_taps == 0) continue;
    first = std::min(first, residue.first_input - (residue.num_taps - 1) * residue.input_step);
    last = std::max(last, residue.first_input);
  }
  result.stride = static_cast<int>(problem.stride[axis]);
  result.dilation = static_cast<int>(problem.dilation[axis]);
  result.kernel = static_cast<int>(problem.kernel[axis]);
  result.input = static_cast<int>(problem.input[axis]);
  result.tiles = ceil_div(most, box);
  result.halo_first = static_cast<int>(first);
  result.halo = box + static_cast<int>(last - first);
  return result;
}

inline Params make_params(const Call& call) {
  const Problem& problem = call.description.problem;
  const Operands& operands = call.operands;
  const Config& config = call.config;
  const int64_t bytes = element_bytes(call.description.precision);
  Params p{};
  p.input = operands.input.data;
  p.weight = operands.weight.data;
  p.output = operands.output.data;
  p.bias = operands.bias;
  p.bias_stride = operands.bias_stride;
  p.packed = static_cast<const unsigned char*>(call.workspace);
  std::copy(operands.input.stride.begin(), operands.input.stride.end(), p.input_stride);
  std::copy(operands.weight.stride.begin(), operands.weight.stride.end(), p.weight_stride);
  std::copy(operands.output.stride.begin(), operands.output.stride.end(), p.output_stride);
  std::copy(config.box.begin(), config.box.end(), p.box);
  p.batch = static_cast<int>(problem.batch);
  p.in_channels = static_cast<int>(problem.in_channels);
  p.out_channels = static_cast<int>(problem.out_channels);
  p.column_tiles = ceil_div(problem.out_channels, config.columns);
  p.chunks = config.chunks;
  p.input_stages = config.input_stages;
  p.weight_stages = config.weight_stages;
  p.weight_group = config.weight_group;
  p.taps = static_cast<int>(volume(problem.kernel));
  p.residues = static_cast<int>(volume(problem.stride));
  p.item_residues = config.all_residues ? p.residues : 1;
  p.vectorized = rows_aligned(operands.input, bytes);
  p.whole_stores = rows_aligned(operands.output, bytes);
  int64_t items = int64_t{ceil_div(problem.batch, config.box[0])} * p.column_tiles *
                  (p.residues / p.item_residues);
  p.halo_rows = config.box[0];
  for (int a = 0; a < 3; ++a) {
    p.axis[a] = make_axis(problem, a, config.box[1 + a]);
    p.halo_rows *= p.axis[a].halo;
    items *= p.axis[a].tiles;
  }
  if (items > INT32_MAX) throw std::runtime_error("convt3d: implicit_gemm has too many tiles");
  p.items = static_cast<unsigned>(items);
  return p;
}

template <Precision kPrecision>
void pack_weight(const Call& call, const Params& p) {
  constexpr int kThreads = 256;
  const int64_t pieces =
      int64_t{p.column_tiles} * p.taps * p.chunks * call.config.steps * call.config.columns * 2;
  const int64_t blocks = std::min<int64_t>((pieces + kThreads - 1) / kThreads, INT32_MAX);
  pack_kernel<kPrecision><<<static_cast<unsigned>(blocks), kThreads, 0, call.stream>>>(
      p, call.config.columns, call.config.steps, static_cast<unsigned char*>(call.workspace));
  check(cudaGetLastError(), "implicit_gemm pack_kernel");
}

using Kernel = void (*)(Params);

template <Precision kPrecision, int kColumns>
Kernel kernel_of_steps(int steps) {
  switch (steps) {
    case 1:
      return implicit_gemm_kernel<kPrecision, kColumns, 1>;
    case 2:
      return implicit_gemm_kernel<kPrecision, kColumns, 2>;
    case 3:
      if constexpr (is_built(kColumns, 3)) return implicit_gemm_kernel<kPrecision, kColumns, 3>;
      return nullptr;
    default:
      if constexpr (is_built(kColumns, 4)) return implicit_gemm_kernel<kPrecision, kColumns, 4>;
      return nullptr;
  }
}

template <Precision kPrecision>
Kernel kernel_of(const Config& config) {
  switch (config.columns) {
    case 16:
      return kernel_of_steps<kPrecision, 16>(config.steps);
    case 32:
      return kernel_of_steps<kPrecision, 32>(config.steps);
    case 48:
      return kernel_of_steps<kPrecision, 48>(config.steps);
    case 64:
      return kernel_of_steps<kPrecision, 64>(config.steps);
    case 96:
      return kernel_of_steps<kPrecision, 96>(config.steps);
    default:
      return kernel_of_steps<kPrecision, 128>(config.steps);
  }
}

template <Precision kPrecision>
void run(const Call& call) {
  const Params p = make_params(call);
  pack_weight<kPrecision>(call, p);
  const Kernel kernel = kernel_of<kPrecision>(call.config);
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes),
        "implicit_gemm shared memory");
  const int threads = call.config.columns <= 64 ? Roles<64>::kThreads : Roles<128>::kThreads;
  const auto blocks = static_cast<unsigned>(std::min<int64_t>(p.items, call.device.num_sms));
  kernel<<<blocks, threads, kSharedBytes, call.stream>>>(p);
  check(cudaGetLastError(), "implicit_gemm kernel");
}

}  // namespace convt3d::cuda::implicit_gemm
