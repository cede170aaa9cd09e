// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/halo_gemm/paired.h"

#include <algorithm>
#include <array>
#include <vector>

#include "cuda/common/alignment.h"
#include "cuda/common/kept_answer.h"
#include "cuda/halo_gemm/config.h"
#include "cuda/halo_gemm/paired_tuning.h"
#include "cuda/halo_gemm/tuning.h"
#include "cuda/sm90/chain.h"
#include "geometry/ceil_div.h"
#include "geometry/residue.h"

namespace convt3d::cuda::halo_gemm {
namespace {

using Residues = std::vector<AxisResidue>;

int64_t most_taps(const Residues& residues) {
  int64_t most = 0;
  for (const AxisResidue& r : residues) most = std::max(most, r.num_taps);
  return most;
}
// From the first to the last input that position 0 of a residue reads.
int64_t span_of(const AxisResidue& r) {
  return std::max<int64_t>(r.num_taps - 1, 0) * r.input_step;
}

// The residues of w as matrices of sums; false where they do not suit.
bool choose_matrices(const Residues& w, PairedConfig* config) {
  int64_t first[2], last[2], least = INT64_MAX, most = INT64_MIN;
  const int64_t step = w[0].input_step;
  config->width = 0;
  for (int e : {0, 1}) {
    const int first_output = (e + config->lead) % 2;
    config->of[e] = w[0].first_output == first_output ? 0 : 1;
    const AxisResidue& r = w[static_cast<size_t>(config->of[e])];
    const int64_t moved = e == 0 ? config->lead : 0;  // its first output is of position 1 then
    config->width = std::max(config->width, static_cast<int>(r.num_outputs + moved));
    last[e] = r.first_input - moved;
    first[e] = last[e] - span_of(r);
    if (r.num_taps == 0) continue;
    least = std::min(least, first[e]);
    most = std::max(most, last[e]);
  }
  config->halo_w = static_cast<int>(least);
  config->span = static_cast<int>(most - least);
  config->leaks = false;
  config->taps[1] = {};
  if (config->matrices == 1) {
    if (step != 1) return false;
    config->step_w = 1;
    config->taps[0] = {config->span, config->span + 1};
    for (const AxisResidue& r : w) config->leaks = config->leaks || r.num_taps <= config->span;
    config->blocks = config->span + 1;
    return true;
  }
  config->step_w = static_cast<int>(step);
  config->blocks = 0;
  for (int e : {0, 1}) {
    const AxisResidue& r = w[static_cast<size_t>(config->of[e])];
    if (r.num_taps == 0) return false;
    config->taps[e] = {static_cast<int>(last[e] - least), static_cast<int>(r.num_taps)};
    config->blocks += static_cast<int>(r.num_taps);
  }
  return true;
}

// Flat positions (kernel.cuh) of so many strips, and stages; false where they do not fit.
bool choose_stages(const Problem& p, const std::array<Residues, 3>& axis, int strips,
                   PairedConfig* config) {
  const int64_t strip = ceil_div(ceil_div(config->width, strips), 2) * 2;
  const int64_t last = config->halo_w + config->span;
  int64_t pitch = strip + config->span;
  if (strips == 1) {
    pitch = std::max({int64_t{config->width}, p.input[2] - config->halo_w, config->width + last,
                      int64_t{config->span}});
  }
  pitch = ceil_div(pitch, 2) * 2;
  if (pitch > kMaxBox || pitch < kPairedMinPitch) return false;
  int64_t lines = 0, planes = 0, span_h = 0;
  for (const AxisResidue& r : axis[0]) planes = std::max(planes, r.num_outputs);
  for (const AxisResidue& r : axis[1]) {
    lines = std::max(lines, r.num_outputs);
    if (r.num_taps == 0) continue;
    const int64_t span = span_of(r);
    span_h = std::max(span_h, span);
    lines =
        std::max({lines, p.input[1] - (r.first_input - span), r.num_outputs + r.first_input, span});
  }
  const int64_t positions = p.batch * planes * lines * pitch;
  const int64_t rows = paired_positions(config->matrices), shift = span_h * pitch + config->span;
  if (std::max(positions, shift) + rows > kMaxPositions) return false;
  config->strips = strips;
  config->strip = static_cast<int>(std::min<int64_t>(strip, config->width));
  config->pitch = static_cast<int>(pitch);
  config->lines = static_cast<int>(lines);
  config->planes = static_cast<int>(planes);
  config->tiles = static_cast<int>(ceil_div(positions, rows));
  if (volume(p.kernel) * config->chunks * config->column_tiles * kPairedBlockBytes >
      kMaxPositions) {
    return false;
  }
  if (int64_t{config->tiles} * strips * config->column_tiles * volume(p.stride) > kMaxWork) {
    return false;
  }
  const int64_t stage_lines = (rows - 1 + shift + pitch - 1) / pitch + 1;
  const int64_t input =
      ceil_div(stage_lines * pitch * kPairedRowBytes, kSwizzleAlign) * kSwizzleAlign;
  const int64_t stage = input + most_taps(axis[1]) * config->blocks * kPairedBlockBytes;
  const int64_t room = kSharedBytes - kSwizzleAlign - paired_table_bytes() - kPairedBarrierBytes -
                       config->column_tiles * paired_channels(config->matrices) * 4;
  if (stage * kPairedMinStages > room) return false;
  config->stage_rows = static_cast<int>(input / kPairedRowBytes);
  config->stage_bytes = static_cast<int>(stage);
  config->stages = static_cast<int>(std::min<int64_t>(room / stage, kPairedMaxStages));
  return true;
}

double clocks_of(const std::array<Residues, 3>& axis, const PairedConfig& config, int64_t bytes,
                 int num_sms) {
  const double columns = paired_columns(config.matrices);
  const double positions = paired_positions(config.matrices);
  const double outputs = positions * 2 * paired_channels(config.matrices);
  const double instructions = config.even ? kPairedStoreInstructions : kPairedShiftInstructions;
  const double store = std::max(outputs * static_cast<double>(bytes) / kOutputBytesPerClock,
                                outputs / 32 / 4 * instructions / kPairedInstructionsPerClock);
  double all = 0;
  for (const AxisResidue& d : axis[0]) {
    for (const AxisResidue& h : axis[1]) {
      if (d.num_taps * h.num_taps == 0) continue;  // bias_fill.h
      const auto taps_h = static_cast<double>(h.num_taps);
      const double products = taps_h * config.blocks * kPairedSteps * kPairedGroups *
                              (columns / 2 + kPairedIssueClocks);
      const double rows = positions + (static_cast<double>(span_of(h)) + 1) * config.pitch;
      const double loads = (rows * kPairedRowBytes + taps_h * config.blocks * kPairedBlockBytes) /
                           kLoadBytesPerClock;
      const auto planes = static_cast<double>(d.num_taps * config.chunks);
      all += std::max(planes * products + store, planes * loads) + kPairedItemClocks;
    }
  }
  const int64_t items = int64_t{config.tiles} * config.strips * config.column_tiles;
  return all * std::max(1.0, static_cast<double>(items) / num_sms + 0.3);
}

bool is_for_paired(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  if (device.arch != 90 || description.direction != Direction::forward) return false;
  if (description.precision == Precision::fp64 || description.precision == Precision::fp32) {
    return false;
  }
  if (description.output != Layout::ncdhw || p.groups != 1 || p.stride[2] != 2) return false;
  const Extent3 output = p.output();
  if (output[2] < 2 || p.in_channels > kMaxInChannels || p.out_channels > kMaxOutChannels) {
    return false;
  }
  for (int a = 0; a < 3; ++a) {
    if (p.stride[a] > kMaxStride || p.kernel[a] > kPairedMaxKernel) return false;
    if (std::max({p.batch, p.input[a], output[a], p.padding[a], p.dilation[a] * p.kernel[a]}) >
        kMaxExtent) {
      return false;
    }
  }
  return volume(p.stride) <= kMaxResidues;
}

PairedConfig search_paired(const Description& description, const Device& device) {
  PairedConfig best;
  if (!is_for_paired(description, device)) return best;
  const Problem& p = description.problem;
  const std::array<Residues, 3> axis{axis_residues(p, 0), axis_residues(p, 1), axis_residues(p, 2)};
  const int64_t bytes = element_bytes(description.precision);
  PairedConfig config;
  config.packed_input = description.input != Layout::ndhwc || p.in_channels * bytes % 16 != 0;
  config.chunks = static_cast<int>(ceil_div(p.in_channels * bytes, int64_t{kPairedRowBytes}));
  const int64_t planes = most_taps(axis[0]) * most_taps(axis[1]) * config.chunks * kPairedSteps;
  for (const auto& [matrices, lead] : {std::array{2, 0}, std::array{1, 0}, std::array{1, 1}}) {
    // Measured: 240 -> 240 k4 s2 in NCDHW with two 448 and 787 us (bfloat16, TF32), with one 495,
    // 818.
    if (best.matrices == 2) break;
    config.matrices = matrices;
    config.lead = lead;
    const int64_t channels = paired_channels(matrices);
    config.column_tiles = static_cast<int>(ceil_div(p.out_channels, channels));
    if (static_cast<double>(config.column_tiles * channels) >
        kPairedPadding[matrices - 1] * static_cast<double>(p.out_channels)) {
      continue;
    }
    if (!choose_matrices(axis[2], &config)) continue;
    config.even = lead == 0 && p.output()[2] % 4 == 0;
    const int64_t chain = std::max(config.taps[0].count, config.taps[1].count) * planes;
    if (chain > sm90::max_chain(description.precision)) continue;
    for (int strips = 1; strips <= kMaxStrips; ++strips) {
      if (!choose_stages(p, axis, strips, &config)) continue;
      config.clocks = clocks_of(axis, config, bytes, device.num_sms);
      if (best.matrices == 0 || config.clocks < best.clocks) best = config;
    }
  }
  // Measured: 64 -> 32 and 32 -> 32 k3 s2 march as fast or faster (kernel.cuh); blocks with few
  // items are slower, and so are residues of w without taps. Fewer products an output: not
  // measured.
  if (volume(p.kernel) * p.in_channels < kPairedProducts * volume(p.stride)) return {};
  const bool marches = choose(description, device).slots > 1;
  const bool bare = axis[2][0].num_taps == 0 || axis[2][1].num_taps == 0;
  const int64_t items = int64_t{best.tiles} * best.strips * best.column_tiles *
                        static_cast<int64_t>(axis[0].size() * axis[1].size());
  return marches || bare || items < kPairedItems * device.num_sms ? PairedConfig{} : best;
}

}  // namespace

PairedConfig choose_paired(const Description& description, const Device& device) {
  return kept_answer(description, device, [&] { return search_paired(description, device); });
}

std::string to_string(const PairedConfig& config) {
  return std::to_string(paired_positions(config.matrices)) + " positions, both residues of w of " +
         std::to_string(paired_channels(config.matrices)) + " channels, " +
         std::to_string(config.chunks) + " chunks, " + std::to_string(config.stages) +
         " stages of " + std::to_string(config.stage_rows) + " rows and weights" +
         (config.strips > 1 ? ", " + std::to_string(config.strips) + " strips" : "") +
         (config.packed_input ? ", input packed" : "");
}

int64_t paired_weight_bytes(const Description& description, const PairedConfig& config) {
  const Extent3& kernel = description.problem.kernel;
  return int64_t{config.column_tiles} * kernel[0] * kernel[1] * config.chunks * config.blocks *
         kPairedBlockBytes;
}

int64_t paired_input_bytes(const Description& description, const PairedConfig& config) {
  if (!config.packed_input) return 0;
  const Problem& p = description.problem;
  return p.batch * volume(p.input) * packed_channels(description) *
         element_bytes(description.precision);
}

bool can_launch_paired(const Description& description, const PairedConfig& config,
                       const Operands& operands) {
  const Problem& p = description.problem;
  return config.packed_input ||
         rows_aligned(operands.input, p.batch, p.input, element_bytes(description.precision));
}

}  // namespace convt3d::cuda::halo_gemm
