// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/halo_gemm/plane_march.h"

#include <algorithm>
#include <array>

#include "cuda/common/alignment.h"
#include "cuda/common/kept_answer.h"
#include "cuda/halo_gemm/plane_tuning.h"
#include "cuda/halo_gemm/tuning.h"
#include "cuda/sm90/chain.h"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::halo_gemm {
namespace {

// Taps of an axis that read a residue of u = o + padding.
int64_t taps_of(const Problem& p, int axis, int64_t residue) {
  return (p.kernel[axis] - residue + p.stride[axis] - 1) / p.stride[axis];
}

// Rows of a line, and those behind the last one. Row j of residue r is position 2 j + r - padding;
// position i of grad_input reads rows i .. i + taps - 1. Where what a line reads behind its valid
// rows is zeros, and so are as many first rows of the next line, they share them.
void choose_pitch(const Problem& p, PlaneConfig* config) {
  if (config->paired) {  // row x is positions 2 x and 2 x + 1
    config->pitch = static_cast<int>(p.input[2] + (p.kernel[2] - 1 + p.padding[2] % 2) / 2);
    return;
  }
  const int64_t width = p.input[2], source = p.output()[2], padding = p.padding[2];
  int64_t reach[2], valid = width, first[2], most = 0;
  for (int r = 0; r < 2; ++r) {
    reach[r] = width + taps_of(p, 2, r) - 1;
    first[r] = padding > r ? ceil_div(padding - r, 2) : 0;
    const int64_t end = (source - 1 + padding - r) / 2 + 1;  // behind the last valid row
    valid = std::max(valid, std::min(end, reach[r]));
    most = std::max(most, reach[r]);
  }
  bool shared = true;
  for (int r = 0; r < 2; ++r) shared = shared && first[r] >= reach[r] - valid;
  config->pitch = static_cast<int>(shared ? valid : most);
  config->extra = static_cast<int>(most - config->pitch);
}

// As many slots as there is room for; false if there are too few.
bool choose_slots(const Description& description, PlaneConfig* config) {
  const Problem& p = description.problem;
  int64_t taps_h = 0, taps_w = 0;
  for (int64_t r = 0; r < p.stride[1]; ++r) taps_h = std::max(taps_h, taps_of(p, 1, r));
  for (int64_t r = 0; r < 2; ++r) taps_w = std::max(taps_w, taps_of(p, 2, r));
  const int64_t lines = config->lines + taps_h - 1;
  if (lines > kMaxBox / 2) return false;
  // Boxes start where the swizzle does.
  const int64_t rows = ceil_div(lines * config->pitch + config->extra, 8) * 8;
  config->slot_bytes = static_cast<int>((config->split ? 1 : 2) * rows * kPlaneRowBytes);
  const int64_t weights =
      ceil_div(plane_block_bytes(description, *config), kPlaneAlign) * kPlaneAlign;
  const int64_t room = kSharedBytes - kPlaneAlign - kPlaneBarrierBytes - kPlanePlaceBytes -
                       weights -
                       kPlaneGroups * 4 * plane_mail_bytes(config->columns, config->ranks);
  // Columns behind the last line may be anything, inside shared memory.
  const int64_t more = config->paired ? (p.kernel[2] - 1 + p.padding[2] % 2) / 2 : taps_w - 1;
  const int64_t read = (taps_h - 1) * config->pitch + more + config->columns;
  const int64_t behind =
      std::max<int64_t>(0, read - rows) * (config->paired ? 2 : 1) * kPlaneRowBytes;
  const int64_t slots = (room - behind) / config->slot_bytes;
  config->slots = static_cast<int>(std::min<int64_t>(slots, kPlaneMaxSlots));
  return slots >= kPlaneMinSlots;
}

// Clocks of an SM for all tiles of a plane.
double plane_clocks(const Problem& p, const PlaneConfig& config) {
  const double products = static_cast<double>(volume(p.kernel) * kPlaneSteps * config.columns) / 2;
  int64_t lines = 0;
  for (int64_t r = 0; r < p.stride[1]; ++r) lines += config.lines + taps_of(p, 1, r) - 1;
  const double loads =
      static_cast<double>(p.stride[0] * lines * config.pitch * 2 * kPlaneRowBytes) /
      kPlaneBytesPerClock;
  // With two slots a stage is loaded only while another one is multiplied.
  const double waits = config.slots > kPlaneMinSlots ? 0.25 : 0.5;
  return config.tiles * (std::max(products, loads) + waits * std::min(products, loads));
}

bool is_for_planes(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  if (device.arch != 90 || description.direction != Direction::grad_input) return false;
  const Precision precision = description.precision;
  if (element_bytes(precision) != 2 && precision != Precision::tf32) return false;
  if (description.output != Layout::ndhwc || description.input != Layout::ndhwc) return false;
  if (p.groups != 1 || p.dilation != Extent3{1, 1, 1} || p.stride[2] != 2) return false;
  for (int a : {0, 1}) {
    if (p.stride[a] > 2) return false;
  }
  if (ceil_div(p.kernel[0], p.stride[0]) > kPlaneGroups || p.kernel[2] < 2) return false;
  const Extent3 output = p.output();
  if (std::max({p.batch, p.input[0], p.input[1], output[0], output[1]}) > kMaxExtent) return false;
  if (p.input[2] < kPlaneMinWidth || output[2] < 2) return false;
  for (int a : {0, 1, 2}) {
    if (p.padding[a] > p.kernel[a]) return false;
  }
  // In TF32 a second block of channels takes as long as the first, and was not measured.
  const int blocks = element_bytes(description.precision) == 2 ? 2 : 1;
  return p.out_channels % kPlaneSourceMultiple == 0 && p.out_channels >= kPlaneMinSources &&
         p.out_channels <= kPlaneMaxSources && p.in_channels >= kPlaneMinChannels &&
         p.in_channels <= blocks * kPlaneChannels && p.in_channels % kChannelMultiple == 0 &&
         volume(p.kernel) * kPlaneSteps <= sm90::max_chain(description.precision);
}

PlaneConfig search_planes(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  PlaneConfig config, best;
  if (!is_for_planes(description, device)) return best;
  config.ranks = plane_ranks(element_bytes(description.precision));
  config.split = config.ranks > 1;
  config.paired = 2 * p.out_channels * element_bytes(description.precision) == kRowBytes &&
                  p.output()[2] % 2 == 0;
  config.blocks = static_cast<int>(ceil_div(p.in_channels, kPlaneChannels));
  config.weight_rows =
      static_cast<int>(std::min<int64_t>(kPlaneChannels, ceil_div(p.in_channels, 16) * 16));
  choose_pitch(p, &config);
  if (config.pitch > kMaxBox) return best;
  double least = 0;
  for (config.lines = 1; config.lines <= p.input[1]; ++config.lines) {
    const int64_t positions = (config.lines - 1) * config.pitch + p.input[2];
    const auto* const columns =
        std::lower_bound(kPlaneColumns.begin(), kPlaneColumns.end(), positions);
    if (columns == kPlaneColumns.end()) break;
    config.columns = *columns;
    config.tiles = static_cast<int>(ceil_div(p.input[1], config.lines));
    if (!choose_slots(description, &config)) continue;
    const double clocks = plane_clocks(p, config);
    if (best.columns != 0 && clocks >= least) continue;
    best = config;
    least = clocks;
  }
  const int64_t units = p.batch * best.tiles * p.input[0];
  if (units * best.ranks < kPlaneUnits * device.num_sms || units > kMaxPositions) return {};
  return best;
}

}  // namespace

PlaneConfig choose_planes(const Description& description, const Device& device) {
  return kept_answer(description, device, [&] { return search_planes(description, device); });
}

std::string to_string(const PlaneConfig& config) {
  return "marching through planes of grad_output, " + std::to_string(config.lines) + " lines in " +
         std::to_string(config.columns) + " columns, " + std::to_string(config.slots) + " stages" +
         (config.ranks > 1 ? ", clusters of " + std::to_string(config.ranks) : "");
}

int64_t plane_block_bytes(const Description& description, const PlaneConfig& config) {
  return volume(description.problem.kernel) * config.weight_rows * kPlaneRowBytes;
}

int64_t plane_weight_bytes(const Description& description, const PlaneConfig& config) {
  return int64_t{config.blocks} * config.ranks * plane_block_bytes(description, config);
}

bool can_launch_planes(const Description& description, const Operands& operands) {
  const Problem& p = description.problem;
  const int64_t bytes = element_bytes(description.precision);
  const bool loads = rows_aligned(operands.output, p.batch, p.output(), bytes) &&
                     operands.output.stride[4] == p.out_channels;
  const bool stores = rows_aligned(operands.input, p.batch, p.input, bytes);
  return loads && stores;
}

}  // namespace convt3d::cuda::halo_gemm
