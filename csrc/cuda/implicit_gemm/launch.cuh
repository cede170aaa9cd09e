// SPDX-License-Identifier: BSD-3-Clause
// From a call to its launches; instances/ has one explicit instantiation per precision.
#pragma once
#include <algorithm>
#include <stdexcept>
#include <utility>

#include "cuda/common/alignment.h"
#include "cuda/common/bias_fill.h"
#include "cuda/common/cuda_check.h"
#include "cuda/common/dynamic_shared.h"
#include "cuda/implicit_gemm/call.h"
#include "cuda/implicit_gemm/kernel.cuh"
#include "cuda/implicit_gemm/weight_pack.cuh"
#include "geometry/ceil_div.h"
#include "geometry/residue.h"

namespace convt3d::cuda::implicit_gemm {

// grad_input's axis whose residues are read together.
inline Axis make_split_axis(const Problem& problem, int axis, int box) {
  const auto stride = static_cast<int>(problem.stride[axis]);
  Axis result{};
  Residue& all = result.residue[0];
  all.num_inputs = static_cast<int>(problem.output()[axis]);
  all.num_outputs = static_cast<int>(problem.input[axis]);
  all.num_taps = static_cast<int>(problem.kernel[axis]);
  all.halo_first = static_cast<int>(-problem.padding[axis]);
  result.shift_step = static_cast<int>(problem.dilation[axis]);
  all.halo = stride * (box - 1) + result.shift_step * (all.num_taps - 1) + 1;
  result.split = stride;
  result.halo = static_cast<int>(ceil_div(all.halo, stride) * stride);
  result.residues = 1;
  result.stride = 1;
  result.dilation = result.shift_step;
  result.tap_step = 1;
  result.kernel = all.num_taps;
  result.tiles = static_cast<int>(ceil_div(all.num_outputs, box));
  return result;
}

// `read` and `written` are the strides of the axis in the two activations.
inline Axis make_axis(const Problem& problem, int axis, int box, bool grad_input, int64_t read,
                      int64_t written) {
  const int64_t stride = problem.stride[axis];
  Axis result{};
  int64_t most = 0, first = INT64_MAX, last = INT64_MIN;
  int taps = 0;
  for (int64_t r = 0; r < stride; ++r) {
    const AxisResidue from = axis_residue(problem, axis, r);
    const int64_t reach = (from.num_taps - 1) * from.input_step;
    most = std::max(most, grad_input ? problem.input[axis] : from.num_outputs);
    if (from.num_taps == 0 && !grad_input) continue;  // bias_fill.h
    result.place[r] = static_cast<unsigned char>(result.residues);
    Residue& to = result.residue[result.residues++];
    to.first_tap = static_cast<int>(from.first_tap);
    to.num_taps = static_cast<int>(from.num_taps);
    to.taps_before = taps;
    taps += to.num_taps;
    if (grad_input) {
      to.input_offset = from.first_output * read;
      to.num_inputs = static_cast<int>(from.num_outputs);
      to.num_outputs = static_cast<int>(problem.input[axis]);
      // The output class read at position i: o = first_output + stride * (i - first_input + j).
      to.halo_first = static_cast<int>(-from.first_input);
      to.halo = from.num_taps > 0 ? box + static_cast<int>(reach) : 0;
    } else {
      to.output_offset = from.first_output * written;
      to.num_inputs = static_cast<int>(problem.input[axis]);
      to.num_outputs = static_cast<int>(from.num_outputs);
      to.shift = static_cast<int>(from.first_input);  // less halo_first, below
      first = std::min(first, from.first_input - reach);
      last = std::max(last, from.first_input);
    }
    result.halo = std::max(result.halo, to.halo);
    result.shift_step = static_cast<int>(grad_input ? from.input_step : -from.input_step);
    result.tap_step = static_cast<int>(from.tap_step);
  }
  if (!grad_input) {
    result.halo = box + static_cast<int>(last - first);
    for (int r = 0; r < result.residues; ++r) {
      result.residue[r].halo_first = static_cast<int>(first);
      result.residue[r].halo = result.halo;
      result.residue[r].shift -= static_cast<int>(first);
    }
  }
  result.stride = static_cast<int>(stride);
  result.split = 1;
  result.dilation = static_cast<int>(problem.dilation[axis]);
  result.kernel = static_cast<int>(problem.kernel[axis]);
  result.tiles = static_cast<int>(ceil_div(most, box));
  return result;
}

inline Params make_params(const Call& call) {
  const Problem& problem = call.description.problem;
  const Operands& operands = call.operands;
  const Config& config = call.config;
  const int64_t bytes = element_bytes(call.description.precision);
  const bool grad_input = call.description.direction == Direction::grad_input;
  const TensorView& read = grad_input ? operands.output : operands.input;
  const TensorView& written = grad_input ? operands.input : operands.output;
  Params p{};
  p.input = read.data;
  p.weight = operands.weight.data;
  p.output = written.data;
  p.bias = operands.bias;
  p.bias_stride = operands.bias_stride;
  p.packed = static_cast<const unsigned char*>(call.workspace);
  if (config.chain > 0) {
    p.parking.memory = reinterpret_cast<float*>(static_cast<unsigned char*>(call.workspace) +
                                                packed_weight_bytes(call.description, config));
  }
  p.parking.limit = config.chain;
  std::copy(read.stride.begin(), read.stride.end(), p.input_stride);
  std::copy(operands.weight.stride.begin(), operands.weight.stride.end(), p.weight_stride);
  std::copy(written.stride.begin(), written.stride.end(), p.output_stride);
  std::copy(config.box.begin(), config.box.end(), p.box);
  p.batch = static_cast<int>(problem.batch);
  p.groups = static_cast<int>(problem.groups);
  p.in_channels = static_cast<int>(problem.in_channels_per_group());
  p.out_channels = static_cast<int>(problem.out_channels_per_group());
  p.weight_group_stride = p.in_channels * p.weight_stride[0];
  if (grad_input) {
    std::swap(p.weight_stride[0], p.weight_stride[1]);
    std::swap(p.in_channels, p.out_channels);
  }
  p.column_tiles = static_cast<int>(ceil_div(p.out_channels, config.columns));
  p.chunks = config.chunks;
  p.input_stages = config.input_stages;
  p.weight_stages = config.weight_stages;
  p.weight_group = config.weight_group;
  p.taps = static_cast<int>(volume(problem.kernel));
  p.residues = 1;
  p.halo_rows = config.box[0];
  int64_t items = ceil_div(problem.batch, config.box[0]) * p.column_tiles * p.groups;
  for (int a = 0; a < 3; ++a) {
    if (a >= 3 - config.split_axes) {
      p.axis[a] = make_split_axis(problem, a, config.box[1 + a]);
    } else {
      p.axis[a] = make_axis(problem, a, config.box[1 + a], grad_input, read.stride[2 + a],
                            written.stride[2 + a]);
      (grad_input ? p.input_stride : p.output_stride)[2 + a] *= problem.stride[a];
    }
    p.residues *= p.axis[a].residues;
    p.halo_rows *= p.axis[a].halo;
    items *= p.axis[a].tiles;
  }
  p.item_residues = config.all_residues ? p.residues : 1;
  p.sum_residues = grad_input ? p.residues : 1;
  items *= p.residues / p.item_residues;
  // Groups start at multiples of their channels.
  const auto aligned = [&](const TensorView& view, const Extent3& extent, int channels) {
    return rows_aligned(view, problem.batch, extent, bytes) &&
           (p.groups == 1 || channels * bytes % 16 == 0);
  };
  p.vectorized = aligned(read, grad_input ? problem.output() : problem.input, p.in_channels);
  p.whole_stores = aligned(written, grad_input ? problem.input : problem.output(), p.out_channels);
  if (items > INT32_MAX) throw std::runtime_error("convt3d: implicit_gemm has too many tiles");
  p.items = static_cast<unsigned>(items);
  return p;
}

// What comes before the product.
template <Precision kPrecision>
void prepare(const Call& call, const Params& p) {
  if (fills_with_bias(call.description)) {
    fill_with_bias(call.description, call.operands, call.stream);
  }
  constexpr int kThreads = 256;
  const int64_t pieces = int64_t{p.groups} * p.column_tiles * p.taps * p.chunks *
                         call.config.steps * call.config.columns * 2;
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
  prepare<kPrecision>(call, p);
  const Kernel kernel = kernel_of<kPrecision>(call.config);
  allow_shared_memory(kernel, "implicit_gemm shared memory");
  const int threads = call.config.columns <= 64 ? Roles<64>::kThreads : Roles<128>::kThreads;
  const auto blocks = static_cast<unsigned>(std::min<int64_t>(p.items, call.device.num_sms));
  kernel<<<blocks, threads, kSharedBytes, call.stream>>>(p);
  check(cudaGetLastError(), "implicit_gemm kernel");
}

}  // namespace convt3d::cuda::implicit_gemm
