// SPDX-License-Identifier: BSD-3-Clause
#include "cpu/flat_convolution.h"

#include <algorithm>
#include <bit>

#include "geometry/ceil_div.h"
#include "geometry/residue.h"

namespace convt3d::cpu {
namespace {

// Measured on one Zen 5 core (1 MiB L2): within 3% from 128 to 768 KiB forward; grad_input, whose
// panel has all remainders, loses up to 15% below 384 KiB.
constexpr int64_t kTileBytes = 384 * 1024;
// Below this a tile no longer repays its packing, whatever the parallelism.
constexpr int64_t kSmallestTile = 128;
// Enough pieces for the threads of a big machine; does not depend on their number, so neither does
// the result.
constexpr int64_t kWantedItems = 64;

int64_t floor_div(int64_t a, int64_t b) { return a >= 0 ? a / b : -ceil_div(-a, b); }

// shift holds the signed offset here; flat_axis() makes it relative to the box.
std::vector<AxisClass> forward_classes(const Problem& problem, int a) {
  std::vector<AxisClass> classes;
  for (const AxisResidue& residue : axis_residues(problem, a)) {
    if (residue.num_outputs == 0) continue;
    AxisClass c{residue.first_output, residue.num_outputs, {}};
    for (int64_t j = 0; j < residue.num_taps; ++j) {
      c.taps.push_back({residue.first_tap + residue.tap_step * j,
                        residue.first_input - residue.input_step * j, 0});
    }
    classes.push_back(std::move(c));
  }
  std::sort(classes.begin(), classes.end(),
            [](const AxisClass& x, const AxisClass& y) { return x.first < y.first; });
  return classes;
}

std::vector<AxisClass> grad_input_classes(const Problem& problem, int a) {
  AxisClass all{0, problem.input[a], {}};
  for (int64_t tap = 0; tap < problem.kernel[a]; ++tap) {
    const int64_t distance = problem.dilation[a] * tap - problem.padding[a];
    const int64_t offset = floor_div(distance, problem.stride[a]);
    all.taps.push_back({tap, offset, distance - offset * problem.stride[a]});
  }
  return {all};
}

Axis flat_axis(const Problem& problem, Direction direction, int a) {
  const bool forward = direction == Direction::forward;
  Axis axis{};
  axis.classes = forward ? forward_classes(problem, a) : grad_input_classes(problem, a);
  axis.destination_step = forward ? problem.stride[a] : 1;
  axis.source_step = forward ? 1 : problem.stride[a];
  axis.source_extent = forward ? problem.input[a] : problem.output()[a];
  int64_t low = INT64_MAX, high = INT64_MIN;
  axis.remainders = 1;
  for (const AxisClass& c : axis.classes) {
    axis.grid = std::max(axis.grid, c.count);
    for (const AxisTap& tap : c.taps) {
      low = std::min(low, tap.shift);
      high = std::max(high, tap.shift);
      axis.remainders = std::max(axis.remainders, tap.remainder + 1);
    }
  }
  axis.origin = low > high ? 0 : low;
  axis.halo = low > high ? 0 : high - low;
  for (AxisClass& c : axis.classes) {
    for (AxisTap& tap : c.taps) tap.shift -= axis.origin;
  }
  return axis;
}

// Positions computed in all tiles along axis a when they have this extent, halo and rounding
// included. The inner axes of the tile are whole.
int64_t computed_positions(const FlatConvolution& f, Extent3 tile, int a, int64_t extent) {
  tile[a] = extent;
  const Extent3 box = f.box_of(tile);
  const int64_t whole = f.axis[a].grid / extent * FlatConvolution::positions(tile, box);
  tile[a] = f.axis[a].grid % extent;
  return tile[a] == 0 ? whole : whole + FlatConvolution::positions(tile, box);
}

// Whole rows first, then whole planes. The axis that is cut gets the extent, down to half of what
// fits, that wastes least.
Extent3 choose_tile(const FlatConvolution& f, int64_t positions) {
  Extent3 tile{1, 1, 1};
  int64_t inner = 1;
  for (int a = 2; a >= 0; --a) {
    const int64_t grid = f.axis[a].grid;
    const int64_t fit = std::clamp<int64_t>(positions / inner, 1, grid);
    tile[a] = fit;
    if (fit < grid) {
      int64_t least = computed_positions(f, tile, a, fit);
      for (int64_t extent = fit - 1; extent >= std::max<int64_t>(fit / 2, 1); --extent) {
        const int64_t total = computed_positions(f, tile, a, extent);
        if (total >= least) continue;
        least = total;
        tile[a] = extent;
      }
      break;
    }
    inner *= grid + f.axis[a].halo;
  }
  return tile;
}

void set_tile(FlatConvolution& f, const Extent3& tile) {
  f.tile = tile;
  f.box = f.box_of(tile);
  for (int a = 0; a < 3; ++a) f.num_tiles[a] = ceil_div(f.axis[a].grid, tile[a]);
  f.flat = FlatConvolution::positions(tile, f.box);
  // Room for the largest shift, and rows an odd number of 64-byte lines apart (float), which
  // spreads them over all sets of the cache.
  const int64_t largest = (f.axis[0].halo * f.box[1] + f.axis[1].halo) * f.box[2] + f.axis[2].halo;
  f.pitch = (ceil_div(f.flat + largest, 16) | 1) * 16;
}

}  // namespace

int64_t compute_bytes(Precision precision) { return precision == Precision::fp64 ? 8 : 4; }

int64_t FlatConvolution::strip_elements() const {
  const int64_t rows = std::min(kChannelBlock, bundle * destination_channels);
  return static_cast<int64_t>(axis[2].classes.size()) * rows * flat;
}

int64_t FlatConvolution::packed_weight_elements(const Problem& problem) const {
  return groups * source_channels * destination_channels * volume(problem.kernel);
}

FlatConvolution flat_convolution(const Description& description) {
  const Problem& problem = description.problem;
  const bool forward = description.direction == Direction::forward;
  FlatConvolution f{};
  f.direction = description.direction;
  f.batch = problem.batch;
  f.groups = problem.groups;
  const int64_t in = problem.in_channels_per_group(), out = problem.out_channels_per_group();
  f.source_channels = forward ? in : out;
  f.destination_channels = forward ? out : in;
  f.bundle = 1;
  if ((forward ? description.output : description.input) == Layout::ndhwc &&
      std::has_single_bit(static_cast<uint64_t>(f.destination_channels))) {
    while (f.groups % (2 * f.bundle) == 0 &&
           2 * f.bundle * f.destination_channels <= kChannelBlock) {
      f.bundle *= 2;
    }
  }
  for (int a = 0; a < 3; ++a) f.axis[a] = flat_axis(problem, f.direction, a);

  const int64_t strips = static_cast<int64_t>(f.axis[2].classes.size()) *
                         std::min(kChannelBlock, f.bundle * f.destination_channels);
  const int64_t bytes_per_position =
      (f.remainders() * f.panel_channels() + strips) * compute_bytes(description.precision);
  int64_t positions = std::max(kTileBytes / bytes_per_position, kSmallestTile);
  set_tile(f, choose_tile(f, positions));
  while (f.num_items() < kWantedItems && positions > kSmallestTile) {
    positions = std::max(positions / 2, kSmallestTile);
    set_tile(f, choose_tile(f, positions));
  }
  return f;
}

}  // namespace convt3d::cpu
