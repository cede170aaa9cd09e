// SPDX-License-Identifier: BSD-3-Clause
// From a call to its launch; instances/ has one explicit instantiation per element type and
// mapping.
#pragma once
#include <algorithm>
#include <array>
#include <numeric>
#include <type_traits>

#include "cuda/common/cuda_check.h"
#include "cuda/common/dynamic_shared.h"
#include "cuda/few_channels/call.h"
#include "cuda/few_channels/kernel.cuh"
#include "cuda/few_channels/memory.h"
#include "cuda/few_channels/scatter_kernel.cuh"
#include "cuda/few_channels/taps_launch.cuh"

namespace convt3d::cuda::few_channels {

inline Taps make_taps(const Problem& p, int axis) {
  const int64_t stride = p.stride[axis], dilation = p.dilation[axis];
  Taps taps{};
  taps.tap_step = static_cast<int>(stride / std::gcd(stride, dilation));
  taps.shift_step = static_cast<int>(dilation * taps.tap_step / stride);
  for (int64_t residue = 0; residue < stride; ++residue) {
    for (int64_t tap = 0; tap < std::min<int64_t>(p.kernel[axis], taps.tap_step); ++tap) {
      if ((dilation * tap - residue) % stride != 0) continue;
      taps.first_tap[residue] = static_cast<int>(tap);
      taps.num_taps[residue] = static_cast<int>((p.kernel[axis] - 1 - tap) / taps.tap_step + 1);
      taps.first_shift[residue] = static_cast<int>((dilation * tap - residue) / stride);
      break;
    }
  }
  return taps;
}

// Cells that hold an element of the result.
inline int64_t count_cells(const Description& description, int axis) {
  const Problem& p = description.problem;
  if (description.direction == Direction::grad_input) return p.input[axis];
  const int64_t last = p.output()[axis] - 1 + p.padding[axis];
  return last / p.stride[axis] - p.padding[axis] / p.stride[axis] + 1;
}

// grad_input: of the outer axis (`classes` false) all taps in order; of the run axis those of each
// class modulo tap_step.
inline Taps make_gathered_taps(const Problem& p, int axis, bool classes) {
  const int64_t stride = p.stride[axis], dilation = p.dilation[axis];
  const int64_t step = classes ? stride / std::gcd(stride, dilation) : 1;
  Taps taps{};
  taps.tap_step = static_cast<int>(step);
  taps.shift_step = static_cast<int>(classes ? dilation * step / stride : -dilation);
  for (int64_t tap = 0; tap < std::min<int64_t>(p.kernel[axis], step); ++tap) {
    taps.first_tap[tap] = static_cast<int>(tap);
    taps.num_taps[tap] = static_cast<int>((p.kernel[axis] - 1 - tap) / step + 1);
    taps.first_shift[tap] = static_cast<int>(p.padding[axis] - dilation * tap);
  }
  return taps;
}

// All but what a mapping decides. `axes`: the order {outer, run, w}.
inline FewChannels describe(const Call& call, const std::array<int, 3>& axes) {
  const Problem& problem = call.description.problem;
  const Operands& operands = call.operands;
  const bool gather = call.description.direction == Direction::grad_input;
  const TensorView& source = gather ? operands.output : operands.input;
  const TensorView& result = gather ? operands.input : operands.output;
  const int64_t element = element_bytes(call.description.precision);
  FewChannels p{};
  p.input = source.data;
  p.weight = operands.weight.data;
  p.output = result.data;
  p.bias = operands.bias;
  p.bias_stride = operands.bias_stride;
  for (int dim = 0; dim < 2; ++dim) {
    p.input_bytes[dim] = source.stride[dim] * element;
    p.weight_stride[dim] = operands.weight.stride[gather ? 1 - dim : dim];
    p.output_stride[dim] = result.stride[dim];
  }
  p.weight_group = problem.in_channels_per_group() * operands.weight.stride[0];
  const Extent3 output = problem.output();
  for (int i = 0; i < 3; ++i) {
    const int axis = axes[i];
    p.input_bytes[2 + i] = source.stride[2 + axis] * element;
    p.weight_stride[2 + i] = operands.weight.stride[2 + axis];
    p.output_stride[2 + i] = result.stride[2 + axis];
    p.input_extent[i] = static_cast<int>(gather ? output[axis] : problem.input[axis]);
    p.output_extent[i] = static_cast<int>(gather ? problem.input[axis] : output[axis]);
    p.kernel[i] = static_cast<int>(problem.kernel[axis]);
    p.stride[i] = static_cast<int>(gather ? 1 : problem.stride[axis]);
    p.padding[i] = static_cast<int>(gather ? 0 : problem.padding[axis]);
    p.scale[i] = static_cast<int>(gather ? problem.stride[axis] : 1);
    p.first_cell[i] = p.padding[i] / p.stride[i];
    p.cells[i] = static_cast<int>(count_cells(call.description, axis));
    if (i < 2) {
      p.taps[i] = gather ? make_gathered_taps(problem, axis, i == 1) : make_taps(problem, axis);
    }
  }
  // A row of one element may have any stride; kernels step by whole elements there.
  if (p.input_extent[2] == 1) p.input_bytes[4] = element;
  p.base_w = static_cast<int>(problem.padding[2]);
  p.row_bytes = p.scale[1] * p.input_bytes[3];
  p.dilation_w = static_cast<int>(problem.dilation[2]);
  p.groups = static_cast<int>(problem.groups);
  p.in_channels =
      static_cast<int>(gather ? problem.out_channels_per_group() : problem.in_channels_per_group());
  p.out_channels =
      static_cast<int>(gather ? problem.in_channels_per_group() : problem.out_channels_per_group());
  p.lanes = call.config.lanes;
  p.tile_outs = call.config.tile_outs;
  p.tiles_per_group = static_cast<int>(ceil_div(p.out_channels, call.config.outs));
  p.by_tile_outs = make_divisor(p.tile_outs);
  p.by_ins = make_divisor(p.in_channels);
  p.by_outs = make_divisor(p.out_channels);
  for (int i = 0; i < 3; ++i) p.by_kernel[i] = make_divisor(p.kernel[i]);
  const bool depthwise = call.config.mapping == Mapping::depthwise;
  p.long_loads = aligned_channels(source, element, call.config.ins) &&
                 (!depthwise || problem.groups * p.in_channels % call.config.ins == 0);
  p.long_stores = aligned_channels(result, element, call.config.outs);
  return p;
}

template <typename Kernel>
void launch_blocks(const Call& call, Kernel kernel, int64_t blocks, int threads,
                   const FewChannels& p) {
  const int shared = static_cast<int>(call.config.shared);
  allow_shared_memory(kernel, "few_channels attribute");
  kernel<<<static_cast<unsigned>(blocks), threads, shared, call.stream>>>(p);
  check(cudaGetLastError(), "few_channels kernel");
}

template <typename I>
void launch_instance(const Call& call) {
  const Problem& problem = call.description.problem;
  // The run lies on the axis that it fills best.
  const auto padded = [&](int axis) {
    const int64_t cells = count_cells(call.description, axis);
    return static_cast<double>(ceil_div(cells, I::kCells)) / static_cast<double>(cells);
  };
  const int run_axis = padded(0) < padded(1) ? 0 : 1;
  FewChannels p = describe(call, {1 - run_axis, run_axis, 2});
  p.cells[1] = static_cast<int>(ceil_div(p.cells[1], I::kCells));
  const int64_t positions = problem.batch * p.cells[0] * p.cells[1] * p.cells[2];
  const int64_t items =
      ceil_div(positions, kThreads / p.lanes) * int64_t{p.stride[0]} * p.stride[1];
  p.positions = static_cast<int>(positions);
  for (int i = 0; i < 3; ++i) p.by_cells[i] = make_divisor(p.cells[i]);
  for (int i = 0; i < 2; ++i) p.by_residues[i] = make_divisor(p.stride[i]);
  p.items = static_cast<int>(items);
  const int64_t wanted =
      call.device.num_sms *
      (call.config.shared <= kCheapWeights ? kBlocksPerSm : kResidentBlocksPerSm);
  const int64_t blocks = std::max<int64_t>(1, std::min(items, ceil_div(wanted, call.config.tiles)));
  p.blocks_per_tile = static_cast<int>(blocks);
  launch_blocks(call, few_channels_kernel<I>, blocks * call.config.tiles, kThreads, p);
}

// The box of cells that covers the call with the fewest blocks; its positions are one more on each
// axis.
template <typename I>
void launch_scatter(const Call& call) {
  FewChannels p = describe(call, {0, 1, 2});
  int64_t fewest = INT64_MAX;
  for (int d = 1; (d + 1) * 4 <= kPositions; ++d) {
    for (int h = 1; (d + 1) * (h + 1) * 2 <= kPositions; ++h) {
      const int w = kPositions / ((d + 1) * (h + 1)) - 1;
      const int64_t blocks =
          ceil_div(p.cells[0], d) * ceil_div(p.cells[1], h) * ceil_div(p.cells[2], w);
      if (blocks >= fewest) continue;
      fewest = blocks;
      p.tile_cells[0] = d;
      p.tile_cells[1] = h;
      p.tile_cells[2] = w;
    }
  }
  for (int i = 0; i < 3; ++i) {
    p.by_tile_cells[i] = make_divisor(p.tile_cells[i]);
    p.by_extent[i] = make_divisor(p.tile_cells[i] + 1);
    p.by_tiles[i] = make_divisor(ceil_div(p.cells[i], p.tile_cells[i]));
  }
  p.by_channel_tiles = make_divisor(call.config.tiles);
  p.items = static_cast<int>(fewest * call.description.problem.batch);
  constexpr int kResident = I::kShares <= 32 ? 2 : 1;  // blocks on an SM: registers
  const int64_t wanted = ceil_div(call.device.num_sms * kResident, call.config.tiles);
  const int64_t blocks = std::min<int64_t>(p.items, wanted);
  p.blocks_per_tile = static_cast<int>(blocks);
  launch_blocks(call, scatter_kernel<I>, blocks * call.config.tiles, kScatterThreads, p);
}

template <typename T, int kKernel, int kOuts>
void run_scatter(const Call& call) {
  const bool whole = call.config.ins == 4 && aligned_channels(call.operands.input, sizeof(T), 4);
  return whole ? launch_scatter<ScatterInstance<T, kKernel, kOuts, true>>(call)
               : launch_scatter<ScatterInstance<T, kKernel, kOuts, false>>(call);
}

// Three taps on w are unrolled where that saves instructions, and two of an upsampling by two.
template <typename T, Mapping kMapping, Rows kRows, int kStrideW, int kOuts, int kIns>
void run_taps(const Call& call) {
  if constexpr (kMapping == Mapping::planes && kStrideW == 2 && kOuts == 1) {
    if (call.config.taps_w == 2) {
      return launch_instance<Instance<T, kMapping, kRows, kStrideW, 2, kOuts, kIns>>(call);
    }
  }
  if constexpr (kMapping == Mapping::planes && kRows == Rows::taps && kOuts == 8) {
    if (call.config.taps_w == 4) {
      return launch_instance<Instance<T, kMapping, kRows, kStrideW, 4, kOuts, kIns>>(call);
    }
  }
  if constexpr (unrolls_taps(kMapping, kRows == Rows::taps, kIns)) {
    if (call.config.taps_w == 3) {
      return launch_instance<Instance<T, kMapping, kRows, kStrideW, 3, kOuts, kIns>>(call);
    }
  }
  launch_instance<Instance<T, kMapping, kRows, kStrideW, 0, kOuts, kIns>>(call);
}

template <typename T, Mapping kMapping, int kOuts, int kIns>
void run_width(const Call& call) {
  return call.description.problem.stride[2] == 1
             ? run_taps<T, kMapping, Rows::residues, 1, kOuts, kIns>(call)
             : run_taps<T, kMapping, Rows::residues, 2, kOuts, kIns>(call);
}

template <typename T, Mapping kMapping, int kOuts>
void run_ins(const Call& call) {
  return call.config.ins == 4 ? run_width<T, kMapping, kOuts, 4>(call)
                              : run_width<T, kMapping, kOuts, 1>(call);
}

template <typename T, Mapping kMapping>
void run(const Call& call) {
  const int outs = call.config.outs;
  if constexpr (kMapping == Mapping::planes) {
    if (outs == 1) return run_width<T, kMapping, 1, 1>(call);
    if (outs == 2) return run_width<T, kMapping, 2, 1>(call);
    if (outs == 4) return run_width<T, kMapping, 4, 1>(call);
    return run_width<T, kMapping, 8, 1>(call);
  } else if constexpr (kMapping == Mapping::scatter) {
    if (call.config.taps_w == 4) return run_scatter<T, 4, 1>(call);
    if (outs == 1) return run_scatter<T, 3, 1>(call);
    return run_scatter<T, 3, 2>(call);
  } else if constexpr (kMapping == Mapping::depthwise) {
    if (call.config.ins == 4) return run_width<T, kMapping, 4, 4>(call);
    return run_width<T, kMapping, 4, 8>(call);
  } else {
    if (outs == 1) return run_ins<T, kMapping, 1>(call);
    if (outs == 2) return run_ins<T, kMapping, 2>(call);
    if constexpr (kMapping == Mapping::channels) {
      if (outs == 8) return run_width<T, kMapping, 8, 1>(call);
    }
    return run_ins<T, kMapping, 4>(call);
  }
}

template <typename T, Mapping kMapping, int kOuts, int kIns>
void gather(const Call& call) {
  run_taps<T, kMapping, Rows::taps, 1, kOuts, kIns>(call);
}

template <typename T>
void run_gather(const Call& call) {
  const int outs = call.config.outs, ins = call.config.ins;
  switch (call.config.mapping) {
    case Mapping::planes:
      if (outs == 1) return gather<T, Mapping::planes, 1, 1>(call);
      if (outs == 2) return gather<T, Mapping::planes, 2, 1>(call);
      if (outs == 4) return gather<T, Mapping::planes, 4, 1>(call);
      return gather<T, Mapping::planes, 8, 1>(call);
    case Mapping::channels:
      if (outs == 1) return gather<T, Mapping::channels, 1, 1>(call);
      if (outs == 2) return gather<T, Mapping::channels, 2, 1>(call);
      if (outs == 4 && ins == 1) return gather<T, Mapping::channels, 4, 1>(call);
      if (outs == 4) return gather<T, Mapping::channels, 4, 4>(call);
      if (ins == 1) return gather<T, Mapping::channels, 8, 1>(call);
      return gather<T, Mapping::channels, 8, 4>(call);
    case Mapping::depthwise:
      if (ins == 4) return gather<T, Mapping::depthwise, 4, 4>(call);
      return gather<T, Mapping::depthwise, 4, 8>(call);
    case Mapping::reduction:
      if (outs == 1) return gather<T, Mapping::reduction, 1, 4>(call);
      if (ins == 4) return gather<T, Mapping::reduction, 4, 4>(call);
      return gather<T, Mapping::reduction, 4, 1>(call);
    case Mapping::taps:
      return run_long_sums<T>(call);
    case Mapping::scatter:
      break;  // forward only
  }
}

}  // namespace convt3d::cuda::few_channels
