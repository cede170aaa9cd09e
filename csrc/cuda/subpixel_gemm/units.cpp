// SPDX-License-Identifier: BSD-3-Clause
// The choice of units, see unit_kernel.cuh.
#include <algorithm>

#include "cuda/subpixel_gemm/params.h"
#include "cuda/subpixel_gemm/spans.h"
#include "cuda/subpixel_gemm/subpixel_gemm.h"

namespace convt3d::cuda::subpixel_gemm {
namespace {

// What a configuration is chosen for, but for its classes.
struct UnitSearch {
  const Problem& p;
  const Device& device;
  int element;
  Config config{};

  UnitPlaces places(const ResidueClass& c) const {
    return {config, c, static_cast<int>(p.stride[2]), element, static_cast<int>(p.output()[2])};
  }
  int64_t line_outs() const { return p.out_channels_per_group() / config.tile_outs; }
  int64_t all_runs(const ResidueClass& c) const { return line_outs() * c.residues[0] * runs_h(c); }
  int64_t all_chunks(const ResidueClass& c) const {
    return c.chunks * (p.groups / config.tile_groups);
  }

  // Clocks of a warp for a unit.
  double unit_clocks(const ResidueClass& c) const {
    const double steps = c.depth * element / 32, tiles = c.columns / 8;
    const double of_tile = steps * unit_step_clocks(element) + kUnitTileClocks;
    const double bytes = static_cast<double>(c.lines) * config.tile_w * config.tile_lines *
                         p.stride[2] * config.tile_groups * config.tile_outs * element;
    const double loads = steps * kUnitLoadClocks;
    return kUnitClocks + config.tile_groups * (tiles * of_tile + loads) + bytes / 512 * 8;
  }
  double clocks(const ResidueClass& c) const {
    return static_cast<double>(p.groups / config.tile_groups * all_runs(c) * c.tiles) *
           unit_clocks(c);
  }

  // Lines of a unit and units of a chunk; false if not even one line fits.
  bool choose_lines(ResidueClass* c) const {
    const int64_t line = config.tile_outs * p.stride[2];
    ResidueClass best = *c;
    best.lines = 0;
    for (int64_t parts = 1; parts <= c->residues[1]; ++parts) {
      c->lines = static_cast<int>(ceil_div(c->residues[1], parts));
      c->columns = round_up(static_cast<int>(std::min<int64_t>(c->lines * line, kMaxCount / 2)), 8);
      if (c->columns > 8 * kUnitTiles) continue;
      // Measured: 104 us, against 88 by tiles, for 16 groups of 8 columns in float32.
      if (config.tile_groups > 1 && c->columns < 16) continue;
      c->runs = 1;
      const int64_t run = int64_t{config.tile_groups} * run_words(*c, element) * 4;
      const int64_t room = shared_limit(device.arch) - places(*c).end + run;
      const int64_t fit = run == 0 ? all_runs(*c) : room / run;
      if (room < 0 || fit < 1) continue;
      c->chunks = static_cast<int>(ceil_div(all_runs(*c), std::min(fit, all_runs(*c))));
      c->runs = static_cast<int>(ceil_div(all_runs(*c), c->chunks));
      c->chunks = static_cast<int>(ceil_div(all_runs(*c), c->runs));
      if (best.lines == 0 || clocks(*c) < clocks(best)) best = *c;
    }
    *c = best;
    return c->lines > 0;
  }

  bool add_classes(const std::vector<Span>& of_d, const std::vector<Span>& of_h) {
    config.num_classes = 0;
    config.clocks = 0;
    const int64_t taps_w = element == 2 ? config.taps_w + config.taps_w % 2 : config.taps_w;
    for (const Span& d : of_d) {
      for (const Span& h : of_h) {
        ResidueClass c = class_of(d, h);
        const int64_t depth = p.in_channels_per_group() * d.taps * h.taps * taps_w;
        const int64_t lines = p.batch * d.num_q * h.num_q;
        const int64_t tiles = ceil_div(lines, config.tile_lines) * config.parts_w;
        const int step = 32 / element;
        if (depth > kMaxDepth || tiles > kMaxCount) return false;
        c.depth = round_up(static_cast<int>(depth), step);
        c.tiles = static_cast<int>(tiles);
        c.splits = 1;
        if (!choose_lines(&c)) return false;
        if (c.tiles > kMaxCount / c.runs) return false;
        config.classes[config.num_classes++] = c;
        config.clocks += clocks(c);
      }
    }
    return config.num_classes > 0;
  }

  // A block on each SM, more of them for classes that take long; and the workspace.
  bool finish() {
    int64_t blocks = 0;
    for (int i = 0; i < config.num_classes; ++i) blocks += all_chunks(config.classes[i]);
    for (;;) {
      ResidueClass* longest = nullptr;
      double most = 0;
      for (int i = 0; i < config.num_classes; ++i) {
        ResidueClass& c = config.classes[i];
        const double own = c.runs * c.tiles * unit_clocks(c) / c.splits;
        if (own > most) most = own, longest = &c;
      }
      if (longest == nullptr || blocks + all_chunks(*longest) > device.num_sms ||
          longest->splits >= longest->tiles) {
        config.clocks = std::max(config.clocks, most * device.num_sms);
        break;
      }
      ++longest->splits;
      blocks += all_chunks(*longest);
    }
    blocks = 0;
    int64_t at = 0;
    int most_taps[2] = {1, 1};
    for (int i = 0; i < config.num_classes; ++i) {
      ResidueClass& c = config.classes[i];
      c.first_block = static_cast<int>(std::min<int64_t>(blocks, kMaxCount));
      blocks += c.splits * all_chunks(c);
      config.shared = std::max(config.shared, places(c).end);
      c.part = at;
      at += p.groups * all_runs(c) * run_words(c, element);
      for (int axis = 0; axis < 2; ++axis) {
        most_taps[axis] = std::max(most_taps[axis], c.taps[axis]);
      }
    }
    config.blocks = static_cast<int>(std::min<int64_t>(blocks, kMaxCount));
    config.copy = at;
    for (int axis = 0; axis < 2; ++axis) {
      int first = kMaxCount, end = -kMaxCount;
      for (int i = 0; i < config.num_classes; ++i) {
        const ResidueClass& c = config.classes[i];
        first = std::min(first, c.first_q[axis] - most_taps[axis] + 1);
        end = std::max(end, c.first_q[axis] + c.num_q[axis]);
      }
      config.copy_first[axis] = first;
      config.copy_extent[axis] = end - first;
    }
    const int taps_w = element == 2 ? config.taps_w + config.taps_w % 2 : config.taps_w;
    config.copy_first[2] = config.first_q - std::max(taps_w, 1) + 1;
    config.copy_extent[2] =
        std::max(taps_w, 1) - 1 + (config.parts_w - 1) * config.step_w + config.tile_w;
    double words = static_cast<double>(p.batch * p.in_channels);
    for (int extent : config.copy_extent) words *= extent;
    if (words > kMaxCount) return false;
    config.parts = at + static_cast<int64_t>(words);
    config.units = true;
    return blocks < kMaxCount;
  }
};

}  // namespace

Config search_units(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  const bool channels_last = description.output != Layout::ncdhw;
  const Span w(p, 2, 0, p.stride[2]);
  Config best{};
  for (const auto& of_d : cut_axis(p, 0)) {
    for (const auto& of_h : cut_axis(p, 1)) {
      UnitSearch search{p, device, static_cast<int>(element_bytes(description.precision))};
      Config& config = search.config;
      // All channels of a pixel.
      config.tile_groups = channels_last ? static_cast<int>(p.groups) : 1;
      config.tile_outs = channels_last ? static_cast<int>(p.out_channels_per_group()) : 1;
      config.taps_w = static_cast<int>(w.taps);
      config.dense = true;
      cut_lines(p, Direction::forward, w, &config);
      if (!search.add_classes(of_d, of_h)) continue;
      if (!search.finish()) continue;
      if (best.num_classes == 0 || config.clocks < best.clocks) best = config;
    }
  }
  return best;
}

}  // namespace convt3d::cuda::subpixel_gemm
