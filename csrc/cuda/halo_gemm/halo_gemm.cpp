// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/halo_gemm/halo_gemm.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cuda/common/bias_fill.h"
#include "cuda/common/kept_answer.h"
#include "cuda/halo_gemm/batch_rows.h"
#include "cuda/halo_gemm/config.h"
#include "cuda/halo_gemm/cuts.h"
#include "cuda/halo_gemm/estimate.h"
#include "cuda/halo_gemm/gather_march.h"
#include "cuda/halo_gemm/lines_in_limits.h"
#include "cuda/halo_gemm/paired.h"
#include "cuda/halo_gemm/plane_march.h"
#include "cuda/halo_gemm/product.h"
#include "cuda/halo_gemm/tuning.h"
#include "cuda/halo_gemm/turn_march.h"
#include "cuda/implicit_gemm/implicit_gemm.h"
#include "cuda/sm90/chain.h"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::halo_gemm {
namespace {

AxisSummary summarize(const std::vector<ProductResidue>& residues) {
  AxisSummary summary{residues};
  int64_t first = INT64_MAX, last = INT64_MIN;
  for (const ProductResidue& r : residues) {
    summary.outputs = std::max(summary.outputs, r.num_outputs);
    summary.reach = std::max(summary.reach, r.num_outputs);
    if (r.num_taps == 0) continue;
    const int64_t span = (r.num_taps - 1) * r.input_step;
    summary.span = std::max(summary.span, span);
    summary.reach = std::max(
        {summary.reach, r.inputs - (r.first_input - span), r.num_outputs + r.first_input, span});
    first = std::min(first, r.first_input - span);
    last = std::max(last, r.first_input);
  }
  summary.all_span = last - first;
  summary.reach = std::max(summary.reach, summary.all_span);
  return summary;
}

Config search(const Description& description, const Device& device, bool lines_in) {
  const Product product = make_product(description);
  const Problem& p = product.problem;
  const Shape shape{
      p,
      product.sums,
      {summarize(product.axis[0]), summarize(product.axis[1]), summarize(product.axis[2])},
      element_bytes(description.precision),
      device.num_sms,
      sm90::max_chain(description.precision)};
  const int64_t all_steps = ceil_div(p.in_channels * shape.bytes, 32);
  const bool packed_input =
      !lines_in && (product.input != Layout::ndhwc || p.in_channels * shape.bytes % 16 != 0);
  const bool lines = product.output != Layout::ndhwc;
  // Where a position's channels are no multiple of what a thread stores, its elements are stored
  // one by one, as those of lines are.
  const bool lines_out = lines || p.out_channels % stored_multiple(shape.bytes) != 0;
  const auto& of_w = product.axis[2];
  // A pair of output planes has one more input plane than either.
  Shape pairs = shape;
  for (ProductResidue& of_d : pairs.axis[0].residues) {
    ++of_d.num_taps;
    ++of_d.first_input;
  }
  const bool boxes = product.reversed && description.weight == Layout::ndhwc &&
                     fits_boxes(p.in_channels, p.out_channels, shape.bytes);
  const bool bare = lines && of_w.size() == 2 && !product.sums &&
                    (of_w[0].num_taps == 0 || of_w[1].num_taps == 0);
  const auto packing_clocks = [&](const Config& config) {
    if (!product.reversed || config.weight_as_is) return 0.0;
    return static_cast<double>(packed_weight_bytes(description, config)) / kWeightBytesPerClock /
           shape.num_sms;
  };
  const bool odd_lines = lines && !product.sums && p.stride[2] > 1 && p.output()[2] % 2 != 0;
  Config best;
  double least = 0;
  const auto consider = [&](int slots, int channels, int fused) {
    const Shape& cut = slots == kPairSlots ? pairs : shape;
    if (fused > 1 && lines_out && !lines) return;
    if (lines_in && !has_lines_in(slots, channels)) return;
    // How much of the columns may be padding.
    const int64_t padded = ceil_div(p.out_channels, channels) * channels;
    const bool with_bias = bare && slots == 1 && can_stretch(slots, channels, fused);
    const double most = marches(slots) ? kMarchingPadding
                        : with_bias    ? kBarePadding
                                       : kPlainPadding;
    if (static_cast<double>(padded) > most * static_cast<double>(p.out_channels)) return;
    if (lines_in && p.stride[2] > 1 && fused == 1 && !with_bias) return;
    const bool narrow = slots == 1 && channels <= kFewColumns;
    if (narrow && shape.bytes == 2 && !product.reversed && !with_bias) return;
    Config config;
    config.packed_input = packed_input;
    config.lines_in = lines_in;
    config.lines_out = lines_out;
    config.stretches = with_bias || (lines && fused > 1 && p.output()[2] % 2 != 0);
    config.slots = slots;
    config.channels = channels;
    const int64_t most_steps = lines_in ? kLinesInSteps : kMaxSteps;
    config.chunks = static_cast<int>(ceil_div(all_steps, most_steps));
    config.fused = fused;
    config.steps = static_cast<int>(ceil_div(all_steps, config.chunks));
    while (!is_built(slots, fused, config.steps)) ++config.steps;
    if (lines_in) config.steps = kLinesInSteps;
    const auto steps = static_cast<double>(config.chunks * config.steps);
    if (slots == kPairSlots && steps > kPairPadding * static_cast<double>(all_steps)) return;
    const auto consider_strips = [&](int groups) {
      for (int strips = 1; strips <= kMaxStrips; ++strips) {
        config.warpgroups = groups;
        if (!choose_positions(cut, strips, &config)) continue;
        if (strips > 1 && config.pitch < kMinPitch) break;
        if (!choose_stages(cut, &config) || !choose_parking(cut, &config)) continue;
        const auto [all, even, alone] = sharing_blocks(cut, config);
        for (const int blocks : {0, all, even, alone}) {
          config.sharing_blocks = blocks;
          config.joins = blocks > 0 && blocks != alone;
          config.weight_rows = product.reversed && has_weight_rows(slots, blocks > 0, config.steps);
          config.weight_as_is = boxes && config.weight_rows && !config.resident;
          const double clocks = estimate(cut, config);
          const double slower = narrow && !product.reversed ? kNarrowClocks
                                : odd_lines && strips > 1   ? kStripClocks
                                                            : 1;
          const double all_clocks = slower * clocks + packing_clocks(config);
          if (best.slots != 0 && all_clocks >= least) continue;
          best = config;
          best.clocks = clocks;
          least = all_clocks;
        }
        config.sharing_blocks = 0;
      }
    };
    const bool pieces = lines && fused > 1 && p.output()[2] * shape.bytes % kPieceBytes == 0;
    for (int groups = 1; groups <= max_warpgroups(slots); ++groups) {
      config.piece_positions = 0;
      consider_strips(groups);
      if (!pieces) continue;
      config.piece_positions = static_cast<int>(kPieceBytes / (2 * shape.bytes));
      consider_strips(groups);
    }
  };
  for (int channels : kPlainChannels) {
    if (channels > kFewColumns || p.out_channels <= kFewColumns) consider(1, channels, 1);
  }
  const bool sparse = lines_out && p.stride[2] > 1;
  if (p.kernel[0] > 1 && p.stride[0] == 1 && p.dilation[0] == 1 && !product.sums && !sparse) {
    consider(kPairSlots, kPairChannels, 1);
  }
  if (p.kernel[0] == kMarchingSlots && p.dilation[0] == 1 && !product.sums) {
    for (int channels : kMarchingChannels) {
      consider(kMarchingSlots, channels, 1);
      const int fused = max_fused(kMarchingSlots, channels);
      if (fused > 1 && p.stride[2] == fused && p.stride[0] <= kMaxFusedStride) {
        consider(kMarchingSlots, channels, fused);
      }
    }
  }
  best.segments = choose_segments(shape, best);
  if (lines_in) return best;
  const Config rows = choose_batch_rows(description, shape, product);
  if (rows.slots == 0) return best;
  return best.slots == 0 || rows.clocks + packing_clocks(rows) < least * kFlatClocks ? rows : best;
}

// Whether TMA reaches lines of the product's input, in a product that lines_in.cuh has.
bool can_read_lines(const Description& description) {
  const Product product = make_product(description);
  const Problem& p = product.problem;
  return description.precision == Precision::tf32 && product.input == Layout::ncdhw &&
         product.output == Layout::ncdhw && !product.sums && p.input[2] % kBoxWords == 0 &&
         p.in_channels > kFewLinesIn;
}

}  // namespace

// Without a configuration that fits, the result has no slots.
Config choose(const Description& description, const Device& device) {
  return kept_answer(description, device, [&] {
    const Config rows = search(description, device, false);
    if (!can_read_lines(description)) return rows;
    const Config lines = search(description, device, true);
    const auto clocks = [&](const Config& config) {
      const double pack = static_cast<double>(2 * packed_input_bytes(description, config)) /
                          kPackBytesPerClock / device.num_sms;
      const bool narrow = config.slots == 1 && config.channels <= kFewColumns;
      const bool slower = config.lines_in && config.slots * config.channels < kWideLinesIn;
      return config.clocks * (narrow ? kNarrowClocks : 1) * (slower ? kLinesInClocks : 1) + pack;
    };
    const bool better = rows.slots == 0 || clocks(lines) < clocks(rows);
    return lines.slots != 0 && better ? lines : rows;
  });
}

Verdict supports(const Description& description, const Device& device) {
  const Product product = make_product(description);
  const Problem &problem = description.problem, &p = product.problem;
  if (device.arch != 90) return Verdict::refuse("its instructions are those of sm_90");
  if (description.direction == Direction::grad_weight) return Verdict::refuse("no grad_weight");
  if (description.precision == Precision::fp64 || description.precision == Precision::fp32) {
    return Verdict::refuse("float16, bfloat16 and TF32 only");
  }
  if (p.groups != 1) return Verdict::refuse("groups must be 1");
  const int64_t bytes = element_bytes(description.precision);
  if (p.out_channels % stored_multiple(bytes) != 0 && product.output == Layout::ndhwc &&
      p.stride[2] > 1) {
    return Verdict::refuse("a stride, channels_last_3d, and positions of no multiple of 16 bytes");
  }
  if (p.in_channels > kMaxInChannels || p.out_channels > kMaxOutChannels) {
    return Verdict::refuse("more channels than its tables hold");
  }
  const Extent3 output = problem.output();
  for (int axis = 0; axis < 3; ++axis) {
    if (problem.stride[axis] > kMaxStride) return Verdict::refuse("a stride above 8");
    if (std::max({p.batch, problem.input[axis], output[axis], problem.padding[axis],
                  p.dilation[axis] * p.kernel[axis]}) > kMaxExtent) {
      return Verdict::refuse("larger than 32-bit coordinates hold");
    }
    if (product.reversed && !product.sums && p.padding[axis] < 0) {
      return Verdict::refuse("grad_input with more padding than the kernel reaches");
    }
  }
  if (product.sums) {
    if (problem.stride[2] > kMaxMaps) return Verdict::refuse("grad_input with a stride above 4");
    for (const ProductResidue& residue : product.axis[2]) {
      if (residue.num_taps > 0 && residue.inputs == 0) {
        return Verdict::refuse("grad_output is narrower than the stride");
      }
    }
  }
  if (volume(problem.stride) > kMaxResidues) return Verdict::refuse("more than 64 residues");
  if (volume(p.kernel) > kMaxTaps) return Verdict::refuse("more than 1024 taps");
  // Whom unaligned tensors fall back to.
  const Verdict fallback = implicit_gemm::supports(description, device);
  if (!fallback.ok) return fallback;
  if (choose_planes(description, device).columns > 0) return Verdict::accept();
  if (choose_turn(description, device).columns > 0) return Verdict::accept();
  if (choose_gather(description, device).columns > 0) return Verdict::accept();
  if (choose_paired(description, device).matrices > 0) return Verdict::accept();
  const Config config = choose(description, device);
  if (config.slots == 0) {
    return Verdict::refuse("too few channels, or taps too far apart for shared memory");
  }
  const bool channels_last = !config.packed_input && !config.lines_out;
  if (bytes == 2 && !product.reversed && channels_last && config.slots == 1 &&
      p.in_channels <= kFewIn && p.out_channels <= kFewOut) {
    return Verdict::refuse("16 bits, channels_last_3d, few channels, and no kernel of depth 3");
  }
  const double rows =
      static_cast<double>(2 * packed_input_bytes(description, config)) / kPackBytesPerClock;
  if (!product.reversed) {
    const bool narrow = config.slots == 1 && config.channels <= kFewColumns && !config.stretches;
    const bool pairs = config.slots == kPairSlots && bytes == 2;
    const double clocks = narrow  ? (config.clocks + rows / device.num_sms) * kNarrowClocks
                          : pairs ? config.clocks * kPairClocks
                                  : 0;
    if (clocks > implicit_gemm::estimated_clocks(description, device)) {
      return Verdict::refuse("at most 32 channels of output, and implicit_gemm's estimate is less");
    }
  }
  if (product.reversed) {
    const bool dense = description.weight == Layout::ncdhw;
    const double weight = static_cast<double>(packed_weight_bytes(description, config)) /
                          (dense ? kWeightBytesPerClock : kStridedWeightBytesPerClock);
    const double pack = rows + (config.weight_as_is ? 0 : weight);
    const double clocks =
        config.clocks * (product.sums ? 1 : kUnsummedClocks) + pack / device.num_sms;
    const bool both_pack = implicit_gemm::packs_rows(description);
    if (product.sums && both_pack && p.in_channels <= kFewSummed) {
      return Verdict::refuse("16 bits, grad_output packed, at most 32 channels of it");
    }
    const bool gathered = product.sums && config.packed_input && !both_pack;
    const double other = implicit_gemm::estimated_clocks(description, device) +
                         (both_pack ? rows / device.num_sms : 0);
    const bool many = product.sums && p.out_channels >= kManyChannels;
    if (clocks > other * (gathered ? kGatheredClocks : many ? kManyChannelsClocks : 1)) {
      return Verdict::refuse("implicit_gemm's estimate of grad_input is less");
    }
  }
  return Verdict::accept();
}

std::string to_string(const Config& config) {
  const std::string columns = std::to_string(config.channels);
  const std::string rows = config.batch_rows > 0 ? std::to_string(config.strip) + " positions of " +
                                                       std::to_string(config.batch_rows)
                                                 : std::to_string(config.warpgroups * kGroupRows);
  return rows + (config.batch_rows > 0 ? " batch items, " : " rows, ") +
         (config.slots > 1 ? std::to_string(config.slots) + " x " + columns : columns) +
         " columns, " + (config.fused > 1 ? "residues of w fused, " : "") +
         std::to_string(config.chunks) + " chunks of " + std::to_string(32 * config.steps) +
         " bytes, " + std::to_string(config.input_stages) + " stages of " +
         std::to_string(config.stage_rows) + " rows, " +
         (config.resident       ? "weights resident"
          : config.weight_as_is ? "weights streamed as they are"
                                : "weights streamed") +
         (config.strips > 1 ? ", " + std::to_string(config.strips) + " strips" : "") +
         (config.parking_chunks > 0
              ? ", sums parked after " + std::to_string(config.parking_chunks) + " chunks"
              : "") +
         (config.segments > 0 ? ", marches in " + std::to_string(config.segments) + " segments"
                              : "") +
         (config.sharing_blocks > 0
              ? ", items shared by " + std::to_string(config.sharing_blocks) + " blocks"
              : "") +
         (config.packed_input ? ", input packed" : "") +
         (config.lines_in ? ", input as lines" : "") +
         (config.turned                ? std::string(", result turned")
          : config.stretches           ? ", stored as stretches of lines"
          : config.piece_positions > 0 ? ", stored as pieces of lines of " +
                                             std::to_string(config.piece_positions) + " positions"
          : config.lines_out ? ", stored as lines"
                             : "");
}

std::string config(const Description& description, const Device& device) {
  const PlaneConfig planes = choose_planes(description, device);
  if (planes.columns > 0) return to_string(planes);
  const TurnConfig turn = choose_turn(description, device);
  if (turn.columns > 0) return to_string(turn);
  const GatherConfig gather = choose_gather(description, device);
  if (gather.columns > 0) return to_string(gather);
  const PairedConfig paired = choose_paired(description, device);
  if (paired.matrices > 0) {
    return to_string(paired) + (fills_with_bias(description) ? ", bias filled in first" : "");
  }
  return to_string(choose(description, device)) +
         (fills_with_bias(description) ? ", bias filled in first" : "");
}

int64_t packed_taps(const Problem& product, int slots) {
  const int64_t taps = volume(product.kernel);
  return slots == kPairSlots ? taps / product.kernel[0] * (product.kernel[0] + 1) * slots : taps;
}

int64_t packed_weight_bytes(const Description& description, const Config& config) {
  const Problem p = make_product(description).problem;
  const int64_t bytes = ceil_div(p.out_channels, config.channels) * config.channels *
                        packed_taps(p, config.slots) * config.chunks * config.steps * 32;
  return ceil_div(bytes, kMapAlign) * kMapAlign;
}

int64_t packed_channels(const Description& description) {
  const int64_t vector = 16 / element_bytes(description.precision);
  return ceil_div(make_product(description).problem.in_channels, vector) * vector;
}

int64_t packed_input_bytes(const Description& description, const Config& config) {
  if (!config.packed_input) return 0;
  const Problem p = make_product(description).problem;
  const int64_t bytes = p.batch * volume(p.input) * packed_channels(description) *
                        element_bytes(description.precision);
  return ceil_div(bytes, kMapAlign) * kMapAlign;
}

}  // namespace convt3d::cuda::halo_gemm
