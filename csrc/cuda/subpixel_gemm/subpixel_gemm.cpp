// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/subpixel_gemm/subpixel_gemm.h"

#include <algorithm>
#include <vector>

#include "cuda/common/folded.h"
#include "cuda/common/kept_answer.h"
#include "cuda/common/resident.h"
#include "cuda/common/sums.h"
#include "cuda/few_channels/few_channels.h"
#include "cuda/subpixel_gemm/config.h"
#include "cuda/subpixel_gemm/params.h"
#include "cuda/subpixel_gemm/spans.h"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::subpixel_gemm {
namespace {

// What a configuration is chosen for, but for its classes.
struct Search {
  const Problem& p;
  Direction direction;
  int64_t element;
  int64_t most_shared;
  bool channels_last;
  Config config{};
  int64_t line_outs = 1;

  // Clocks of an SM for a tile, and for a chunk's start.
  double tile_clocks(const ResidueClass& c) const {
    const double columns = config.tile_groups * c.columns, steps = c.depth * element / 32.0;
    double store = columns * (element == 2 ? kStoreClocks16 : kStoreClocks32);
    if (!config.dense) {
      const int64_t run = config.tile_groups * config.tile_outs * element;
      store *= static_cast<double>(std::clamp<int64_t>(32 / run, 1, 8));
    }
    return kTileClocks + kDepthClocks * config.tile_groups * c.depth +
           columns / 16 * steps * step_clocks(direction, element) + store;
  }
  double chunk_clocks(const ResidueClass& c) const {
    return kChunkClocks +
           kWeightClocks * static_cast<double>(config.tile_groups) * c.columns * c.depth;
  }
  double clocks(const ResidueClass& c) const {
    return static_cast<double>(p.groups / config.tile_groups) * c.chunks *
           (c.tiles * tile_clocks(c) + c.splits * chunk_clocks(c));
  }

  Places places(const ResidueClass& c) const {
    return {direction, config, c, static_cast<int>(p.stride[2]), static_cast<int>(element)};
  }

  // Whether registers hold a block's sums.
  bool sums_fit(const ResidueClass& c) const {
    if (direction != Direction::grad_weight) {
      return int64_t{c.columns} * config.tile_groups <= kMaxColumns;
    }
    return ceil_div(c.depth, kUnitColumns) * (c.columns / 16) * config.tile_groups <=
           kMaxUnits * kWarps;
  }

  // The chunk of lines of a class that takes least; false if not even one line fits.
  bool choose_lines(ResidueClass* c) const {
    const int64_t all = line_outs * c->residues[0] * c->residues[1];
    const int64_t line = config.tile_outs * p.stride[2];
    ResidueClass best = *c;
    best.lines = 0;
    for (int64_t chunks = 1; chunks <= all; ++chunks) {
      const int64_t lines = ceil_div(all, chunks);
      chunks = ceil_div(all, lines);
      c->lines = static_cast<int>(lines);
      c->chunks = static_cast<int>(chunks);
      c->columns = round_up(static_cast<int>(std::min<int64_t>(lines * line, kMaxCount / 2)), 16);
      if (sums_fit(*c) && places(*c).end <= most_shared &&
          (best.lines == 0 || clocks(*c) < clocks(best))) {
        best = *c;
      }
      if (lines > 1) chunks = std::max(chunks, ceil_div(all, lines - 1) - 1);
    }
    *c = best;
    return c->lines > 0;
  }

  // Classes of these spans of d and h; false if one does not fit.
  bool add_classes(const std::vector<Span>& of_d, const std::vector<Span>& of_h) {
    config.num_classes = 0;
    config.clocks = 0;
    for (const Span& d : of_d) {
      for (const Span& h : of_h) {
        ResidueClass c = class_of(d, h);
        const int64_t depth = p.in_channels_per_group() * d.taps * h.taps * config.taps_w;
        if (depth == 0 && direction != Direction::forward) continue;  // forward: bias
        const int64_t lines = p.batch * d.num_q * h.num_q;
        const int64_t tiles = ceil_div(lines, config.tile_lines) * config.parts_w;
        if (depth > kMaxDepth || tiles > kMaxCount) return false;
        c.depth = round_up(static_cast<int>(depth), static_cast<int>(32 / element));
        c.tiles = static_cast<int>(tiles);
        c.splits = 1;
        if (!choose_lines(&c)) return false;
        config.classes[config.num_classes++] = c;
        config.clocks += clocks(c);
      }
    }
    return config.num_classes > 0;
  }

  int64_t least_splits(const ResidueClass& c) const {
    return direction == Direction::grad_weight ? ceil_div(c.tiles, kMaxSumTiles) : 1;
  }

  // Partial results of a class.
  int64_t part_floats(const ResidueClass& c) const {
    const int64_t slots = p.groups * c.chunks;
    if (direction == Direction::forward) return 0;
    if (direction == Direction::grad_weight) return slots * c.splits * c.depth * c.columns;
    const int64_t lines = p.batch * c.num_q[0] * c.num_q[1];
    return slots * lines * c.taps[0] * c.taps[1] * p.in_channels_per_group() * p.input[2];
  }

  // Clocks that a block of a class takes, its warps waiting for one another.
  double block_clocks(const ResidueClass& c) const {
    const double wide = element == 2 ? 1 : 2, depth = config.tile_groups * c.depth;
    const double rounds = static_cast<double>(ceil_div(config.tile_groups * c.columns, 128));
    const double steps = static_cast<double>(c.depth * element / 32);
    return static_cast<double>(ceil_div(c.tiles, c.splits)) *
           (kTileWait + kDepthWait * wide * depth + kStepWait * wide * rounds * steps);
  }

  // As many blocks as there is room for, more of them for classes whose blocks take long.
  void share_blocks(int64_t resident) {
    int64_t blocks = 0;
    for (int i = 0; i < config.num_classes; ++i) {
      ResidueClass& c = config.classes[i];
      c.splits = static_cast<int>(least_splits(c));
      blocks += c.splits * all_chunks(c);
    }
    for (;;) {
      ResidueClass* longest = config.classes;
      for (int i = 1; i < config.num_classes; ++i) {
        ResidueClass& c = config.classes[i];
        if (block_clocks(c) > block_clocks(*longest)) longest = &c;
      }
      ResidueClass more = *longest;  // as few splits as make a difference
      while (more.splits < more.tiles && block_clocks(more) == block_clocks(*longest)) {
        ++more.splits;
      }
      const int64_t added = (more.splits - longest->splits) * all_chunks(more);
      if (added == 0 || blocks + added > resident) break;
      *longest = more;
      blocks += added;
    }
    blocks = 0;
    config.clocks = 0;
    config.shared = 0;
    config.parts = 0;
    for (int i = 0; i < config.num_classes; ++i) {
      ResidueClass& c = config.classes[i];
      c.first_block = static_cast<int>(std::min<int64_t>(blocks, kMaxCount));
      blocks += c.splits * all_chunks(c);
      c.part = config.parts;
      config.parts += part_floats(c);
      config.shared = std::max(config.shared, places(c).end);
      config.clocks += clocks(c);
    }
    config.blocks = static_cast<int>(std::min<int64_t>(blocks, kMaxCount));
  }

  int64_t all_chunks(const ResidueClass& c) const {
    return c.chunks * (p.groups / config.tile_groups);
  }
};

Config search(const Description& description, const Device& device, int resident) {
  const Problem& p = description.problem;
  const Span w(p, 2, 0, p.stride[2]);
  const int64_t element = element_bytes(description.precision);
  const bool channels_last = description.output != Layout::ncdhw;
  const int64_t most_shared = std::min(shared_of_block(resident), shared_limit(device.arch));
  Config best{};
  const auto ways_d = cut_axis(p, 0), ways_h = cut_axis(p, 1);
  const int64_t most_groups = channels_last ? std::min<int64_t>(p.groups, kMaxColumns / 16) : 1;
  for (int64_t groups = most_groups; groups >= 1; --groups) {
    if (p.groups % groups != 0) continue;
    Search search{p, description.direction, element, most_shared, channels_last};
    Config& config = search.config;
    config.tile_groups = static_cast<int>(groups);
    config.tile_outs = static_cast<int>(channels_last ? p.out_channels_per_group() : 1);
    search.line_outs = p.out_channels_per_group() / config.tile_outs;
    config.taps_w = static_cast<int>(w.taps);
    config.dense = !channels_last || groups * config.tile_outs == p.out_channels;
    cut_lines(p, description.direction, w, &config);
    for (const auto& of_d : ways_d) {
      for (const auto& of_h : ways_h) {
        if (!search.add_classes(of_d, of_h)) continue;
        if (best.num_classes == 0 || config.clocks < best.clocks) best = config;
      }
    }
  }
  if (best.num_classes == 0) return best;
  Search chosen{p, description.direction, element, 0, channels_last, best};
  chosen.share_blocks(int64_t{resident} * device.num_sms);
  return chosen.config;
}

bool pays(const Description& description, const Device& device, const Config& config) {
  const Problem& p = description.problem;
  const bool depthwise = p.in_channels_per_group() == 1 && p.out_channels_per_group() == 1;
  const double outputs =
      static_cast<double>(p.batch * p.out_channels) * static_cast<double>(volume(p.output()));
  const double estimate = config.clocks / (device.num_sms * kClocksPerUs);
  return expected_us(description.direction, element_bytes(description.precision), estimate) <
         others_us(description.direction, depthwise, volume(p.kernel), outputs * 1e-6,
                   useful_flops(p) / 2 * 1e-6);
}

bool is_left_to_few_channels(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  if (description.direction != Direction::grad_input) return false;
  const int64_t sum = p.out_channels_per_group() * volume(p.kernel);
  const int64_t read = p.batch * volume(p.output());
  return (sum <= kShortSum || (sum < kLongSum && read > kManyRead)) &&
         few_channels::supports(description, device).ok;
}

bool extents_fit(const Problem& p) {
  const Extent3 output = p.output();
  for (int axis = 0; axis < 3; ++axis) {
    for (int64_t extent : {p.input[axis], p.padding[axis], output[axis]}) {
      if (extent > kMaxCount / 4) return false;
    }
    if (p.stride[axis] > kMaxStride || p.kernel[axis] > kMaxAxisTaps * p.stride[axis]) return false;
  }
  const double channels = static_cast<double>(p.in_channels);
  const double inputs = channels * static_cast<double>(p.batch * volume(p.input));
  const double weights =
      channels * static_cast<double>(p.out_channels_per_group() * volume(p.kernel));
  return std::max(inputs, weights) <= kMaxCount && p.out_channels <= kMaxCount;
}

}  // namespace

Config choose(const Description& description, const Device& device) {
  return kept_answer(description, device, [&] {
    const bool wide = element_bytes(description.precision) == 4;
    const bool forward = description.direction == Direction::forward;
    int resident = forward ? blocks_per_sm(wide ? Precision::fp32 : description.precision) : 2;
    Config found = search(description, device, resident);
    while (found.num_classes == 0 && --resident > 0) found = search(description, device, resident);
    if (forward && found.num_classes != 0) {
      Config units = search_units(description, device);
      if (units.num_classes != 0 && units.parts <= kMaxParts) {
        units.clocks = found.clocks;
        return units;
      }
    }
    return found;
  });
}

Verdict supports(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  if (description.precision == Precision::fp64) return Verdict::refuse("no kernel for fp64");
  if (device.arch < 80) return Verdict::refuse("needs compute capability 8.0 or later");
  if (p.batch == 0) return Verdict::refuse("an empty batch");
  if (description.output == Layout::strided) return Verdict::refuse("a strided grad_output");
  if (p.dilation != Extent3{1, 1, 1}) return Verdict::refuse("no dilation");
  if (volume(p.stride) < kMinResidues) return Verdict::refuse("fewer than 27 residues");
  if (!extents_fit(p)) return Verdict::refuse("extents, strides or taps beyond its counts");
  if (is_folded_forward(description, device)) {
    return Verdict::refuse("few positions: few_channels multiplies them with all taps");
  }
  if (is_resident_forward(description)) {
    return Verdict::refuse("few positions: direct keeps them in shared memory");
  }
  if (description.precision == Precision::fp32 && description.direction == Direction::forward &&
      products_of_sum(description) < kMinFloatSum) {
    return Verdict::refuse("float32 sums of fewer than 8 products: three TF32 products are worse");
  }
  if (is_left_to_few_channels(description, device)) {
    return Verdict::refuse("grad_input with short sums: few_channels is faster");
  }
  const Config config = choose(description, device);
  if (config.num_classes == 0) return Verdict::refuse("too many channels or taps per residue");
  if (config.parts > kMaxParts) return Verdict::refuse("too large a workspace");
  if (!pays(description, device, config)) {
    return Verdict::refuse("little to compute, or most of it wasted: others are faster");
  }
  return Verdict::accept();
}

int64_t workspace_bytes(const Description& description, const Device& device) {
  return choose(description, device).parts * int64_t{sizeof(float)};
}

std::string to_string(const Config& config) {
  const ResidueClass* most = config.classes;
  for (int i = 1; i < config.num_classes; ++i) {
    const ResidueClass& c = config.classes[i];
    if (c.residues[0] * c.residues[1] > most->residues[0] * most->residues[1]) most = &c;
  }
  return std::to_string(config.num_classes) + " classes of residues, " +
         (config.units ? "units" : "tiles") + " of " + std::to_string(config.tile_lines) + "x" +
         std::to_string(config.tile_w) + " by " + std::to_string(config.tile_groups) + "x" +
         std::to_string(most->columns) + " by " + std::to_string(most->depth) + ", " +
         std::to_string(config.blocks) + " blocks";
}

std::string config(const Description& description, const Device& device) {
  return to_string(choose(description, device));
}

}  // namespace convt3d::cuda::subpixel_gemm
