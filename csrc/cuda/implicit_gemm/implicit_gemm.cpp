// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/implicit_gemm/implicit_gemm.h"

#include <algorithm>
#include <cstdint>
#include <numeric>

#include "cuda/common/bias_fill.h"
#include "cuda/common/kept_answer.h"
#include "cuda/implicit_gemm/config.h"
#include "cuda/implicit_gemm/tuning.h"
#include "cuda/sm90/chain.h"
#include "geometry/ceil_div.h"
#include "geometry/residue.h"

namespace convt3d::cuda::implicit_gemm {
namespace {

// float32's elements of 4 bytes, loaded one by one; kGatherBytesPerClock is that of 2 bytes. With 7
// for both, a tile of forward of 384 -> 64, k3 s2, 4 x 6^3 had half of its rows empty and twice the
// columns, which took 79 us on an H200, and in NDHWC 53.
constexpr double kGatherFloatBytesPerClock = 10;

int parts(Precision precision) { return precision == Precision::fp32 ? 2 : 1; }

// Of one axis, over its residues. Inputs and outputs are those of the product: grad_input reads
// grad_output.
struct AxisSummary {
  int64_t outputs = 0;  // of the residue with most
  int64_t span = 0;     // input positions between the first and the last that an output reads
  double taps = 0;      // mean, in forward of the residues with taps
  int64_t largest_taps = 0, all_taps = 0;
  int64_t halos = 0, spans = 0;  // residues with taps, and the sum of their spans
  // grad_input: the stride, if all residues have taps; and the inputs between first and last tap.
  int64_t splittable = 1, reach = 0;
  int64_t split = 1;  // Axis::split of params.cuh
};

AxisSummary summarize(const Problem& problem, int axis, bool grad_input) {
  AxisSummary summary;
  summary.all_taps = problem.kernel[axis];
  int64_t first = INT64_MAX, last = INT64_MIN, longest = 0;
  for (int64_t r = 0; r < problem.stride[axis]; ++r) {
    const AxisResidue residue = axis_residue(problem, axis, r);
    summary.outputs = std::max(summary.outputs, residue.num_outputs);
    summary.largest_taps = std::max(summary.largest_taps, residue.num_taps);
    if (residue.num_taps == 0) continue;
    const int64_t span = (residue.num_taps - 1) * residue.input_step;
    first = std::min(first, residue.first_input - span);
    last = std::max(last, residue.first_input);
    longest = std::max(longest, span);
    ++summary.halos;
    summary.spans += span;
  }
  summary.taps = static_cast<double>(summary.all_taps) /
                 static_cast<double>(grad_input ? problem.stride[axis] : summary.halos);
  summary.span = grad_input ? longest : last - first;
  if (grad_input) {
    summary.outputs = problem.input[axis];
    summary.reach = problem.dilation[axis] * (problem.kernel[axis] - 1);
    if (summary.halos == problem.stride[axis]) summary.splittable = problem.stride[axis];
  }
  return summary;
}

struct Shape {
  bool grad_input;  // all residues are summed, each from its own halo
  std::array<AxisSummary, 3> axis;
  // Residues: in forward, with taps.
  int64_t batch, groups, residues, in_channels, out_channels, all_taps;
  double taps;           // mean of a residue
  int64_t largest_taps;  // of a residue
  Limits limits;
  int rows, parts;
  int64_t bytes;   // of an element
  int64_t halos;   // that an item reads
  bool gathered;   // input elements are loaded one by one
  bool scattered;  // and output elements stored so
};

Shape make_shape(const Description& description, const Limits& limits) {
  const Problem& p = description.problem;
  const bool grad_input = description.direction == Direction::grad_input;
  Shape shape{};
  shape.grad_input = grad_input;
  shape.batch = p.batch;
  shape.residues = 1;
  shape.groups = p.groups;
  shape.in_channels = grad_input ? p.out_channels_per_group() : p.in_channels_per_group();
  shape.out_channels = grad_input ? p.in_channels_per_group() : p.out_channels_per_group();
  shape.all_taps = volume(p.kernel);
  shape.limits = limits;
  shape.rows = limits.rows;
  shape.parts = parts(description.precision);
  shape.bytes = element_bytes(description.precision);
  const Layout read = grad_input ? description.output : description.input;
  const Layout written = grad_input ? description.input : description.output;
  shape.gathered = read != Layout::ndhwc || shape.in_channels * shape.bytes % 16 != 0;
  shape.scattered = written != Layout::ndhwc || shape.out_channels * shape.bytes % 16 != 0;
  shape.taps = 1;
  shape.largest_taps = 1;
  shape.halos = 1;
  for (int a = 0; a < 3; ++a) {
    shape.axis[a] = summarize(p, a, grad_input);
    shape.taps *= shape.axis[a].taps;
    shape.largest_taps *= shape.axis[a].largest_taps;
    shape.residues *= grad_input ? p.stride[a] : shape.axis[a].halos;
    if (grad_input) shape.halos *= shape.axis[a].halos;
  }
  return shape;
}

// The same with one halo for all residues of an axis; false if there is nothing to gain.
bool split(Shape* shape, int a) {
  AxisSummary& axis = shape->axis[a];
  if (axis.splittable == 1) return false;
  axis.split = axis.splittable;
  shape->halos /= axis.halos;
  shape->largest_taps = shape->largest_taps / axis.largest_taps * axis.all_taps;
  return true;
}

// Rows of an axis in a stage.
int64_t halo_extent(const AxisSummary& axis, int box) {
  if (axis.split == 1) return box + axis.span;
  return ceil_div(axis.split * (box - 1) + axis.reach + 1, axis.split) * axis.split;
}

int64_t halo_rows(const Shape& shape, const Box& box) {
  int64_t rows = box[0];
  for (int a = 0; a < 3; ++a) rows *= halo_extent(shape.axis[a], box[1 + a]);
  return rows;
}

// Rows that an item reads of its halos, which are not all as large as the stage.
int64_t loaded_rows(const Shape& shape, const Box& box) {
  if (!shape.grad_input) return halo_rows(shape, box);
  int64_t rows = box[0];
  for (int a = 0; a < 3; ++a) {
    const AxisSummary& axis = shape.axis[a];
    rows *= axis.split == 1 ? axis.halos * box[1 + a] + axis.spans
                            : axis.split * (box[1 + a] - 1) + axis.reach + 1;
  }
  return rows;
}

// Divides shared memory into stages; false if it does not do.
bool choose_stages(const Shape& shape, Config* config) {
  for (int a = 0; a < 3; ++a) {
    if (halo_extent(shape.axis[a], config->box[1 + a]) > kMaxHalo[1 + a]) return false;
  }
  const int64_t halo = halo_rows(shape, config->box);
  const int64_t input = halo * (32 * config->steps + 16);
  const int64_t block = int64_t{32} * config->steps * config->columns * shape.parts;
  const int64_t room = shape.limits.shared_bytes - table_bytes(halo, shape.rows, shape.all_taps);
  // A stage of weights of the wanted size, or what is left beside two stages of input, or one.
  int64_t affordable = (room - 2 * input) / kMinWeightStages / block;
  if (affordable < 2)
    affordable = (room - shape.limits.min_input_stages * input) / kMinWeightStages / block;
  if (affordable < 2) return false;
  // Even, so that a consumer's two sets of operand registers take turns; a group ends with a chunk.
  const int64_t wanted = std::min(std::max<int64_t>(2, kWeightStageBytes / block), affordable);
  config->weight_group =
      static_cast<int>(std::min(wanted / 2 * 2, (shape.largest_taps + 1) / 2 * 2));
  const int64_t weight = block * config->weight_group;
  config->input_stages =
      static_cast<int>(std::min<int64_t>({kMaxInputStages, 2 * shape.halos * config->chunks,
                                          (room - kMinWeightStages * weight) / input}));
  config->all_residues =
      shape.residues > 1 && (shape.grad_input || config->input_stages > config->chunks);
  config->weight_stages = static_cast<int>(
      std::min<int64_t>(kMaxWeightStages, (room - config->input_stages * input) / weight));
  return true;
}

// Clocks that the device needs for everything, cut this way.
double estimate(const Shape& shape, const Config& config, int num_sms) {
  int64_t items = ceil_div(shape.batch, config.box[0]);
  for (int a = 0; a < 3; ++a) items *= ceil_div(shape.axis[a].outputs, config.box[1 + a]);
  items *= shape.groups * ceil_div(shape.out_channels, config.columns);
  const double steps = config.chunks * config.steps;
  // Of 64 rows and 32 bytes: the products, or what they read of shared memory. Eight rows of a
  // matrix meet in its banks where a line of the box does not hold a multiple of 8.
  const int products = shape.parts == 2 ? 3 : 1;
  const double weights = 32.0 * config.columns * products * shape.limits.weight_reads;
  const double shared = (2048 * (config.box[3] % 8 == 0 ? 1 : 2) + weights) / kSharedBytesPerClock;
  const double step =
      std::max(shape.limits.column_clocks * config.columns * products, shared) + kStepClocks;
  const double sums = shape.grad_input ? static_cast<double>(shape.residues) : 1;
  double consumer =
      sums * shape.taps * (steps * (shape.rows / 64) * step + config.chunks * kBlockClocks) +
      static_cast<double>(shape.rows) * config.columns * shape.bytes /
          (shape.scattered ? kScatterBytesPerClock : kOutputBytesPerClock) +
      kTileClocks;
  const bool floats = shape.limits.adds_chunks;  // wgmma's float32
  const double gathered = floats ? kGatherFloatBytesPerClock : kGatherBytesPerClock;
  const double load = static_cast<double>(loaded_rows(shape, config.box)) * steps * 32 /
                          (shape.gathered ? gathered : kInputBytesPerClock) +
                      kTileClocks;
  double clocks;
  if (shape.grad_input) {
    const double fills = static_cast<double>(shape.halos * config.chunks);
    clocks = std::max(consumer + fills * kHaloReadClocks, load + fills * kHaloFillClocks);
  } else if (config.all_residues) {
    consumer *= static_cast<double>(shape.residues);
    const bool overlapped = config.input_stages >= 2 * config.chunks;
    clocks = overlapped ? std::max(consumer, load) : consumer + load / 2;
  } else {
    items *= shape.residues;
    clocks = std::max(consumer + config.chunks * kHaloReadClocks,
                      load + config.chunks * kHaloFillClocks);
  }
  if (config.input_stages == 1) clocks = consumer + load;
  return clocks * static_cast<double>(std::max<int64_t>(1, ceil_div(items, num_sms)));
}

// The best box for these columns; false if the halo of every box is too large.
bool choose_box(const Shape& shape, int num_sms, Config* config, double* clocks) {
  bool found = false;
  const auto consider = [&](int64_t n, int64_t d, int64_t h, int64_t w) {
    Config candidate = *config;
    candidate.box = {static_cast<int>(n), static_cast<int>(d), static_cast<int>(h),
                     static_cast<int>(w)};
    if (!choose_stages(shape, &candidate)) return;
    const double cost = estimate(shape, candidate, num_sms);
    if (found && cost >= *clocks) return;
    found = true;
    *clocks = cost;
    *config = candidate;
  };
  const int64_t outputs_h = shape.axis[1].outputs, outputs_w = shape.axis[2].outputs;
  const int64_t least_w = ceil_div(outputs_w, shape.rows);
  for (int64_t cut_w = least_w; cut_w < least_w + kMaxCuts && cut_w <= outputs_w; ++cut_w) {
    const int64_t even_w = ceil_div(outputs_w, cut_w);
    for (int64_t w : {even_w, ceil_div(even_w, 8) * 8}) {
      const int64_t least_h = ceil_div(outputs_h, shape.rows / w);
      for (int64_t cut_h = least_h; cut_h < least_h + kMaxCuts && cut_h <= outputs_h; ++cut_h) {
        const int64_t h = ceil_div(outputs_h, cut_h);
        const int64_t most_d = std::min(
            {shape.axis[0].outputs, shape.rows / (w * h), kMaxHalo[1] - shape.axis[0].span});
        for (int64_t d = most_d; d >= 1; d /= 2) {
          const bool whole = d == shape.axis[0].outputs && h == outputs_h && w >= outputs_w;
          const int64_t n = std::min<int64_t>({shape.batch, shape.rows / (w * h * d), kMaxHalo[0]});
          consider(whole ? n : 1, d, h, w);
          if (shape.limits.min_input_stages > 1) break;
        }
      }
      if (w == even_w && w % 8 == 0) break;
    }
  }
  return found;
}

}  // namespace

Config search(const Description& description, int num_sms, const Limits& limits) {
  const Shape shape = make_shape(description, limits);
  const int64_t all_steps = ceil_div(shape.in_channels * shape.bytes, 32);
  Config best;
  double least = 0;
  for (int columns : kColumns) {
    // More than half of a wide tile's columns would be padding.
    if (columns > kColumns[0] && columns / 2 >= shape.out_channels) continue;
    for (int steps = 1; steps <= std::min<int64_t>(kMaxSteps, all_steps); ++steps) {
      if (columns > limits.max_columns || !limits.is_built(columns, steps)) continue;
      Config config;
      config.columns = columns;
      config.steps = steps;
      config.chunks = static_cast<int>(ceil_div(all_steps, steps));
      const int64_t taps = shape.grad_input ? shape.all_taps : shape.largest_taps;
      const int64_t chain = taps * config.chunks * (limits.adds_chunks ? 1 : steps);
      config.chain = chain > limits.chain ? limits.chain : 0;
      if (config.chain > 0 && !limits.can_park(description.precision, columns, steps)) continue;
      Shape as = shape;
      do {
        double clocks = 0;
        const bool found = choose_box(as, num_sms, &config, &clocks);
        if (found && (best.columns == 0 || clocks < least)) {
          best = config;
          best.clocks = least = clocks;
        }
        ++config.split_axes;
      } while (config.split_axes <= 3 && split(&as, 3 - config.split_axes));
    }
  }
  return best;
}

Config choose(const Description& description, const Device& device) {
  return kept_answer(description, device, [&] {
    Limits limits;
    limits.rows = kTileRows / parts(description.precision);
    limits.max_columns = kColumns.back();
    limits.is_built = &is_built;
    limits.shared_bytes = kSharedBytes;
    limits.column_clocks = 0.5;  // limit: wgmma's
    limits.weight_reads = 1;
    limits.adds_chunks = description.precision == Precision::fp32;
    limits.chain = limits.adds_chunks ? kMaxAdditions : sm90::max_chain(description.precision);
    limits.can_park = &can_park;
    limits.min_input_stages = 2;
    return search(description, device.num_sms, limits);
  });
}

Verdict supports(const Description& description, const Device& device) {
  if (device.arch != 90) return Verdict::refuse("its instructions are those of sm_90");
  const Verdict verdict = supports_problem(description, device);
  if (!verdict.ok) return verdict;
  if (choose(description, device).columns == 0) {
    return Verdict::refuse("the taps reach too far apart for shared memory");
  }
  return Verdict::accept();
}

std::string to_string(const Config& config) {
  std::string text = "box ";
  for (int extent : config.box) text += std::to_string(extent) + "x";
  text.back() = ',';
  return text + " " + std::to_string(config.columns) + " columns, " +
         std::to_string(config.chunks) + " chunks of " + std::to_string(32 * config.steps) +
         " bytes" + (config.all_residues ? ", all residues" : "") +
         (config.split_axes > 0 ? ", " + std::to_string(config.split_axes) + " split axes" : "");
}

double estimated_clocks(const Description& description, const Device& device) {
  return choose(description, device).clocks;
}

std::string config(const Description& description, const Device& device) {
  return to_string(choose(description, device)) +
         (packs_rows(description) ? ", grad_output packed" : "") +
         (fills_with_bias(description) ? ", bias filled in first" : "");
}

bool packs_rows(const Description& description) {
  const Problem& p = description.problem;
  if (description.direction != Direction::grad_input || description.output == Layout::ndhwc ||
      element_bytes(description.precision) != 2 || volume(p.stride) == 1) {
    return false;
  }
  // Whether taps meet all residues of an axis.
  const auto meets_all = [&](int axis) {
    return std::gcd(p.stride[axis], p.dilation[axis]) == 1 && p.kernel[axis] >= p.stride[axis];
  };
  return p.groups == 1 && meets_all(0) && meets_all(1) && meets_all(2);
}

int64_t packed_weight_bytes(const Description& description, const Config& config) {
  const Problem& p = description.problem;
  const int64_t columns = description.direction == Direction::forward ? p.out_channels_per_group()
                                                                      : p.in_channels_per_group();
  return p.groups * ceil_div(columns, config.columns) * volume(p.kernel) * config.chunks *
         config.steps * 32 * config.columns * parts(description.precision);
}

int64_t rows_offset(const Description& description, const Config& config, const Device& device) {
  constexpr int64_t kAlign = 256;
  const int64_t parked =
      config.chain > 0 ? sm90::parked_bytes(device.num_sms, kTileRows, config.columns) : 0;
  return ceil_div(packed_weight_bytes(description, config) + parked, kAlign) * kAlign;
}

int64_t workspace_bytes(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  const int64_t rows = rows_offset(description, choose(description, device), device);
  if (!packs_rows(description)) return rows;
  const int64_t row = ceil_div(p.out_channels * element_bytes(description.precision), 16) * 16;
  return rows + p.batch * volume(p.output()) * row;
}

}  // namespace convt3d::cuda::implicit_gemm
