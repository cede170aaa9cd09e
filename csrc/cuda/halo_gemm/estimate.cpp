// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/halo_gemm/estimate.h"

#include <algorithm>
#include <utility>

#include "cuda/halo_gemm/lines_in_limits.h"
#include "cuda/halo_gemm/store_clocks.h"
#include "cuda/halo_gemm/tuning.h"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::halo_gemm {
namespace {

// Items by their clocks, and how many there are.
using Classes = std::vector<std::pair<double, int64_t>>;

// Of the blocks that are busy longest: items are dealt out back and forth, longest first.
double most_clocks(Classes classes, int64_t blocks) {
  std::sort(classes.rbegin(), classes.rend());
  int64_t items = 0;
  double total = 0;
  for (const auto& [clocks, number] : classes) {
    items += number;
    total += clocks * static_cast<double>(number);
  }
  const double mean = total / static_cast<double>(blocks);
  if (items > kSimulated * blocks) return mean + classes.front().first / 2;
  // The first, the last and one between them.
  double most = 0;
  for (int64_t at : {int64_t{0}, blocks / 2, blocks - 1}) {
    double load = 0;
    size_t kind = 0;
    int64_t before = 0;  // items of the kinds before
    for (int64_t round = 0; round * blocks < items; ++round) {
      const int64_t item = round * blocks + (round % 2 == 0 ? at : blocks - 1 - at);
      if (item >= items) continue;
      while (item >= before + classes[kind].second) before += classes[kind++].second;
      load += classes[kind].first;
    }
    most = std::max(most, load);
  }
  return most;
}

// Of the tiles' planes of positions, those from which so many taps of d reach the input; taps that
// reach it from no plane of a tile are left out.
std::vector<int64_t> planes_by_taps(const Shape& shape, const Config& config,
                                    const ProductResidue& of_d) {
  const int64_t rows = int64_t{config.warpgroups} * kGroupRows;
  const int64_t more = (rows - 1) / (int64_t{config.lines} * config.pitch);  // planes of a tile
  std::vector<int64_t> planes(static_cast<size_t>(of_d.num_taps + 1));
  for (int64_t first = 0; first < config.planes; ++first) {
    const int64_t last = std::min<int64_t>(first + more, config.planes - 1);
    int64_t reached = of_d.num_taps;
    if (shape.problem.batch == 1 || first + more == last) {
      reached = 0;
      for (int64_t j = 0; j < of_d.num_taps; ++j) {
        const int64_t input = of_d.first_input - j * of_d.input_step;
        const int step = plane_step(config.slots);
        reached += input + step * last >= 0 && input + step * first < shape.problem.input[0];
      }
    }
    ++planes[static_cast<size_t>(reached)];
  }
  return planes;
}

// Of blocks that share all items. `work`: of an item of each residue, added up.
double shared_clocks(const Config& config, int64_t count, double work, int64_t residues,
                     double start) {
  const double blocks = config.sharing_blocks;
  const auto items = static_cast<double>(count * residues);
  // Tiles of sums that a block writes and reads, beside its products.
  const int64_t parts = ceil_div(config.sharing_blocks, count * residues);
  const bool even = config.sharing_blocks % (count * residues) == 0;
  const int64_t tiles = !config.joins ? 0
                        : parts < 2   ? 2
                        : even        ? (parts == 2 ? 2 : parts + 1)
                                      : parts + 3;
  const double bytes = static_cast<double>(tiles) * config.warpgroups * kGroupRows * config.slots *
                       config.channels * sizeof(float);
  const double all = static_cast<double>(count) * work + items * start;
  const double zero = config.weight_as_is && config.joins ? kZeroClocks : 0;
  const double joins = parts >= 2 && even ? 1 : 2;
  const double joined = config.joins ? start + joins * kJoinClocks + bytes / kJoinBytesPerClock : 0;
  return (all / blocks + joined + zero) * kSharingClocks;
}

// Clocks where nothing marches. `store` are those of an item's outputs.
template <typename PlaneClocks>
double estimate_items(const Shape& shape, const Config& config, double store,
                      const PlaneClocks& plane_clocks) {
  const AxisSummary &d = shape.axis[0], &h = shape.axis[1], &w = shape.axis[2];
  const int64_t count =
      config.tiles * config.strips * ceil_div(shape.problem.out_channels, config.channels);
  const double start = kItemClocks + store;
  if (config.sharing_blocks > 0) {
    double work = 0;
    int64_t residues = 0;
    for (const ProductResidue& of_h : h.residues) {
      for (const ProductResidue& of_w : w.residues) {
        if (of_h.num_taps * of_w.num_taps == 0) continue;
        work += static_cast<double>(d.all_taps()) * plane_clocks(of_h, of_w.num_taps);
        for (const ProductResidue& of_d : d.residues) residues += of_d.num_taps > 0;
      }
    }
    return shared_clocks(config, count, work, shape.sums ? 1 : residues, start);
  }
  if (shape.sums) {
    double item = start;
    for (const ProductResidue& of_h : h.residues) {
      for (const ProductResidue& of_w : w.residues) {
        item += static_cast<double>(d.all_taps()) * plane_clocks(of_h, of_w.num_taps);
      }
    }
    return item * static_cast<double>(std::max<int64_t>(1, ceil_div(count, shape.num_sms)));
  }
  Classes classes;
  for (const ProductResidue& of_d : d.residues) {
    const std::vector<int64_t> planes = planes_by_taps(shape, config, of_d);
    for (const ProductResidue& of_h : h.residues) {
      for (const ProductResidue& of_w : w.residues) {
        if (of_d.num_taps * of_h.num_taps * of_w.num_taps == 0) continue;  // bias_fill.h
        const double clocks = plane_clocks(of_h, of_w.num_taps);
        for (size_t taps = 0; taps < planes.size(); ++taps) {
          if (planes[taps] == 0) continue;
          classes.emplace_back(static_cast<double>(taps) * clocks + start,
                               ceil_div(count * planes[taps], config.planes));
        }
      }
    }
  }
  return classes.empty() ? 0 : most_clocks(std::move(classes), shape.num_sms);
}

// Of one input plane of a residue of h and w: products, or the loads for them.
double plane_clocks(const Shape& shape, const Config& config, const ProductResidue& h,
                    int64_t taps_w) {
  const int columns = config.slots * config.channels;
  // Of lines, eight positions that lie on two share banks.
  const double conflicts = config.lines_in && config.pitch % 8 != 0 ? 112.0 / config.pitch : 0;
  const double shared = (16 + conflicts + columns / 4.0) * kSharedClocks;
  const double step = std::max(columns / 2.0, shared) + kIssueClocks;
  const double rows = config.warpgroups * kGroupRows;
  const double taps = static_cast<double>(h.num_taps * taps_w);
  const double shift =
      static_cast<double>((h.num_taps - 1) * h.input_step * config.pitch + shape.axis[2].span);
  const double products = taps * config.steps * config.warpgroups * step;
  double positions = rows + shift + config.pitch / 2.0;
  if (config.lines_in) {
    const auto reach = static_cast<int>(config.strip + shape.axis[2].all_span);
    const auto span = static_cast<double>((h.num_taps - 1) * h.input_step);
    positions = (rows / config.pitch + 0.5 + span) * line_width(reach);
  }
  const double loads =
      positions * 32 * config.steps + (config.resident ? 0 : taps * config.steps * 32 * columns);
  return taps == 0 ? 0.0 : config.chunks * std::max(products, loads / kLoadBytesPerClock);
}

// What an input plane of a tile takes where it marches, all residues: with its stores, without
// them, and with them the residue that takes longest. `slower`: than they are estimated, the
// stores.
struct MarchClocks {
  double all = 0, products = 0, longest = 0;
};

MarchClocks march_clocks(const Shape& shape, const Config& config, double slower = 1) {
  const Problem& p = shape.problem;
  const double stores = slower * store_clocks(config, shape.bytes, p.stride[2]) *
                        static_cast<double>(p.stride[0] * config.fused);
  MarchClocks clocks;
  for (const ProductResidue& h : shape.axis[1].residues) {
    for (const ProductResidue& w : shape.axis[2].residues) {
      const int64_t taps_w = config.fused > 1 ? p.kernel[2] : w.num_taps;
      if (h.num_taps * taps_w == 0) continue;  // bias_fill.h
      const double products = plane_clocks(shape, config, h, taps_w);
      // A warpgroup stores while others multiply. Measured: 64 -> 32 k3 s2 on 128 x 128 x 16 in
      // bfloat16, NCDHW, 237, 193 and 149 us with one, two and three.
      const double alone = std::max(0.0, (3 - config.warpgroups) / 2.0);
      const double both = std::max(products, stores) + alone * std::min(products, stores);
      const double plane = both + kPlaneClocks;
      clocks.all += plane;
      clocks.products += products;
      clocks.longest = std::max(clocks.longest, plane);
      if (config.fused > 1) break;
    }
  }
  return clocks;
}

int64_t marching_steps(const Problem& p) {
  return (p.output()[0] - 1 + p.padding[0]) / p.stride[0] + 1;
}

}  // namespace

double estimate(const Shape& shape, const Config& config) {
  const Problem& p = shape.problem;
  if (marches(config.slots)) {
    const auto tiles = static_cast<double>(config.tiles * config.strips *
                                           ceil_div(p.out_channels, config.channels));
    const int64_t before = (p.kernel[0] - 1) / p.stride[0];
    const MarchClocks clocks = march_clocks(shape, config);
    const double total = tiles * static_cast<double>(marching_steps(p)) * clocks.all;
    return total / shape.num_sms + static_cast<double>(before + 1) * clocks.longest + kItemClocks;
  }
  const double store = store_clocks(config, shape.bytes, p.stride[2]);
  return estimate_items(shape, config, config.slots * store / 2,
                        [&](const ProductResidue& h, int64_t taps_w) {
                          return plane_clocks(shape, config, h, taps_w);
                        });
}

int choose_segments(const Shape& shape, const Config& config) {
  const Problem& p = shape.problem;
  if (!marches(config.slots) || !config.lines_out || config.fused == 1) return 0;
  const int64_t tiles = config.tiles * config.strips, steps = marching_steps(p);
  // What L2 holds is complete when memory gets it.
  const int64_t bytes = p.batch * p.out_channels * volume(p.output()) * shape.bytes;
  const double apart = bytes > kKeptBytes ? kApartClocks : 1;
  const double far = bytes > kKeptBytes && config.stretches ? kFarClocks : 1;
  // A segment computes some planes once more.
  const double again =
      static_cast<double>((p.kernel[0] - 1) / p.stride[0]) * march_clocks(shape, config).products;
  const auto march = [&](double planes, double slower) {
    return planes * march_clocks(shape, config, slower).all + again;
  };
  double least = march(static_cast<double>(tiles * steps) / shape.num_sms, apart * far);
  int best = 0;
  for (int64_t segments = 1; segments <= std::min(steps, kMaxSegments); ++segments) {
    const double planes = static_cast<double>(steps) / static_cast<double>(segments);
    const auto rounds = static_cast<double>(ceil_div(tiles * segments, shape.num_sms));
    const double all = rounds * march(planes, planes > kNearPlanes ? far : 1);
    if (all >= least) continue;
    least = all;
    best = static_cast<int>(segments);
  }
  return best;
}

}  // namespace convt3d::cuda::halo_gemm
