// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/line_weight/gather_config.h"

#include <algorithm>
#include <cmath>

#include "cuda/common/kept_answer.h"
#include "cuda/line_weight/gather_tuning.h"
#include "cuda/line_weight/tuning.h"
#include "cuda/sm90/chain.h"
#include "geometry/ceil_div.h"
#include "geometry/numbers.h"

namespace convt3d::cuda::line_weight {
namespace {

bool is_built(const Problem& p, int64_t bytes) {
  bool built = p.dilation[0] == 1 && p.kernel[0] <= kGatherKernel;
  for (size_t axis = 1; axis < 3; ++axis) {
    built = built && p.kernel[axis] == kGatherKernel && p.stride[axis] == kGatherStride &&
            p.dilation[axis] == 1 && p.padding[axis] < kGatherKernel;
  }
  return built && p.input[2] * bytes % kGatherInputAlign == 0;
}

// Whether TMA loads lines that begin anywhere: every gather_group()th channel of all items. Boxes
// of 16 bits would be so small that issuing them takes longer than copies.
bool boxed(const Problem& p, int64_t bytes) {
  const int64_t group = gather_group(as_int(bytes));
  return bytes == 4 && p.batch * p.out_channels % group == 0 &&
         p.batch * p.out_channels <= kMaxWork &&  // coordinates of boxes
         group * volume(p.output()) <= kMaxSample;
}

// Clocks of a stage: its loads, or what goes through shared memory, words, B and copies.
double stage_clocks(const GatherConfig& c) {
  const double depths = c.lines * c.depths, lines = 2.0 * c.rows * c.lines;
  const double load = lines * (kGatherLineClocks + c.line_bytes / kGatherBytesPerClock) +
                      c.input_bytes / kGatherBytesPerClock;
  const double products = kGatherGroups * depths * kGatherSlabs / c.shares;
  const double warps = as_double(ceil_div(c.rows, 16) * (c.columns / kGatherColumns));
  // Of odd lines it is instructions that take time, in warps without rows too.
  const double odd = c.box_rows > 0 ? kGatherBoxClocks : kGatherOddClocks;
  const double words =
      2 * depths * (c.odd ? odd * kConsumerThreads / 32 / c.shares : kGatherWordClocks * warps);
  const double shared = words + products * kGatherColumns / 4 + lines * c.line_bytes / 128;
  return std::max(load, kGatherShareClocks * shared) + kGatherStepClocks;
}

// The cut of lines into stages, and the clocks of a config whose rows and
// columns are set.
void cut_lines(const Problem& p, int64_t bytes, int64_t chunks, GatherConfig* c) {
  const Extent3 output = p.output();
  const int64_t depths = ceil_div(p.input[2] * bytes, kGatherDepthBytes);
  c->chunks = as_int(chunks);
  c->depths = as_int(ceil_div(depths, chunks));
  c->stages = 0;
  c->splits -= c->splits % chunks;
  const bool cuts = c->splits > 0 && ceil_div(depths, c->depths) == chunks;
  if (c->depths > kGatherMaxDepths || !cuts) return;
  c->lines = chunks > 1 ? 1 : std::max(1, kGatherDepths / c->depths);
  // Lines after the last that taps of the last input meet.
  const bool beyond = kGatherStride * p.input[1] - p.padding[1] < output[1];
  c->line_steps = as_int(ceil_div(p.input[1] + (beyond ? 1 : 0), c->lines));
  c->units = p.batch * p.input[0] * c->line_steps;
  c->line_bytes = (c->box_rows > 0 ? kGatherBoxBytes : kGatherLead) +
                  kGatherStride * kGatherDepthBytes * c->depths;
  const int64_t box = c->box_rows > 0 ? c->box_rows : 2 * c->rows;
  c->pair_bytes = as_int(2 * c->rows / box * round_up(box * c->line_bytes, kGatherBoxAlign));
  c->stage_bytes = as_int(round_up(c->lines * c->pair_bytes, kGatherAlign));
  c->input_bytes = c->lines * c->depths * c->columns * kGatherDepthBytes;
  c->stages = as_int(std::min<int64_t>(
      (kGatherShared - c->input_bytes) / (c->stage_bytes + c->input_bytes), kGatherMaxStages));
  const bool copies = c->odd && c->box_rows == 0;
  const bool fits = copies
                        ? c->stages > kGatherMinStages
                        : c->stages >= kGatherMinStages && c->line_bytes / bytes <= kGatherMaxBox;
  if (!fits) c->stages = 0;
  const double memory =
      as_double(bytes * p.batch) *
      (as_double(p.in_channels * volume(p.input)) + as_double(p.out_channels * volume(output))) /
      kMemoryBytesPerClock;
  const double partial = as_double(partial_bytes(*c));
  c->clocks =
      std::max(as_double(ceil_div(c->units, c->splits / chunks)) * stage_clocks(*c), memory) +
      kStartClocks + kReduceClocks + 2 * partial / kReduceBytesPerClock;
}

GatherConfig search(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  const int64_t bytes = element_bytes(description.precision);
  GatherConfig best{};
  if (!is_built(p, bytes)) return best;
  GatherConfig c{};
  const int group = gather_group(as_int(bytes));
  // TMA wants lines that begin on 16 bytes; odd padding is what the words are picked for.
  c.odd = p.output()[2] * bytes % kGatherInputAlign != 0 || p.padding[2] != 1;
  const auto chain =
      static_cast<int64_t>(kChainRoots * std::sqrt(as_double(p.batch * volume(p.input))));
  c.chain = description.precision == Precision::tf32
                ? sm90::max_chain(Precision::tf32)
                : as_int(std::clamp(chain, kMinChain, kMaxChain));
  struct Groups {
    int rows, columns, shares;
  };
  constexpr Groups kGroups[] = {
      {kGatherGroups, 1, 1}, {1, kGatherGroups, 1}, {1, 1, kGatherGroups}};
  for (const Groups& groups : kGroups) {
    c.columns = kGatherColumns * groups.columns;
    c.shares = groups.shares;
    const int64_t rows = kGatherRows * groups.rows;
    for (int64_t taps = p.kernel[0];; taps = 1) {
      c.taps_d = as_int(taps);
      const int64_t tiles = ceil_div(p.out_channels, rows / taps);
      c.channels = as_int(ceil_div(p.out_channels, tiles));
      c.box_rows = boxed(p, bytes) && c.odd && c.channels % group == 0 ? c.channels / group : 0;
      c.rows = c.channels * c.taps_d;
      c.jobs = tiles * (p.kernel[0] / taps) * ceil_div(p.in_channels, c.columns);
      const int64_t least = ceil_div(p.input[2] * bytes, kGatherDepthBytes * kGatherMaxDepths);
      for (int64_t splits = device.num_sms / c.jobs; splits > 0; splits /= 2) {
        for (int64_t chunks = least; chunks < least + kGatherCuts; ++chunks) {
          c.splits = splits;
          cut_lines(p, bytes, chunks, &c);
          if (c.stages > 0 && (best.stages == 0 || c.clocks < best.clocks)) best = c;
        }
      }
      if (taps == 1) break;
    }
  }
  if (best.stages == 0) return best;
  // What there is of the products of all blocks.
  best.full = as_double(p.in_channels * p.out_channels * p.kernel[0]) * best.shares /
              as_double(best.jobs * kGatherGroups * kGatherRows * kGatherColumns);
  return best;
}

}  // namespace

GatherConfig choose_gather(const Description& description, const Device& device) {
  return kept_answer(description, device, [&] { return search(description, device); });
}

int64_t partial_bytes(const GatherConfig& c) {
  return c.jobs * c.splits * kGatherGroups * kGatherRows * kGatherSlabs * kGatherColumns * 4;
}

std::string to_string(const GatherConfig& c) {
  return std::string("lines gathered, ") +
         (c.box_rows > 0 ? "boxes of channels, "
          : c.odd        ? "odd, "
                         : "") +
         std::to_string(c.rows) + " rows x " + std::to_string(kGatherSlabs) + " taps x " +
         std::to_string(c.columns) + " columns, " + std::to_string(c.lines) + " x " +
         std::to_string(c.depths) + " instructions, " + std::to_string(c.stages) + " stages, " +
         std::to_string(c.jobs) + " jobs, " + std::to_string(c.splits) + " splits";
}

}  // namespace convt3d::cuda::line_weight
