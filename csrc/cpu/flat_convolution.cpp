// SPDX-License-Identifier: BSD-3-Clause
#include "cpu/flat_convolution.h"

#include <algorithm>

#include "geometry/residue.h"

namespace convt3d::cpu {
namespace {

// Measured on one Zen 5 core (1 MiB L2): flat between 64 and 512 KiB, 20% slower at 2 MiB.
constexpr int64_t kTileBytes = 192 * 1024;
// Below this a tile no longer repays its packing, whatever the parallelism.
constexpr int64_t kSmallestTile = 2 * kPositionBlock;
// Enough pieces for the threads of a big machine; does not depend on their number, so neither does
// the result.
constexpr int64_t kWantedItems = 64;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }
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
  axis.phases = 1;
  for (const AxisClass& c : axis.classes) {
    axis.grid = std::max(axis.grid, c.count);
    for (const AxisTap& tap : c.taps) {
      low = std::min(low, tap.shift);
      high = std::max(high, tap.shift);
      axis.phases = std::max(axis.phases, tap.phase + 1);
    }
  }
  axis.origin = low > high ? 0 : low;
  axis.halo = low > high ? 0 : high - low;
  for (AxisClass& c : axis.classes) {
    for (AxisTap& tap : c.taps) tap.shift -= axis.origin;
  }
  return axis;
}

// Whole rows first, then whole planes; equal tiles along the axis that is cut.
Extent3 choose_tile(const FlatConvolution& f, int64_t positions) {
  Extent3 tile{1, 1, 1};
  int64_t inner = 1;
  for (int a = 2; a >= 0; --a) {
    const int64_t grid = f.axis[a].grid;
    const int64_t fit = std::clamp<int64_t>(positions / inner, 1, grid);
    tile[a] = ceil_div(grid, ceil_div(grid, fit));
    if (fit < grid) break;
    inner *= grid + f.axis[a].halo;
  }
  return tile;
}

void set_tile(FlatConvolution& f, const Extent3& tile) {
  f.tile = tile;
  for (int a = 0; a < 3; ++a) {
    f.box[a] = tile[a] + f.axis[a].halo;
    f.num_tiles[a] = ceil_div(f.axis[a].grid, tile[a]);
  }
  const int64_t last = ((tile[0] - 1) * f.box[1] + tile[1] - 1) * f.box[2] + tile[2];
  f.flat = round_up(last, kPositionBlock);
  // Rows an odd number of 64-byte lines apart (float) spread over all sets of the cache.
  f.pitch = (ceil_div(volume(f.box) + f.flat - last, 16) | 1) * 16;
}

}  // namespace

int64_t FlatConvolution::strip_elements() const {
  const int64_t rows = std::min(kChannelBlock, destination_channels);
  return static_cast<int64_t>(axis[2].classes.size()) * rows * flat;
}

int64_t FlatConvolution::packed_weight_elements(const Problem& problem) const {
  return groups * source_channels * destination_channels * volume(problem.kernel);
}

FlatConvolution flat_convolution(const Problem& problem, Direction direction,
                                 int64_t compute_bytes) {
  const bool forward = direction == Direction::forward;
  FlatConvolution f{};
  f.direction = direction;
  f.batch = problem.batch;
  f.groups = problem.groups;
  const int64_t in = problem.in_channels_per_group(), out = problem.out_channels_per_group();
  f.source_channels = forward ? in : out;
  f.destination_channels = forward ? out : in;
  for (int a = 0; a < 3; ++a) f.axis[a] = flat_axis(problem, direction, a);

  const int64_t strips = static_cast<int64_t>(f.axis[2].classes.size()) *
                         std::min(kChannelBlock, f.destination_channels);
  const int64_t bytes_per_position = (f.phases() * f.source_channels + strips) * compute_bytes;
  int64_t positions = std::max(kTileBytes / bytes_per_position, kSmallestTile);
  set_tile(f, choose_tile(f, positions));
  while (f.num_items() < kWantedItems && positions > kSmallestTile) {
    positions = std::max(positions / 2, kSmallestTile);
    set_tile(f, choose_tile(f, positions));
  }
  return f;
}

}  // namespace convt3d::cpu
