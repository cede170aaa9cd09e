// SPDX-License-Identifier: BSD-3-Clause
// A kernel family as the planner sees it. Refusing is normal; the reason is a static string.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "plan/description.h"

namespace convt3d {

enum class Family {
  shuffle_gemm,
  group_gemm,
  halo_gemm,
  implicit_gemm,
  mma_gemm,
  subpixel_gemm,
  column_gemm,
  few_channels,
  cluster_weight,
  cluster_gemm,
  line_weight,
  halo_weight,
  view_weight,
  tap_gemm,
  weight_gemm,
  direct,
  padded_channels,
  lane_sums,
  residue_gemm,
  aten
};

const char* to_string(Family family);

struct Verdict {
  bool ok;
  const char* reason;  // null when ok

  static constexpr Verdict accept() { return {true, nullptr}; }
  static constexpr Verdict refuse(const char* why) { return {false, why}; }
};

struct Candidate {
  Family family;
  Verdict (*supports)(const Description&, const Device&);
  // Scratch memory in bytes that launch() needs for this call; 0 for most.
  int64_t (*workspace_bytes)(const Description&, const Device&);
  // The chosen configuration, for people: explain() prints it.
  std::string (*config)(const Description&, const Device&);
};

// Best first; the last entry accepts everything. A GPU that the binary has no code for has torch's
// own kernels alone.
const std::vector<Candidate>& candidates(Direction direction, const Device& device);

// The first candidate that accepts.
const Candidate& plan(const Description& description, const Device& device);

// The named candidate; throws std::invalid_argument with its reason if it refuses or is not there.
const Candidate& forced(const std::string& family, const Description& description,
                        const Device& device);

}  // namespace convt3d
