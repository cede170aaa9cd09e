// SPDX-License-Identifier: BSD-3-Clause
// The third kernel of halo_gemm (gather_kernel.cuh): grad_input of k3 s2 in NCDHW, from lines of
// grad_output as they lie, with all weights in shared memory.
#pragma once
#include <cstdint>
#include <string>

#include "plan/description.h"

namespace convt3d::cuda::halo_gemm {

struct GatherConfig {
  int columns = 0;            // of wgmma: channels; 0 where this kernel is not for the problem
  int lines = 0, tiles = 0;   // of grad_input in a tile, and tiles of a plane
  int runs = 0;               // of a line
  int pitch = 0;              // bytes from a channel of a stage to the next,
  int box_pitch = 0;          // and of aligned lines,
  int line_bytes = 0;         // which are as long there
  int chunks = 0, slots = 0;  // stages of a plane, and stages
  bool aligned = false;       // lines, where grad_output is (gather_operand.cuh)
  int blocks = 0;             // of `columns` channels of grad_input
  int ranks = 0;              // blocks of a cluster, which share a sum
};

GatherConfig choose_gather(const Description& description, const Device& device);
std::string to_string(const GatherConfig& config);
// The workspace: the weight, of one block and of all.
int64_t gather_block_bytes(const GatherConfig& config);
int64_t gather_weight_bytes(const GatherConfig& config);

}  // namespace convt3d::cuda::halo_gemm
