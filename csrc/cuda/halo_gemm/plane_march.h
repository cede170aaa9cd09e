// SPDX-License-Identifier: BSD-3-Clause
// The other kernel of halo_gemm (plane_kernel.cuh): grad_input in 16 bits, TF32 and NDHWC, with a
// stride of 2 along w, 24 or 32 channels of grad_output, and all weights in shared memory.
#pragma once
#include <cstdint>
#include <string>

#include "plan/description.h"
#include "plan/operands.h"

namespace convt3d::cuda::halo_gemm {

struct PlaneConfig {
  int columns = 0;           // of wgmma: positions; 0 where this kernel is not for the problem
  int lines = 0, tiles = 0;  // of a tile, and tiles of a plane
  int pitch = 0, extra = 0;  // rows of a line, and zeros behind the last line
  int slot_bytes = 0, slots = 0;
  bool paired = false;              // both residues of w in a row of 128 bytes (plane_load.cuh)
  int weight_rows = 0, blocks = 0;  // rows of A, and blocks of 64 channels of grad_input
  int ranks = 0;                    // blocks of a cluster, which share a sum
  bool split = false;               // a stage has one residue of w
};

PlaneConfig choose_planes(const Description& description, const Device& device);
std::string to_string(const PlaneConfig& config);
// The workspace: the weight.
int64_t plane_block_bytes(const Description& description, const PlaneConfig& config);
int64_t plane_weight_bytes(const Description& description, const PlaneConfig& config);

// Whether what the description cannot tell suits: pointers and strides.
bool can_launch_planes(const Description& description, const Operands& operands);

}  // namespace convt3d::cuda::halo_gemm
