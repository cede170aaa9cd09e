// SPDX-License-Identifier: BSD-3-Clause
// From a call of the tensor cores' gradients to its launches; instances/ has one explicit
// instantiation per precision.
#pragma once
#include "cuda/common/cuda_check.h"
#include "cuda/common/dynamic_shared.h"
#include "cuda/few_channels/call.h"
#include "cuda/few_channels/matrix_input_kernel.cuh"
#include "cuda/few_channels/matrix_march_kernel.cuh"
#include "cuda/few_channels/matrix_weight_kernel.cuh"
#include "cuda/few_channels/memory.h"
#include "cuda/few_channels/weight_parts.cuh"

namespace convt3d::cuda::few_channels {

// What matrix_march_kernel.cuh has beside the rest.
inline void describe_march(const MatrixCall& call, MatrixSums* p) {
  const MatrixConfig& config = call.config;
  const int64_t element = element_bytes(call.description.precision);
  p->march_pairs = static_cast<int>(config.march_pairs);
  const int64_t across = p->long_outputs ? p->block_groups * config.out_chunks
                         : element == 4  ? chunk_of(element)
                                         : 1;
  p->by_across = make_divisor(across);
  p->side = static_cast<int>(kMatrixThreads / across);
  p->halo_spread = make_spread(p->halo[2], p->halo[1], p->output_bytes, p->side);
}

inline MatrixSums describe_matrix(const MatrixCall& call) {
  const Problem& problem = call.description.problem;
  const MatrixConfig& config = call.config;
  const TensorView &input = call.operands.input, &output = call.operands.output;
  const int64_t element = element_bytes(call.description.precision);
  MatrixSums p{};
  static_cast<Axes&>(p) = make_axes(problem);
  p.input = p.result = input.data;
  p.output = output.data;
  p.weight = call.operands.weight.data;
  p.parts = static_cast<float*>(call.workspace);
  for (int dim = 0; dim < 5; ++dim) {
    p.input_stride[dim] = input.stride[dim];
    p.input_bytes[dim] = input.stride[dim] * element;
    p.output_bytes[dim] = output.stride[dim] * element;
    p.weight_stride[dim] = call.operands.weight.stride[dim];
  }
  for (int axis = 0; axis < 3; ++axis) {
    p.tile[axis] = static_cast<int>(config.tile[axis]);
    p.halo[axis] = static_cast<int>(config.halo[axis]);
    p.by_tile[axis] = make_divisor(p.tile[axis]);
    p.by_halo[axis] = make_divisor(p.halo[axis]);
    p.by_kernel[axis] = make_divisor(p.kernel[axis]);
    p.by_boxes[axis] = make_divisor(config.boxes[axis]);
  }
  p.ins = static_cast<int>(problem.in_channels_per_group());
  p.outs = static_cast<int>(problem.out_channels_per_group());
  p.in_tiles = static_cast<int>(config.in_tiles);
  p.out_chunks = static_cast<int>(config.out_chunks);
  p.columns = static_cast<int>(config.columns);
  p.taps = static_cast<int>(config.taps);
  p.pairs = static_cast<int>(config.pairs);
  p.tap_slices = static_cast<int>(config.tap_slices);
  p.boxes = static_cast<int>(problem.batch * volume(config.boxes));
  p.splits = static_cast<int>(config.splits);
  p.buffers = static_cast<int>(config.buffers);
  p.weights = problem.in_channels * p.outs * config.taps;
  p.by_stride_w = make_divisor(p.stride[2]);
  p.by_in_tiles = make_divisor(p.in_tiles);
  p.by_out_chunks = make_divisor(p.out_chunks);
  // Whole chunks only: nothing beside a group's channels is read. grad_input stores pairs.
  const bool stores = call.description.direction == Direction::grad_input;
  const int chunk = chunk_of(element), own = stores ? 2 : chunk;
  p.long_inputs = p.ins % own == 0 && aligned_channels(input, element, own);
  p.long_outputs = p.outs % chunk == 0 && aligned_channels(output, element, chunk);
  const bool quads = element == 2 && (stores || config.blocks == 1);  // else no registers
  p.quad_inputs = quads && !stores && !p.long_inputs && input.stride[4] == 1;
  p.quad_outputs = quads && !p.long_outputs && output.stride[4] == 1;
  // Sectors of memory: in 32 bits, grad_weight has all eight channels of a place side by side, and
  // grad_input two chunks in its two buffers; in 16 bits a block may have two groups.
  const int64_t of_block = problem.groups * p.in_tiles / config.weight_tiles;
  p.block_groups = static_cast<int>(std::max<int64_t>(1, of_block));
  const bool sectors = p.long_outputs && p.buffers == 2 && p.block_groups * p.out_chunks % 2 == 0;
  const int64_t chunks = stores ? (sectors ? 2 : 1) : p.block_groups * (kChunk / chunk);
  p.together = static_cast<int>(chunks);
  p.halo_units = static_cast<int>(p.quad_outputs ? ceil_div(p.halo[2], int64_t{4})
                                                 : p.halo[2] * int64_t{p.together});
  p.tile_units =
      static_cast<int>(p.quad_inputs ? ceil_div(p.tile[2], int64_t{4}) : p.tile[2] * chunks);
  p.halo_spread = make_spread(p.halo_units, p.halo[1], p.output_bytes);
  p.tile_spread = make_spread(p.tile_units, p.tile[1], p.input_bytes);
  if (config.march_pairs > 0) describe_march(call, &p);
  return p;
}

template <typename Kernel>
void launch_matrix(const MatrixCall& call, Kernel kernel, const MatrixSums& p) {
  const int shared = static_cast<int>(call.config.shared);
  allow_shared_memory(kernel, "few_channels matrix attribute");
  const auto blocks = static_cast<unsigned>(call.config.weight_tiles * call.config.splits);
  kernel<<<blocks, kMatrixThreads, shared, call.stream>>>(p);
  check(cudaGetLastError(), "few_channels matrix kernel");
}

template <Precision kPrecision>
void run_matrix(const MatrixCall& call) {
  using T = ElementOf<kPrecision>;
  const MatrixSums p = describe_matrix(call);
  const bool one = call.config.blocks == 1;
  if (call.description.direction == Direction::grad_input) {
    constexpr int kBlocks = matrix_blocks(sizeof(T));
    if constexpr (kPrecision != Precision::tf32) {
      if (call.config.march_pairs > 0) {
        return launch_matrix(
            call, one ? matrix_march_kernel<kPrecision, 1> : matrix_march_kernel<kPrecision, 2>, p);
      }
    }
    return launch_matrix(
        call, one ? matrix_input_kernel<kPrecision, 1> : matrix_input_kernel<kPrecision, kBlocks>,
        p);
  }
  if constexpr (kPrecision != Precision::tf32) {
    if constexpr (kPrecision == Precision::fp32) {
      launch_matrix(call, matrix_weight_kernel<T, 1>, p);  // see matrix_fits
    } else {
      launch_matrix(call, one ? matrix_weight_kernel<T, 1> : matrix_weight_kernel<T, 4>, p);
    }
    add_parts<T>(call.description.problem, call.operands.weight, call.workspace, call.config.splits,
                 {0, 1, 2}, call.stream);
  }
}

}  // namespace convt3d::cuda::few_channels
