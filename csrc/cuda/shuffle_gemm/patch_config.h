// SPDX-License-Identifier: BSD-3-Clause
// What is chosen for grad_input by whole patches (patch_kernel.cuh). Plain C++: the planner is
// built without CUDA.
#pragma once
#include <array>
#include <cstdint>
#include <string>

#include "plan/description.h"

namespace convt3d::cuda::shuffle_gemm {

struct PatchConfig {
  int columns;             // in_channels of a tile
  std::array<int, 4> box;  // positions of a tile: n, d, h, w
  int merged;              // NCDHW: axes that are one with w in the tensor map: h, and d
  int64_t tiles, slices;   // of positions; of columns, of which a block keeps to one
  int64_t walkers;         // blocks of a slice; they share its tiles
  int64_t splits;          // of K: blocks of a cluster that share a tile
  int line_chunks;         // 128-byte chunks of K in a line (td, th) of a patch; NCDHW: all
  int chunks;              // in all
  bool resident;           // the slice's weights stay in shared memory
  int stages;
  int64_t shared_bytes;
};

// Whether there is a kernel for such a call, if its tensors are aligned.
bool patches_fit(const Description& description, const Device& device);
PatchConfig choose_patches(const Description& description, const Device& device);
std::string to_string(const PatchConfig& config);

}  // namespace convt3d::cuda::shuffle_gemm
