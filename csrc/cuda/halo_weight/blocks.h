// SPDX-License-Identifier: BSD-3-Clause
// How many blocks share the jobs of a cut, and how: the part of the search for a cut that
// halo_weight and view_weight have in common.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>

#include "cuda/halo_weight/tuning.h"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::halo_weight {

// In clocks of an SM, but for `bytes`.
struct Costs {
  double box;     // of a job
  double sums;    // of a job: their number
  double start;   // of a block
  double before;  // launches before
  double bytes;   // of input and grad_output
  bool kept;      // these stay in L2 while all jobs read them
  bool direct;    // a block may store a job's sums itself
  double turn;    // the launch that then follows
  int64_t num_sms;
};

// Sets how jobs are laid on blocks, of a config whose jobs, boxes and chain are set; its clocks.
template <typename Config>
double cut_blocks(const Costs& costs, Config* c) {
  const int64_t jobs = int64_t{c->unit_jobs} * c->in_tiles, work = jobs * c->all_tiles;
  const double piece = costs.sums * sizeof(float);
  const auto total = [&](double boxes, double stores, double reads) {
    const double memory = reads * costs.bytes / kMemoryBytesPerClock;
    const double clocks = boxes * costs.box + stores * piece / kStoreBytesPerClock;
    return std::max(clocks, memory) + std::min(clocks, memory) / 4 + costs.start + costs.before;
  };
  c->direct = false;
  // All jobs at the same positions at the same time, so that one's loads serve the others; or all
  // SMs, of which each has as much.
  const bool kept = jobs == 1 || costs.kept;
  const int64_t of_job = std::min(costs.num_sms / jobs, c->all_tiles);
  const auto clocks_on = [&](int64_t blocks, bool apart) {
    c->blocks = static_cast<int>(blocks);
    const double boxes =
        static_cast<double>(apart ? ceil_div(c->all_tiles, of_job) : ceil_div(work, blocks));
    const double straddled = apart ? 0 : static_cast<double>(jobs) / static_cast<double>(blocks);
    return total(boxes, 1.0 + straddled + boxes / c->chain, apart || kept ? 1 : kLostReuse) +
           static_cast<double>(pieces(*c)) * piece / kReduceBytesPerClock + kReduceClocks;
  };
  double clocks = of_job > 0 ? clocks_on(of_job * jobs, true) : 0;
  const double even = clocks_on(std::min(costs.num_sms, work), false);
  c->apart = of_job > 0 && clocks <= even;
  if (c->apart) {
    c->blocks = static_cast<int>(of_job * jobs);
  } else {
    clocks = even;
  }
  if (!costs.direct) return clocks;
  // A block for each job, in turns.
  const double turns = static_cast<double>(ceil_div(jobs, costs.num_sms));
  const double all = static_cast<double>(c->all_tiles);
  const double direct = total(turns * all, turns * std::floor((all - 1) / c->chain), 1) +
                        turns * (costs.sums * kDirectClocks + costs.start / 2) + costs.turn;
  if (direct >= clocks) return clocks;
  c->direct = true;
  c->apart = true;
  c->blocks = static_cast<int>(jobs);
  return direct;
}

}  // namespace convt3d::cuda::halo_weight
