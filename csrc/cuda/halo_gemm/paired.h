// SPDX-License-Identifier: BSD-3-Clause
// A kernel of halo_gemm (paired_kernel.cuh): forward into NCDHW with a stride of 2 along w, whose
// outputs a lane holds as neighbours of a line, both residues of w side by side.
#pragma once
#include <cstdint>
#include <string>

#include "plan/description.h"
#include "plan/operands.h"

namespace convt3d::cuda::halo_gemm {

// Taps of w of one matrix of sums: rows from that of the first input that position 0 reads, one
// per tap, `first` and then each `step_w` less.
struct PairedTaps {
  int first, count;
};

struct PairedConfig {
  int matrices = 0;  // of sums: one of both residues of w, or one each; 0: not for the problem
  // Output 2 x - lead and the next one are those of position x: of the residues of `of` in the
  // order of geometry/residue.h.
  int lead = 0, of[2] = {0, 1};
  PairedTaps taps[2] = {};
  int blocks = 0;            // of weights, for a tap of h: all taps of w
  int step_w = 0;            // rows from a tap of w to the next
  int halo_w = 0, span = 0;  // first input of position 0, and from there to the last
  bool even = false;         // lines are whole pieces of four outputs (paired_store.cuh)
  bool leaks = false;        // a shift is no tap of one of the residues
  int width = 0;             // positions of a line
  int strip = 0, pitch = 0, lines = 0, planes = 0, strips = 0;  // as in config.h
  int tiles = 0, stage_rows = 0, stage_bytes = 0, stages = 0, chunks = 0;
  int column_tiles = 0;
  bool packed_input = false;  // the input becomes rows of channels first (sm90/row_pack.h)
  double clocks = 0;          // of the device, estimated
};

PairedConfig choose_paired(const Description& description, const Device& device);
std::string to_string(const PairedConfig& config);
// The workspace: the weight in blocks, then the input where it is packed.
int64_t paired_weight_bytes(const Description& description, const PairedConfig& config);
int64_t paired_input_bytes(const Description& description, const PairedConfig& config);

// Whether what the description cannot tell suits: pointers and strides.
bool can_launch_paired(const Description& description, const PairedConfig& config,
                       const Operands& operands);

}  // namespace convt3d::cuda::halo_gemm
