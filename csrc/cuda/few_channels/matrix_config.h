// SPDX-License-Identifier: BSD-3-Clause
// What is chosen for gradients on the tensor cores. Plain C++: the planner is built without CUDA.
#pragma once
#include <cstdint>
#include <string>

#include "plan/description.h"

namespace convt3d::cuda::few_channels {

struct MatrixConfig {
  int blocks;                    // chunks of in channels of a thread block, at most
  Extent3 tile, halo;            // see matrix_tile.cuh
  int64_t columns, taps, pairs;  // pairs of taps
  int64_t tap_slices;            // grad_weight: warps side by side on the pairs
  int64_t in_tiles, out_chunks;  // of a group
  int64_t weight_tiles;          // parts of the weights that blocks have of their own
  Extent3 boxes;                 // boxes of positions of a batch item
  int64_t splits;                // blocks that share the boxes
  int64_t buffers;               // grad_input: parts of grad_output in shared memory; 2 in 32 bits
  int64_t march_pairs;           // grad_input: of matrix_march_kernel.cuh; 0: the other kernel
  int64_t shared;                // bytes
};

// Chunks of in channels of a thread block where a group has more than one: registers.
constexpr int matrix_blocks(int64_t element_bytes) { return element_bytes == 4 ? 2 : 4; }

// Whether the call is for the tensor cores: gradients of 16-bit tensors and grad_input of float32,
// but for depthwise and its like, where box and weights fit shared memory.
bool matrix_fits(const Description& description, const Device& device);
MatrixConfig choose_matrix(const Description& description, const Device& device);
std::string to_string(const MatrixConfig& config);

}  // namespace convt3d::cuda::few_channels
