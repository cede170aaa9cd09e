// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/shuffle_gemm/resident_config.h"

#include <algorithm>
#include <utility>

#include "cuda/common/kept_answer.h"
#include "cuda/shuffle_gemm/resident_tuning.h"
#include "cuda/sm90/chain.h"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::shuffle_gemm {
namespace {

// Groups of columns, and how sums are staged and stored. False where stores would be too short.
bool set_groups(const Description& description, ResidentConfig* config) {
  const Problem& p = description.problem;
  const int64_t element = element_bytes(description.precision);
  const Extent3 extent = p.output();
  const bool channels_last = description.output == Layout::ndhwc;
  int64_t run = p.kernel[2] * (channels_last ? p.out_channels : 1);
  const int64_t one_tap_line = run;
  if (extent[2] == p.kernel[2]) {
    run *= p.kernel[1];
    if (extent[1] == p.kernel[1]) {
      run *= p.kernel[0];
      if (extent[0] == p.kernel[0] && !channels_last) run *= p.out_channels;
    }
  }
  int64_t parts = 1;
  while (run % parts != 0 || run / parts > kResidentColumns || (run / parts % 2 != 0 && run > 1)) {
    if (++parts > run) return false;
  }
  config->width = run / parts;
  if (parts > 1 && config->width < kResidentMinWidth) return false;
  config->groups = kResidentColumns / config->width;
  config->line = p.input[2];
  if (p.kernel[1] == 1 && extent[1] == p.input[1]) {
    config->line *= p.input[1];
    if (p.kernel[0] == 1 && extent[0] == p.input[0]) config->line *= p.input[0];
  }
  // Stores go on from one position of a line to the next where the group is all of a position.
  const bool joins = parts == 1 && run == one_tap_line;
  const int64_t stored = config->width * element * (joins ? config->line : 1);
  config->access = 16;
  while (stored % config->access != 0) config->access /= 2;
  const int64_t row = config->width * element;
  const bool padded = row % 16 == 0 && row >= 64;
  config->row_pitch = padded ? (row / 16 | 1) * 16 : row;
  config->group_pitch = kResidentRows * config->row_pitch + (padded ? 0 : 16 * config->width);
  config->staging_bytes = ceil_div(kResidentColumns, config->width) * config->group_pitch;
  return config->access >= 4;
}

// Clocks of the busiest SM; sets what follows from the strips of a slice and the warpgroups of a
// block. 0: it does not fit.
double complete(const Description& description, const Device& device, int64_t strips,
                int64_t warpgroups, ResidentConfig* config) {
  const Problem& p = description.problem;
  const int64_t element = element_bytes(description.precision);
  const int64_t columns = p.out_channels * volume(p.kernel);
  config->strips = strips;
  config->warpgroups = warpgroups;
  config->slices = ceil_div(columns, strips * config->groups * config->width);
  config->walkers = std::clamp<int64_t>(device.num_sms / config->slices, 1, config->tiles);
  const int64_t tiles = ceil_div(config->tiles, config->walkers);
  const int64_t rounds = ceil_div(tiles, warpgroups);
  if (warpgroups > tiles) return 0;
  const int64_t weight = strips * config->chunks * kResidentBytes;
  const int64_t tables = warpgroups * (config->staging_bytes + kResidentRows * int64_t{8}) +
                         strips * (config->groups * 8 + 8 + kResidentColumns * int64_t{4}) +
                         8 * (2 * kResidentMaxSlots + strips * config->chunks);
  const int64_t room = (kResidentShared - weight - tables) / kResidentBytes;
  config->slots = std::min<int64_t>({room, kResidentMaxSlots,
                                     warpgroups * config->chunks * std::min<int64_t>(rounds, 2)}) /
                  warpgroups;
  config->shared_bytes = weight + warpgroups * config->slots * kResidentBytes + tables;
  // A warpgroup holds its tile's chunks until the last strip is multiplied.
  const int64_t held = strips > 1 ? config->chunks : std::min(config->chunks, kResidentMinSlots);
  if (room < 0 || config->slots < held) return 0;
  const auto chunks = static_cast<double>(config->chunks);
  const auto subs = static_cast<double>(strips);
  const double out = static_cast<double>(kResidentRows * config->groups * config->width * element);
  // Slices read a tile at about the same time, and all but the first find it in L2.
  const double in = chunks * kResidentBytes;
  const double bytes =
      std::max((in / static_cast<double>(config->slices) + subs * out) / kResidentBytesPerClock,
               (in + subs * out) / kResidentCachedPerClock);
  const double tensor = subs * chunks * 128;
  const double issue = kResidentTileIssue + subs * kResidentStripIssue;
  const double alone =
      kResidentTileClocks +
      subs * (chunks * kResidentChunkClocks +
              kResidentEndClocks * static_cast<double>(element * 8 / config->access)) +
      (rounds > 1 && config->slots < 2 * config->chunks ? kResidentWaitClocks : 0);
  const auto waves =
      static_cast<double>(ceil_div(config->slices * config->walkers, device.num_sms));
  return waves * (kResidentStartClocks + static_cast<double>(weight) / kResidentCachedPerClock +
                  std::max(static_cast<double>(tiles) * std::max({bytes, tensor, issue}),
                           static_cast<double>(rounds) * alone));
}

ResidentConfig search(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  const int64_t element = element_bytes(description.precision);
  ResidentConfig config{};
  if (!set_groups(description, &config)) return {};
  const bool channels_last = description.input == Layout::ndhwc || volume(p.input) == 1;
  const int64_t row = channels_last ? p.in_channels : volume(p.input);
  config.packs = description.input == Layout::strided || row * element % 16 != 0;
  config.rows = channels_last || config.packs;
  config.fills = element == 4 || description.weight == Layout::strided ||
                 p.out_channels * volume(p.kernel) * element % 16 != 0 ||
                 config.groups * config.width * element % 16 != 0;
  config.images = config.rows ? 1 : p.batch;
  config.image = volume(p.input) * (config.rows ? p.batch : 1);
  config.tiles = config.images * ceil_div(config.image, kResidentRows);
  config.chunks = ceil_div(p.in_channels * element, kResidentChunk);
  ResidentConfig best{};
  double least = 0;
  const int64_t all = ceil_div(p.out_channels * volume(p.kernel), config.groups * config.width);
  for (int64_t strips = 1; strips <= std::min(all, kResidentMaxStrips); ++strips) {
    for (int64_t groups = resident_warpgroups(description.precision); groups > 0; --groups) {
      const double clocks = complete(description, device, strips, groups, &config);
      if (clocks == 0 || (least > 0 && clocks >= least)) continue;
      least = clocks;
      best = config;
    }
  }
  return best;
}

}  // namespace

Description as_forward(const Description& description) {
  Description forward = description;
  const Problem& p = description.problem;
  if (description.direction == Direction::grad_input && volume(p.kernel) == 1 &&
      p.padding == Extent3{}) {
    forward.direction = Direction::forward;
    std::swap(forward.problem.in_channels, forward.problem.out_channels);
    std::swap(forward.input, forward.output);
    if (volume(p.stride) > 1) forward.input = Layout::strided;
    forward.problem.stride = {1, 1, 1};
    forward.problem.output_padding = {};
    forward.weight = Layout::strided;  // transposed
  }
  return forward;
}

ResidentConfig choose_resident(const Description& description, const Device& device) {
  return kept_answer(description, device, [&] { return search(description, device); });
}

namespace {

// Against the kernel with cp.async (resident_tuning.h).
bool pays(const Description& description, const ResidentConfig& config, bool forward) {
  const Problem& p = description.problem;
  const int64_t element = element_bytes(description.precision);
  if (config.shared_bytes == 0) return false;
  if (p.batch * volume(p.input) < kResidentPositions) {
    return forward && element == 2 && description.input == description.output &&
           p.in_channels * element >= (config.packs ? kResidentPackDepth : kResidentFewDepth);
  }
  const bool lines = description.output == Layout::ncdhw;
  if (!forward) return lines && (element == 2 || !config.packs);
  if (config.packs || description.input != description.output) return false;
  const int64_t bytes = p.in_channels * element, positions = p.batch * volume(p.input);
  if (p.out_channels * volume(p.kernel) < kResidentFewestColumns) return false;
  if (element == 2 && bytes >= kResidentRowDepth / 2) return true;
  return lines ? bytes >= kResidentLineDepth
               : bytes >= kResidentRowDepth ||
                     (bytes >= kResidentRowDepth / 2 && positions >= 4 * kResidentPositions);
}

}  // namespace

bool resident_fits(const Description& original, const Device& device) {
  const Description description = as_forward(original);
  const Problem& p = description.problem;
  if (device.arch != 90 || description.direction != Direction::forward) return false;
  if (description.precision == Precision::fp64 || description.precision == Precision::fp32 ||
      p.groups != 1) {
    return false;
  }
  if (description.output == Layout::strided) return false;
  if (description.weight != description.output && volume(p.kernel) > 1) return false;
  if (p.output_padding != Extent3{}) return false;
  for (int axis = 0; axis < 3; ++axis) {
    if (p.padding[axis] != 0 || p.dilation[axis] != 1) return false;
    if (p.kernel[axis] != p.stride[axis] && p.input[axis] != 1) return false;
  }
  const int64_t element = element_bytes(description.precision);
  const int64_t chain = ceil_div(p.in_channels * element, 32);
  return chain <= sm90::max_chain(description.precision) &&
         pays(description, choose_resident(description, device),
              original.direction == Direction::forward);
}

int64_t packed_row_bytes(const Description& description, const ResidentConfig& config) {
  if (!config.packs) return 0;
  const int64_t row = description.problem.in_channels * element_bytes(description.precision);
  return config.image * ceil_div(row, 16) * 16;  // as cuda/sm90/row_pack.h has them
}

std::string to_string(const ResidentConfig& config) {
  return "resident weights, " + std::to_string(config.tiles) + " x " +
         std::to_string(config.slices) + " tiles of 64x" +
         std::to_string(config.strips * config.groups * config.width) + ", " +
         std::to_string(config.slices * config.walkers) + " blocks of " +
         std::to_string(config.warpgroups) + " warpgroups, " + std::to_string(config.slots) +
         " chunks ahead" + (config.packs ? ", packed input" : "");
}

}  // namespace convt3d::cuda::shuffle_gemm
