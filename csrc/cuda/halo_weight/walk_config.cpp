// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/halo_weight/walk_config.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <queue>

#include "cuda/common/kept_answer.h"
#include "cuda/halo_weight/blocks.h"
#include "cuda/halo_weight/turned.h"
#include "cuda/sm90/walk_limits.h"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::halo_weight {
namespace {

int64_t ceil_of(int64_t value, int64_t by) {
  return value > 0 ? ceil_div(value, by) : -(-value / by);
}

// Taps of an axis that meet the same input positions.
struct AxisRange {
  int64_t first = 0, extent = 0, corner = 0;
  std::vector<int64_t> taps, shift;
};

std::vector<AxisRange> axis_ranges(const Problem& p, size_t a, bool skips) {
  const int64_t in = p.input[a], out = p.output()[a], stride = p.stride[a];
  std::vector<AxisRange> ranges;
  for (int64_t k = 0; k < p.kernel[a]; ++k) {
    const int64_t at = p.dilation[a] * k - p.padding[a];
    int64_t first = std::max<int64_t>(0, ceil_of(-at, stride));
    int64_t end = std::min(in, ceil_of(out - at, stride));
    if (!skips || end <= first) first = 0, end = in;
    const auto same = [&](const AxisRange& r) {
      return r.first == first && r.extent == end - first;
    };
    auto range = std::find_if(ranges.begin(), ranges.end(), same);
    if (range == ranges.end()) {
      ranges.push_back({first, end - first, at + stride * first, {}, {}});
      range = ranges.end() - 1;
    }
    range->taps.push_back(k);
    range->shift.push_back(at + stride * first - range->corner);
  }
  return ranges;
}

bool can_walk(int64_t first, int64_t count, int64_t step, int64_t extent) {
  const int64_t upper = sm90::upper_corner(first, count, step, extent);
  return first >= sm90::kLeastCorner && first <= sm90::kMostCorner && upper >= sm90::kLeastCorner &&
         upper <= sm90::kMostCorner && step <= sm90::kMostStep;
}

// Whether boxes of 64 positions are runs of the channels of a batch item.
bool has_runs(const Description& description) {
  const Problem& p = description.problem;
  const int64_t run = volume(p.input);
  return description.input == Layout::ncdhw && run * kElementBytes % 16 == 0 &&
         (p.batch == 1 || run % kWalkPositions == 0);
}

// Clocks of the jobs, most first, each by the SM that is free first.
double spread_clocks(const std::vector<double>& jobs, int64_t sms) {
  std::priority_queue<double, std::vector<double>, std::greater<>> busy;
  for (int64_t i = 0; i < sms; ++i) busy.push(0);
  double last = 0;
  for (const double clocks : jobs) {
    const double end = busy.top() + clocks;
    busy.pop();
    busy.push(end);
    last = std::max(last, end);
  }
  return last;
}

// Blocks and clocks of a config whose columns, units and width are set.
void complete(const Description& description, const Device& device, const WalkTaps& all,
              const WalkTaps& skipping, WalkConfig* c) {
  const Problem& p = description.problem;
  const int rows = job_rows(*c);
  const int64_t parts = ceil_div(p.out_channels, c->out_width);
  const auto taps = static_cast<int64_t>(all.taps.size());
  c->unit_jobs = static_cast<int>(ceil_div(taps * parts, rows / c->out_width));
  c->in_tiles = static_cast<int>(ceil_div(p.in_channels, c->channels));
  c->all_tiles = all.classes[0].boxes(p.batch);
  const auto roots =
      static_cast<int64_t>(kChainRoots * std::sqrt(static_cast<double>(p.batch * volume(p.input))));
  c->chain = static_cast<int>(std::clamp(roots, kMinChain, kMaxChain) / kWalkSteps);
  const double products =
      kWalkProductClocks * kWalkSteps * kWalkGroups * c->units * (c->channels / 2.0);
  const double loaded = walk_stage_bytes(c->channels, c->units);
  // Of shared memory: what TMA writes, and what instructions read of A and B.
  const double shared =
      loaded / 128 + kWalkSteps * kWalkGroups * c->units * (16 + c->channels / 4.0);
  const double box = std::max({products, loaded / kWalkBytesPerClock, shared * kSharedClocks});
  const double bytes =
      static_cast<double>(p.batch * kElementBytes) *
      static_cast<double>(p.in_channels * volume(p.input) + p.out_channels * volume(p.output()));
  const auto sums = static_cast<double>(piece_elements(*c));
  const bool direct = stores_directly(description);
  const double turn = turn_clocks(description);
  c->clocks = cut_blocks(
      {box, sums, kWalkStartClocks, 0, bytes, bytes < kKeptBytes, direct, turn, device.num_sms}, c);
  if (!direct) return;
  const int64_t all_jobs = int64_t{c->unit_jobs} * c->in_tiles;
  if (rows != c->out_width || skipping.classes.size() < 2 || all_jobs > kMostSpread) return;
  WalkConfig skips = *c;
  std::vector<double> jobs;
  for (const WalkTap& tap : skipping.taps) {
    const auto boxes = static_cast<double>(skipping.classes[tap.of_class].boxes(p.batch));
    const double stores = std::floor((boxes - 1) / c->chain) * sums * sizeof(float);
    jobs.insert(
        jobs.end(), static_cast<size_t>(parts * c->in_tiles),
        boxes * box + stores / kStoreBytesPerClock + sums * kDirectClocks + kWalkStartClocks / 2);
  }
  skips.clocks = turn + kWalkStartClocks + spread_clocks(jobs, device.num_sms);
  if (skips.clocks + (c->lines ? pack_clocks(description) : 0) >= c->clocks) return;
  skips.skips = skips.direct = skips.apart = true;
  skips.lines = false;
  skips.blocks = skips.unit_jobs * skips.in_tiles;
  *c = skips;
}

// Clocks of a call, whose clock falls where it takes long.
double sustained(double clocks) {
  return clocks + std::max(0.0, clocks - kFastClocks) * (kSlowClocks - 1);
}

WalkConfig search(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  WalkTaps all, skipping;
  WalkConfig best;
  if (volume(p.kernel) > kMaxTaps || p.batch * volume(p.input) > kMostWalked ||
      !make_walk_taps(p, false, &all)) {
    return best;
  }
  if (!make_walk_taps(p, true, &skipping)) skipping = all;
  for (const Columns& columns : kWalks) {
    const int rows = kWalkGroups * columns.units * kGroupRows;
    for (const int width : {kWalkWidth, rows}) {
      WalkConfig c;
      c.channels = columns.channels;
      c.units = columns.units;
      c.out_width = width;
      c.lines = has_runs(description);
      const int64_t work = ceil_div(p.in_channels, columns.channels) * volume(p.kernel) *
                           ceil_div(p.out_channels, width) * all.classes[0].boxes(p.batch);
      if (work > kMaxWork) continue;
      complete(description, device, all, skipping, &c);
      if (best.units == 0 || c.clocks < best.clocks) best = c;
    }
  }
  best.clocks = sustained(best.clocks) + (best.lines ? 0 : pack_clocks(description));
  best.turned = best.direct && needs_turning(description);
  best.packed_input = !best.lines && needs_packing(description.input, p.in_channels);
  best.packed_output = needs_packing(description.output, p.out_channels);
  return best;
}

}  // namespace

int64_t WalkClass::boxes(int64_t batch) const {
  return ceil_div(batch * volume(extent), kWalkPositions);
}

bool make_walk_taps(const Problem& p, bool skips, WalkTaps* result) {
  *result = {};
  const Extent3 output = p.output();
  std::array<std::vector<AxisRange>, 3> ranges;
  for (size_t a = 0; a < 3; ++a) {
    ranges[a] = axis_ranges(p, a, skips);
    for (const AxisRange& r : ranges[a]) {
      if (!can_walk(r.first, r.extent, 1, p.input[a]) ||
          !can_walk(r.corner, r.extent, p.stride[a], output[a]) ||
          r.shift.back() > sm90::kMostOffset) {
        return false;
      }
    }
  }
  for (const AxisRange& d : ranges[0]) {
    for (const AxisRange& h : ranges[1]) {
      for (const AxisRange& w : ranges[2]) {
        const auto index = static_cast<int>(result->classes.size());
        result->classes.push_back({{d.first, h.first, w.first},
                                   {d.extent, h.extent, w.extent},
                                   {d.corner, h.corner, w.corner}});
        for (size_t i = 0; i < d.taps.size(); ++i) {
          for (size_t j = 0; j < h.taps.size(); ++j) {
            for (size_t k = 0; k < w.taps.size(); ++k) {
              const int64_t tap = (d.taps[i] * p.kernel[1] + h.taps[j]) * p.kernel[2] + w.taps[k];
              result->taps.push_back(
                  {static_cast<int>(tap), index, {d.shift[i], h.shift[j], w.shift[k]}});
            }
          }
        }
      }
    }
  }
  std::stable_sort(result->taps.begin(), result->taps.end(),
                   [&](const WalkTap& a, const WalkTap& b) {
                     return volume(result->classes[static_cast<size_t>(a.of_class)].extent) >
                            volume(result->classes[static_cast<size_t>(b.of_class)].extent);
                   });
  return result->classes.size() <= kMaxClasses;
}

WalkConfig choose_walk(const Description& description, const Device& device) {
  return kept_answer(description, device, [&] { return search(description, device); });
}

std::string to_string(const WalkConfig& c) {
  return "walks, " + std::to_string(job_rows(c) / c.out_width) + " x " +
         std::to_string(c.out_width) + "x" + std::to_string(c.channels) + ", " +
         std::to_string(c.unit_jobs * c.in_tiles) + " jobs of " + std::to_string(c.all_tiles) +
         " boxes on " + std::to_string(c.blocks) + " blocks" + (c.lines ? ", lines of input" : "") +
         (c.skips ? ", less what taps do not meet" : "") + (c.direct ? ", stored directly" : "") +
         (c.turned ? ", then turned" : "") + (c.packed_input ? ", input packed" : "") +
         (c.packed_output ? ", grad_output packed" : "");
}

}  // namespace convt3d::cuda::halo_weight
