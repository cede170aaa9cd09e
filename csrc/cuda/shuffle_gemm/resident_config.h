// SPDX-License-Identifier: BSD-3-Clause
// What is chosen for forward with resident weights (resident_kernel.cuh). Plain C++: the planner is
// built without CUDA.
#pragma once
#include <cstdint>
#include <string>

#include "plan/description.h"

namespace convt3d::cuda::shuffle_gemm {

struct ResidentConfig {
  bool rows;                  // input is [positions][channels]
  bool packs;                 // a launch ahead makes such rows, where TMA cannot read the input
  bool fills;                 // the warpgroups bring the weight, not TMA
  int64_t images, image;      // tiles do not cross images: [positions][channels] is one
  int64_t tiles;              // of 64 positions
  int64_t chunks;             // of in_channels
  int64_t width;              // columns that are neighbours in the output: a group
  int64_t groups;             // in a strip, which has groups x width columns of its 64
  int64_t strips, slices;     // of a slice, which is a block's; of columns
  int64_t walkers;            // blocks of a slice; they share its tiles
  int64_t warpgroups, slots;  // that multiply; chunks of input in flight
  int64_t access;             // bytes of a store
  int64_t row_pitch, group_pitch;  // bytes, of staged sums
  int64_t staging_bytes;           // of all 64 columns, those behind the last group too
  int64_t line;                    // positions that follow each other in the output
  int64_t shared_bytes;            // 0: there is none
};

// grad_input of a pointwise layer is forward with in_channels and out_channels exchanged, of the
// outputs that have an input: that call, else the same.
Description as_forward(const Description& description);
// Whether there is a kernel for such a call, if its tensors are aligned.
bool resident_fits(const Description& description, const Device& device);
// Of the call as forward.
ResidentConfig choose_resident(const Description& description, const Device& device);
// Bytes of the packed rows.
int64_t packed_row_bytes(const Description& description, const ResidentConfig& config);
std::string to_string(const ResidentConfig& config);

}  // namespace convt3d::cuda::shuffle_gemm
