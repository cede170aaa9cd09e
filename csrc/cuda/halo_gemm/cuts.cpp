// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/halo_gemm/cuts.h"

#include <algorithm>
#include <numeric>

#include "cuda/halo_gemm/lines_in_limits.h"
#include "cuda/halo_gemm/tuning.h"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::halo_gemm {
namespace {

// Whether blocks may share items. Not where every other output of a line is stored, which takes as
// long as the products, all at the end then. Measured: 512 -> 256 k3 s2 on 14 x 14 x 9 in bfloat16,
// NCDHW, 87 instead of 63 us.
bool may_share(const Shape& shape, const Config& config) {
  const bool sparse = config.lines_out && shape.problem.stride[2] > 1;
  return !marches(config.slots) && !config.stretches && !sparse && !config.lines_in &&
         config.warpgroups <= max_warpgroups(config.slots, true);
}

// Bytes of a stage of input.
int64_t stage_bytes(const Shape& shape, const Config& config, int64_t shift) {
  const int64_t rows = int64_t{config.warpgroups} * kGroupRows, pitch = config.pitch;
  // How many parts of `all` a run of `length` has something of, if runs follow one another.
  const auto touched = [](int64_t all, int64_t length) {
    return (all - std::gcd(all, length) + length - 1) / all + 1;
  };
  if (!config.lines_in) return ((rows - 1 + shift + pitch - 1) / pitch + 1) * pitch * kRowBytes;
  const int64_t lines = touched(pitch, rows);
  const int64_t planes =
      rows % pitch == 0 ? touched(config.lines, lines) : ceil_div(lines - 1, config.lines) + 1;
  const auto reach = static_cast<int>(config.strip + shape.axis[2].all_span);
  return (lines + planes * shape.axis[1].all_span) * line_width(reach) * 32 * config.steps;
}

}  // namespace

bool choose_positions(const Shape& shape, int strips, Config* config) {
  const AxisSummary &d = shape.axis[0], &h = shape.axis[1], &w = shape.axis[2];
  const int64_t multiple = std::max(config->piece_positions, 1);
  const int64_t strip = strips == 1 ? w.outputs : round_up(ceil_div(w.outputs, strips), multiple);
  const int64_t span = config->fused > 1 ? w.all_span : w.span;
  int64_t pitch = config->lines_in ? strip : strips == 1 ? w.reach : strip + span;
  // Even lines are stored as pairs.
  if (config->lines_out && shape.problem.stride[2] == 1 && w.outputs % 2 == 0) pitch += pitch % 2;
  pitch = round_up(pitch, multiple);
  if (pitch > kMaxBox || strip == 0) return false;
  if (config->lines_in && line_width(static_cast<int>(strip + w.all_span)) > kMaxBox) return false;
  if (config->stretches && pitch < kMinStretchedPitch) return false;
  const int64_t planes =
      marches(config->slots) ? 1 : ceil_div(d.outputs, plane_step(config->slots));
  const int64_t lines = config->lines_in ? h.outputs : h.reach;
  const int64_t positions = shape.problem.batch * planes * lines * pitch;
  const int64_t rows = int64_t{config->warpgroups} * kGroupRows;
  const int64_t shift = h.span * pitch + span;
  if (std::max(positions, shift) + rows > kMaxPositions) return false;
  config->strips = strips;
  config->strip = static_cast<int>(strip);
  config->pitch = static_cast<int>(pitch);
  config->lines = static_cast<int>(lines);
  config->planes = static_cast<int>(planes);
  config->tiles = ceil_div(positions, rows);
  const int64_t column_tiles = ceil_div(shape.problem.out_channels, config->channels);
  const int64_t items = config->tiles * strips * column_tiles;
  const int64_t work = marches(config->slots)
                           ? (shape.problem.output()[0] + shape.problem.padding[0] + 1) *
                                 (h.all_taps() * w.all_taps() + volume(shape.problem.stride))
                           : volume(shape.problem.stride);
  if (items > kMaxWork || items * work > kMaxWork) return false;
  const int64_t stage = ceil_div(stage_bytes(shape, *config, shift), kSwizzleAlign) * kSwizzleAlign;
  if (stage > kSharedBytes) return false;
  config->stage_rows = static_cast<int>(stage / kRowBytes);
  return true;
}

bool choose_parking(const Shape& shape, Config* config) {
  const bool marching = marches(config->slots);
  int64_t planes = 0, plane_taps = 1;
  for (const ProductResidue& r : shape.axis[0].residues) planes = std::max(planes, r.num_taps);
  for (int a : {1, 2}) {
    int64_t most = 0;
    for (const ProductResidue& r : shape.axis[a].residues) most = std::max(most, r.num_taps);
    plane_taps *= most;
  }
  if (shape.sums) {
    planes = shape.axis[0].all_taps() *
             static_cast<int64_t>(shape.axis[1].residues.size() * shape.axis[2].residues.size());
  }
  const int64_t chunk = plane_taps * config->steps, limit = shape.max_chain;
  config->parking_chunks = 0;
  if (chunk > limit) return false;
  const int64_t instructions =
      shape.sums ? volume(shape.problem.kernel) * config->steps : planes * chunk;
  if (instructions * config->chunks <= limit) return true;
  if (!parks(config->fused * config->slots * config->channels)) return false;
  // Parts of equal length; where it marches each plane ends one.
  const int64_t chunks = (marching ? 1 : planes) * config->chunks;
  const int64_t parts = ceil_div(chunks, limit / chunk);
  config->parking_chunks = static_cast<int>(ceil_div(chunks, parts));
  return true;
}

bool choose_stages(const Shape& shape, Config* config) {
  const Problem& p = shape.problem;
  const int64_t columns = int64_t{config->slots} * config->channels;
  const int64_t block = 32 * config->steps * columns;
  const int64_t column_tiles = ceil_div(p.out_channels, config->channels);
  const int64_t input = int64_t{config->stage_rows} * kRowBytes;
  const auto bytes = static_cast<int>(shape.bytes);
  const int64_t lines = !config->lines_out  ? 0
                        : config->stretches ? stretch_bytes(bytes)
                                            : line_bytes(config->fused, bytes);
  const int64_t room = kSharedBytes - kSwizzleAlign - barrier_bytes() -
                       column_tiles * config->channels * 4 - 4 * config->warpgroups * lines -
                       shared_unit_bytes(may_share(shape, *config));
  const int64_t taps =
      packed_taps(p, config->slots) / (marches(config->slots) ? p.kernel[0] : config->slots);
  int64_t plane_taps = 1;
  for (int a : {1, 2}) {
    int64_t most = 0;
    for (const ProductResidue& r : shape.axis[a].residues) most = std::max(most, r.num_taps);
    plane_taps *= most;
  }
  plane_taps = std::max<int64_t>(plane_taps, 1);
  const int64_t all = block * taps * config->chunks * column_tiles;
  config->resident = !shape.sums && all + 2 * input <= room;
  if (config->resident) {
    // One group holds all that a chunk needs: `weight_stages` of them are all weights.
    config->weight_group = static_cast<int>(plane_taps);
    config->weight_stages =
        static_cast<int>(ceil_div(taps * config->chunks * column_tiles, plane_taps));
    config->input_stages = static_cast<int>(std::min<int64_t>(
        kMaxInputStages, (room - block * config->weight_stages * config->weight_group) / input));
    if (config->input_stages >= 2) return true;
    config->resident = false;
  }
  const int64_t affordable = (room - 2 * input) / kMinWeightStages / block;
  if (affordable < 1) return false;
  config->weight_group = static_cast<int>(
      std::min({affordable, plane_taps, std::max<int64_t>(1, kWeightStageBytes / block)}));
  const int64_t weight = block * config->weight_group;
  // A third of the room to weights, at most what their ring holds.
  const int64_t wanted = std::clamp<int64_t>(room / 3 / weight, kMinWeightStages, 4);
  config->input_stages =
      static_cast<int>(std::clamp<int64_t>((room - wanted * weight) / input, 2, kMaxInputStages));
  config->weight_stages = static_cast<int>(
      std::min<int64_t>(kMaxWeightStages, (room - config->input_stages * input) / weight));
  return config->weight_stages >= kMinWeightStages;
}

std::array<int, 3> sharing_blocks(const Shape& shape, const Config& config) {
  const AxisSummary &d = shape.axis[0], &h = shape.axis[1], &w = shape.axis[2];
  if (!may_share(shape, config)) return {};
  const int64_t tiles =
      config.tiles * config.strips * ceil_div(shape.problem.out_channels, config.channels);
  int64_t work = 0, most = 0, residues = 0, least = INT64_MAX;  // least: of an item
  for (const ProductResidue& of_h : h.residues) {
    for (const ProductResidue& of_w : w.residues) {
      if (of_h.num_taps * of_w.num_taps == 0) continue;
      const int64_t each = of_h.num_taps * of_w.num_taps + kPlaneTaps;
      most = std::max(most, each);
      work += tiles * d.all_taps() * config.chunks * each;
      for (const ProductResidue& of_d : d.residues) {
        if (of_d.num_taps == 0) continue;
        ++residues;
        least = std::min(least, of_d.num_taps * config.chunks * each);
      }
    }
  }
  const int64_t items = shape.sums ? tiles : tiles * residues;
  const int blocks = std::min(shape.num_sms, kMaxSharingBlocks);
  if (work == 0 || work > kMaxWork || items > kSimulated * blocks || work / blocks < most)
    return {};
  if (work / blocks / least + 2 > kMaxSharedUnits || work / tiles > kMaxSharedWork) return {};
  if (items > blocks || items != tiles) return {blocks};
  return {blocks, static_cast<int>(blocks / items * items), static_cast<int>(items)};
}

}  // namespace convt3d::cuda::halo_gemm
