// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/column_gemm/weight_config.h"

#include <algorithm>

#include "cuda/column_gemm/position_box.h"
#include "cuda/common/kept_answer.h"
#include "cuda/sm90/chain.h"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::column_gemm {
namespace {

int64_t slice_channels(const WeightConfig& c) { return int64_t{c.channel_warps} * kWeightChannels; }

// Bytes of a stage, input and grad_output; 0 where it does not fit.
int64_t complete(const Description& description, const Device& device, WeightConfig* c) {
  const Problem& p = description.problem;
  const int64_t size = element_bytes(description.precision), step = 32 / size;
  const int64_t slack = (8 - p.padding[2] % 8) % 8;
  // 32-bit positions are loaded 16 bytes at a time too.
  c->line_rows = static_cast<int>(round_up(c->cells[2], step));
  c->line_width =
      static_cast<int>(round_up(slack + p.stride[2] * (c->cells[2] - 1) + p.kernel[2], 8));
  const int64_t lines = ((c->cells[0] - 1) * p.stride[0] + p.kernel[0]) *
                        ((c->cells[1] - 1) * p.stride[1] + p.kernel[1]);
  const int64_t positions = int64_t{c->cells[0]} * c->cells[1] * c->line_rows;
  const int64_t channels = slice_channels(*c);
  const int64_t rows = positions * weight_row_pitch(channels, size);
  const int64_t planes = channels * weight_plane_pitch(positions, size);
  const int64_t input = c->rows ? std::max(rows, planes) : planes;
  const int64_t stage = round_up(input, 16) + lines * c->line_width * p.out_channels * size;
  const int64_t fixed = channels * round_up(columns(p), 8) * 4 + positions * 8 + 128;
  c->shared = fixed + 2 * round_up(stage, 16);
  return c->shared > shared_bytes(device.arch) ? 0 : stage;
}

// Clocks that the busiest SM takes.
double estimate(const Description& description, const Device& device, const WeightConfig& c,
                int64_t stage) {
  const Problem& p = description.problem;
  const int64_t items = p.batch * c.tiles[0] * c.tiles[1] * c.tiles[2];
  const int64_t size = element_bytes(description.precision);
  const int64_t steps =
      ceil_div(int64_t{c.cells[0]} * c.cells[1] * c.line_rows, 32 / size * c.position_warps);
  const int products = description.precision == Precision::fp32 ? 3 : 1;
  const double multiply = static_cast<double>(steps * products) * kWeightStepClocks;
  const double box = std::max(multiply, static_cast<double>(stage) * kOutputClocks) + kBoxClocks;
  return static_cast<double>(ceil_div(items * c.slices, device.num_sms)) * box;
}

}  // namespace

WeightConfig choose_weight(const Description& description, const Device& device) {
  return kept_answer(description, device, [&] {
    const Problem& p = description.problem;
    WeightConfig c{};
    const int64_t size = element_bytes(description.precision);
    c.rows = description.input == Layout::ndhwc && p.in_channels * size % 16 == 0;
    const int64_t channel_warps = ceil_div(p.in_channels, kWeightChannels);
    c.slices = static_cast<int>(ceil_div(channel_warps, kWeightWarps));
    c.channel_warps = static_cast<int>(ceil_div(channel_warps, c.slices));
    c.position_warps = static_cast<int>(kWeightWarps / c.channel_warps);
    WeightConfig best = best_positions(
        p, c, [&](WeightConfig* config) { return complete(description, device, config); },
        [&](const WeightConfig& config, int64_t stage) {
          return estimate(description, device, config, stage);
        });
    const int64_t items = p.batch * best.tiles[0] * best.tiles[1] * best.tiles[2];
    best.splits = static_cast<int>(
        std::min<int64_t>(items, std::max<int64_t>(1, device.num_sms / std::max(1, best.slices))));
    const int64_t steps = ceil_div(int64_t{best.cells[0]} * best.cells[1] * best.line_rows,
                                   32 / size * std::max(1, best.position_warps));
    // fp32's instructions add to zero; its sums are as long as 16 bits' may be.
    const Precision chain =
        description.precision == Precision::tf32 ? Precision::tf32 : Precision::bf16;
    best.parked_items = static_cast<int>(sm90::max_chain(chain) / std::max<int64_t>(1, steps));
    return best;
  });
}

Verdict supports_weight(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  const bool planes = description.input == Layout::ncdhw && description.output == Layout::ncdhw;
  if (device.arch == 90 && description.precision != Precision::fp32 && planes &&
      p.in_channels > kMaxPlanes && p.input[2] % 8 == 0) {
    return Verdict::refuse("many in_channels in NCDHW: line_weight and tap_gemm are faster");
  }
  if (device.arch == 90 && description.precision == Precision::tf32 && planes &&
      p.input[2] % 8 == 0 && p.output()[2] % 4 == 0) {
    return Verdict::refuse("TF32 in NCDHW, whole lines: tap_gemm is faster");
  }
  if (columns(p) > kMaxColumns) return Verdict::refuse("more than 64 taps times out_channels");
  if (p.in_channels < kMinInputChannels) return Verdict::refuse("less than 16 in_channels");
  const WeightConfig c = choose_weight(description, device);
  if (c.shared == 0) return Verdict::refuse("the taps reach too far apart for shared memory");
  if (c.parked_items == 0 || c.slices > kMaxSlices) {
    return Verdict::refuse("too many in_channels");
  }
  if (static_cast<double>(p.batch) * c.tiles[0] * c.tiles[1] * c.tiles[2] > kMaxExtent) {
    return Verdict::refuse("too many positions");
  }
  return Verdict::accept();
}

int64_t weight_workspace_bytes(const Description& description, const Device& device) {
  return choose_weight(description, device).splits * description.problem.in_channels *
         columns(description.problem) * 4;
}

std::string to_string(const WeightConfig& c) {
  return "positions " + std::to_string(c.cells[0]) + "x" + std::to_string(c.cells[1]) + "x" +
         std::to_string(c.cells[2]) + ", warps on channels " + std::to_string(c.channel_warps) +
         ", positions " + std::to_string(c.position_warps) + ", slices " +
         std::to_string(c.slices) + ", splits " + std::to_string(c.splits) + ", parked after " +
         std::to_string(c.parked_items) + (c.rows ? ", rows" : ", planes");
}

}  // namespace convt3d::cuda::column_gemm
