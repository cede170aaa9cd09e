// SPDX-License-Identifier: BSD-3-Clause
// A kernel of halo_gemm (turn_kernel.cuh): grad_input of k3 s2 in NCDHW with many channels, whose
// lines of grad_output are turned in shared memory.
#pragma once
#include <cstdint>
#include <string>

#include "plan/description.h"

namespace convt3d::cuda::halo_gemm {

struct TurnConfig {
  int columns = 0;           // of wgmma: positions; 0 where this kernel is not for the problem
  int lines = 0, tiles = 0;  // of grad_input in a tile, and tiles of a plane
  int pitch = 0;             // rows of a line in a stage
  int class_bytes[2] = {};   // of a residue of w, of each residue of h
  int slot_bytes = 0, slots = 0;
  int raw_pitch = 0, raw_slots = 0;  // of a channel's lines as they lie in memory
  int weight_slots = 0;
  int chunks = 0, blocks = 0;  // of channels of grad_output, and of grad_input
};

TurnConfig choose_turn(const Description& description, const Device& device);
std::string to_string(const TurnConfig& config);
// The workspace: the weight.
int64_t turn_weight_bytes(const TurnConfig& config);

}  // namespace convt3d::cuda::halo_gemm
