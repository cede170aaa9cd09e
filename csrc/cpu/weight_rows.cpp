// SPDX-License-Identifier: BSD-3-Clause
#include "cpu/weight_rows.h"

#include "cpu/flat_convolution.h"
#include "geometry/ceil_div.h"

namespace convt3d::cpu {
namespace {

// Of both panels. Fixed, so that the result does not depend on the number of threads.
constexpr int64_t kSlabBytes = 4 * 1024 * 1024;
// Sums of one item that stay in the L2 cache while they are stored.
constexpr int64_t kItemBytes = 256 * 1024;
// Enough for the threads of a big machine.
constexpr int64_t kWantedItems = 64;

// Multiplications that vectors of one side's channels and rows of the other's take.
int64_t cost(int64_t vector_channels, int64_t row_channels, int64_t lanes) {
  return round_up(vector_channels, lanes) * row_channels;
}

// Rows of output along d or h that `count` rows of input reach.
int64_t reach(const Problem& p, int a, int64_t count) {
  const int64_t rows = p.stride[a] * (count - 1) + p.dilation[a] * (p.kernel[a] - 1) + 1;
  return std::min(rows, p.output()[a]);
}

void set_slab(WeightRows& w, const Extent3& slab) {
  const Problem& p = w.problem;
  w.slab = slab;
  w.num_slabs = {ceil_div(p.batch, slab[0]), ceil_div(p.input[0], slab[1]),
                 ceil_div(p.input[1], slab[2])};
  w.input.rows = slab;
  w.output.rows = {slab[0], reach(p, 0, slab[1]), reach(p, 1, slab[2])};
}

int64_t elements(const WeightRows& w) { return w.input.elements() + w.output.elements(); }

// Whole planes before several, and whole samples before several. Equal slabs as far as possible.
void choose_slab(WeightRows& w, int64_t wanted) {
  const Extent3 all{w.problem.batch, w.problem.input[0], w.problem.input[1]};
  Extent3 slab{1, 1, 1};
  for (int a = 2; a >= 0; --a) {
    // The largest that fits, by bisection: panels grow with the slab.
    int64_t fits = 1, too_many = all[a] + 1;
    while (too_many - fits > 1) {
      slab[a] = fits + (too_many - fits) / 2;
      set_slab(w, slab);
      (elements(w) <= wanted ? fits : too_many) = slab[a];
    }
    slab[a] = ceil_div(all[a], ceil_div(all[a], fits));
    if (fits < all[a]) break;
  }
  set_slab(w, slab);
}

// A tap along one axis: the input positions [begin, end) of [first, first + count) that it joins
// with output position stride * q + shift.
struct AxisRange {
  int64_t begin, end, shift;
};
AxisRange axis_range(const Problem& p, int a, int64_t tap, int64_t first, int64_t count) {
  const int64_t stride = p.stride[a], output = p.output()[a];
  const int64_t shift = p.dilation[a] * tap - p.padding[a];
  const int64_t begin = shift >= 0 ? 0 : ceil_div(-shift, stride);
  const int64_t end = shift >= output ? 0 : ceil_div(output - shift, stride);
  return {std::max(first, begin), std::min(first + count, end), shift};
}

// Of row {sample, d, h} of the slab.
int64_t line(const WeightPanel& panel, int64_t n, int64_t d, int64_t h) {
  return ((n * panel.rows[1] + d) * panel.rows[2] + h) * panel.row;
}

TapRuns runs_of_tap(const WeightRows& rows, const WeightSlab& slab, const AxisRange& d,
                    const AxisRange& h, const AxisRange& w) {
  TapRuns runs{};
  if (d.begin >= d.end || h.begin >= h.end || w.begin >= w.end) return runs;
  const Problem& p = rows.problem;
  const int64_t unit = rows.position_step(), first = w.begin / unit;
  runs.count = {slab.input_count[0], d.end - d.begin, h.end - h.begin};
  runs.length = ceil_div(w.end, unit) - first;
  runs.input =
      line(rows.input, 0, d.begin - slab.input_first[1], h.begin - slab.input_first[2]) + first;
  const int64_t position = p.stride[2] * first * unit + w.shift;
  // A pair may begin one before the first position of its remainder, in the margin.
  const int64_t remainder = (position % p.stride[2] + p.stride[2]) % p.stride[2];
  const int64_t index = (position - remainder) / p.stride[2] + (rows.pairs ? 1 : 0);
  runs.output = line(rows.output, 0, p.stride[0] * d.begin + d.shift - slab.output_first[1],
                     p.stride[1] * h.begin + h.shift - slab.output_first[2]) +
                remainder * rows.output_units + index;
  runs.input_step = {line(rows.input, 1, 0, 0), line(rows.input, 0, 1, 0),
                     line(rows.input, 0, 0, 1)};
  runs.output_step = {line(rows.output, 1, 0, 0), line(rows.output, 0, p.stride[0], 0),
                      line(rows.output, 0, 0, p.stride[1])};
  return runs;
}

}  // namespace

int64_t WeightRows::vector_blocks() const { return ceil_div(padded_lanes(), vector_block()); }
int64_t WeightRows::row_blocks() const {
  return group_vectors ? input.channels * output.channels
                       : ceil_div(row_side().channels, kRowBlock);
}
int64_t WeightRows::tap_parts() const { return ceil_div(problem.kernel[0], tap_depth); }

WeightRows weight_rows(const Description& description, int64_t lanes, bool pairs) {
  const Problem& p = description.problem;
  WeightRows w{};
  w.problem = p;
  w.lanes = lanes;
  const int64_t in = p.in_channels_per_group(), out = p.out_channels_per_group();
  w.group_vectors = p.groups > 1 && std::min(in, out) < kFewChannels;
  w.pairs = pairs && !w.group_vectors;
  // Ties to output's, whose channels are neighbours in a channels_last weight.
  w.output_is_vector = w.group_vectors || cost(out, in, lanes) <= cost(in, out, lanes);
  w.input.channels = w.input.padded_channels = in;
  w.output.channels = w.output.padded_channels = out;
  w.input.padded_groups = w.output.padded_groups =
      w.group_vectors ? round_up(p.groups, lanes) : p.groups;
  if (!w.group_vectors) {
    WeightPanel& side = w.output_is_vector ? w.output : w.input;
    side.padded_channels = round_up(side.channels, lanes);
  }
  const int64_t margin = w.pairs ? 1 : 0;
  w.input.row = ceil_div(p.input[2], w.position_step());
  w.output_units = ceil_div(p.output()[2], p.stride[2]) + margin;
  w.output.row = p.stride[2] * w.output_units;
  choose_slab(w, kSlabBytes / compute_bytes(description.precision));
  w.tap_depth = p.kernel[0];
  if (w.num_items() < kWantedItems ||
      w.item_elements() * compute_bytes(description.precision) > kItemBytes) {
    w.tap_depth = 1;
  }
  return w;
}

WeightSlab weight_slab(const WeightRows& rows, const Extent3& input_first) {
  const Problem& p = rows.problem;
  const Extent3 all{p.batch, p.input[0], p.input[1]};
  WeightSlab slab{input_first, {}, input_first, {}};
  for (int a = 0; a < 3; ++a) {
    slab.input_count[a] = std::min(rows.slab[a], all[a] - input_first[a]);
  }
  slab.output_count[0] = slab.input_count[0];
  for (int a = 0; a < 2; ++a) {
    const int64_t first = p.stride[a] * input_first[a + 1] - p.padding[a];
    const int64_t end =
        first + p.stride[a] * (slab.input_count[a + 1] - 1) + p.dilation[a] * (p.kernel[a] - 1) + 1;
    const int64_t inside = std::clamp<int64_t>(first, 0, p.output()[a]);
    slab.output_first[a + 1] = inside;
    slab.output_count[a + 1] = std::clamp(end, inside, p.output()[a]) - inside;
  }
  return slab;
}

std::vector<TapRuns> tap_runs(const WeightRows& rows, const WeightSlab& slab) {
  const Problem& p = rows.problem;
  std::vector<TapRuns> all;
  all.reserve(volume(p.kernel));
  for (int64_t d = 0; d < p.kernel[0]; ++d) {
    const AxisRange depth = axis_range(p, 0, d, slab.input_first[1], slab.input_count[1]);
    for (int64_t h = 0; h < p.kernel[1]; ++h) {
      const AxisRange height = axis_range(p, 1, h, slab.input_first[2], slab.input_count[2]);
      for (int64_t w = 0; w < p.kernel[2]; ++w) {
        all.push_back(runs_of_tap(rows, slab, depth, height, axis_range(p, 2, w, 0, p.input[2])));
      }
    }
  }
  return all;
}

}  // namespace convt3d::cpu
