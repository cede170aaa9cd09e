// SPDX-License-Identifier: BSD-3-Clause
#include "cpu/selection.h"

namespace convt3d::cpu {
namespace {

bool is_ncdhw(const Description& d) {
  return d.input == Layout::ncdhw && d.output == Layout::ncdhw;
}

}  // namespace

Verdict select_residue_gemm(const Description& d, const Device&) {
  const Problem& p = d.problem;
  if (d.direction != Direction::forward) return Verdict::refuse("torch computes the gradients");
  if (!is_ncdhw(d)) return Verdict::refuse("torch is faster in channels_last_3d");
  if (p.in_channels_per_group() > 256 || volume(p.input) < 4096) {
    return Verdict::refuse("torch is faster for many channels over few positions");
  }
  if (p.stride != p.kernel) return Verdict::refuse("the kernel is not the stride");
  return Verdict::accept();
}

}  // namespace convt3d::cpu
