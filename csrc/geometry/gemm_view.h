// SPDX-License-Identifier: BSD-3-Clause
// The only bridge between user tensors (input, weight, output) and GEMM roles (A, B, C; M, N, K).
//
//   forward      C[M = positions of one residue, N = out_channels/groups], K = in_channels/groups *
//   taps grad_input   C[M = input positions,          N = in_channels/groups],  K =
//   out_channels/groups * taps grad_weight  C[M = in_channels/groups,       N = out_channels/groups
//   * taps], K = input positions
#pragma once
#include <cstdint>

#include "geometry/problem.h"

namespace convt3d {

enum class Direction { forward, grad_input, grad_weight };

const char* to_string(Direction direction);

struct GemmView {
  int64_t num_gemms;  // independent problems of this size: groups (forward: times residues)
  int64_t m, n, k;    // of the largest of them
};

GemmView gemm_view(const Problem& problem, Direction direction);

}  // namespace convt3d
