// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/halo_gemm/turn_march.h"

#include <algorithm>

#include "cuda/common/kept_answer.h"
#include "cuda/halo_gemm/tuning.h"
#include "cuda/halo_gemm/turn_tuning.h"
#include "cuda/sm90/chain.h"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::halo_gemm {
namespace {

bool is_for_turn(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  const Precision precision = description.precision;
  if (device.arch != 90 || description.direction != Direction::grad_input) return false;
  if (element_bytes(precision) != 2 && precision != Precision::tf32) return false;
  if (description.output != Layout::ncdhw || description.input != Layout::ncdhw) return false;
  if (p.groups != 1 || p.dilation != Extent3{1, 1, 1}) return false;
  const Extent3 output = p.output();
  for (int a : {0, 1, 2}) {
    if (p.kernel[a] != kTurnKernel || p.stride[a] != kTurnStride) return false;
    if (p.padding[a] > kTurnMaxPadding) return false;
    if (std::max(p.input[a], output[a]) > kMaxExtent) return false;
  }
  const bool one = p.in_channels >= kTurnMinChannels && p.in_channels <= kTurnChannels;
  const bool two = p.in_channels >= kTurnMinOfTwo && p.in_channels <= 2 * kTurnChannels;
  return p.batch <= kMaxExtent && p.input[2] >= kTurnMinWidth &&
         p.out_channels >= kTurnMinSources && (one || two);
}

// Row j of residue r of w is position 2 j + r - padding; position i of grad_input reads rows i and,
// of residue 0, i + 1. Where row 0 of it is zeros, and the row behind the last position is, they
// are one row. Else lines of an even width stay so.
int line_pitch(const Problem& p) {
  const int64_t width = p.input[2];
  const bool shared = p.padding[2] > 0 && 2 * width - p.padding[2] >= p.output()[2];
  return static_cast<int>(shared ? width : width + 2 - width % 2);
}

// Bytes of a residue of w. In other banks than the other one: 4 rows on.
int class_bytes(const TurnConfig& config, int lines) {
  return static_cast<int>(ceil_div(lines * config.pitch + 1, 8) * 8 + 4) * kTurnRowBytes;
}

// As many stages as there is room for; false if there are too few.
bool choose_slots(const Description& description, TurnConfig* config) {
  const Problem& p = description.problem;
  const int64_t bytes = element_bytes(description.precision);
  const int64_t elements = (kTurnStride * config->lines + 1) * p.output()[2];
  if (elements > kTurnMaxElements) return false;
  config->class_bytes[0] = class_bytes(*config, config->lines + 1);
  config->class_bytes[1] = class_bytes(*config, config->lines);
  config->slot_bytes = 2 * (config->class_bytes[0] + config->class_bytes[1]);
  config->raw_pitch =
      static_cast<int>(ceil_div(elements * bytes + kTurnLead, kTurnLead) * kTurnLead);
  const int64_t raw = config->raw_pitch * 16 / bytes;
  int64_t room = kSharedBytes - kTurnAlign - kTurnBarrierBytes - 4 * kTurnMaxColumns -
                 2 * turn_table(static_cast<int>(elements));
  config->slots = config->raw_slots = kTurnMinSlots;
  config->weight_slots = kTurnMinWeightSlots;
  room -= kTurnMinSlots * (config->slot_bytes + raw) + kTurnMinWeightSlots * kTurnWeightBytes;
  if (room < 0) return false;
  // One more of each in turn.
  for (bool more = true; more;) {
    more = false;
    const auto take = [&](int* slots, int most, int64_t of_each) {
      if (*slots == most || of_each > room) return;
      ++*slots;
      room -= of_each;
      more = true;
    };
    take(&config->weight_slots, kTurnMaxWeightSlots, kTurnWeightBytes);
    take(&config->slots, kTurnMaxSlots, config->slot_bytes);
    take(&config->raw_slots, kTurnMaxSlots, raw);
  }
  return true;
}

TurnConfig search_turn(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  TurnConfig config, best;
  if (!is_for_turn(description, device)) return best;
  const int64_t bytes = element_bytes(description.precision);
  config.chunks = static_cast<int>(ceil_div(p.out_channels * bytes, kTurnRowBytes));
  config.blocks = static_cast<int>(ceil_div(p.in_channels, kTurnChannels));
  const int64_t chain = int64_t{config.chunks} * kTurnKernel * kTurnKernel * kTurnKernel;
  if (chain > sm90::max_chain(description.precision)) return best;
  config.pitch = line_pitch(p);
  double least = 0;
  for (config.lines = 1; config.lines <= p.input[1]; ++config.lines) {
    const int64_t positions = (config.lines - 1) * config.pitch + p.input[2];
    const auto* const columns =
        std::lower_bound(kTurnColumns.begin(), kTurnColumns.end(), positions);
    if (columns == kTurnColumns.end()) break;
    config.columns = *columns;
    config.tiles = static_cast<int>(ceil_div(p.input[1], config.lines));
    if (!choose_slots(description, &config)) continue;
    // Of the blocks that have most.
    const int64_t units = p.batch * config.tiles * p.input[0];
    const auto clocks = static_cast<double>(
        ceil_div(units, std::max<int64_t>(1, device.num_sms / config.blocks)) * config.columns);
    if (best.columns != 0 && clocks >= least) continue;
    best = config;
    least = clocks;
  }
  const int64_t units = p.batch * best.tiles * p.input[0];
  if (units * best.blocks < kTurnUnits * device.num_sms || units > kMaxPositions) return {};
  return best;
}

}  // namespace

TurnConfig choose_turn(const Description& description, const Device& device) {
  return kept_answer(description, device, [&] { return search_turn(description, device); });
}

std::string to_string(const TurnConfig& config) {
  return "turning lines of grad_output, " + std::to_string(config.lines) + " lines in " +
         std::to_string(config.columns) + " columns, " + std::to_string(config.slots) +
         " stages, " + std::to_string(config.raw_slots) + " of raw lines, " +
         std::to_string(config.weight_slots) + " of weights";
}

int64_t turn_weight_bytes(const TurnConfig& config) {
  return int64_t{config.blocks} * kTurnKernel * config.chunks * kTurnKernel * kTurnWeightBytes;
}

}  // namespace convt3d::cuda::halo_gemm
