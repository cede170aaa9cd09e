// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/column_gemm/input_config.h"

#include <algorithm>

#include "cuda/column_gemm/position_box.h"
#include "cuda/common/kept_answer.h"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::column_gemm {
namespace {

// Clocks that the busiest SM takes.
double estimate(const Description& description, const Device& device, const InputConfig& c,
                int64_t stage) {
  const Problem& p = description.problem;
  const int64_t items = p.batch * c.tiles[0] * c.tiles[1] * c.tiles[2];
  const int64_t rows = int64_t{c.cells[0]} * c.cells[1] * c.cells[2];
  const int64_t blocks = ceil_div(int64_t{c.cells[0]} * c.cells[1] * c.line_rows, 32);
  const double step = description.precision == Precision::fp32 ? kSplitColumnClocks : kColumnClocks;
  const double multiply = static_cast<double>(blocks * c.chunks * c.steps) * step;
  const double bytes =
      static_cast<double>(rows * p.in_channels * element_bytes(description.precision)) *
          kResultClocks +
      static_cast<double>(stage) * kOutputClocks;
  const int64_t waves = ceil_div(items, int64_t{device.num_sms} * c.blocks_per_sm);
  const double exposed = c.blocks_per_sm > 1 ? 0 : std::min(multiply, bytes);
  return static_cast<double>(waves * c.blocks_per_sm) *
         (std::max(multiply, bytes) + exposed + kBoxClocks);
}

// Everything that follows from the cells of a box; bytes of a stage, or 0.
int64_t complete(const Description& description, const Device& device, InputConfig* c) {
  const Problem& p = description.problem;
  const int64_t size = element_bytes(description.precision);
  const int64_t slack = (8 - p.padding[2] % 8) % 8;
  c->line_rows = static_cast<int>(round_up(c->cells[2], 4));
  c->line_width =
      static_cast<int>(round_up(slack + p.stride[2] * (c->cells[2] - 1) + p.kernel[2], 8));
  const int64_t lines = ((c->cells[0] - 1) * p.stride[0] + p.kernel[0]) *
                        ((c->cells[1] - 1) * p.stride[1] + p.kernel[1]);
  const int64_t stage = lines * c->line_width * p.out_channels * size;
  const int64_t rows = round_up(int64_t{c->cells[0]} * c->cells[1] * c->line_rows, 32);
  const int64_t fixed =
      int64_t{c->chunks} * c->steps * 1024 + c->steps * 4 * (8 / size) * 4 + rows * 8;
  c->shared = round_up(fixed, 16) + 2 * stage;
  if (c->shared > shared_bytes(device.arch)) return 0;
  c->blocks_per_sm = static_cast<int>(std::min<int64_t>(
      kMaxBlocksPerSm,
      (shared_bytes(device.arch) + kReservedBytes) / (c->shared + kReservedBytes)));
  return stage;
}

}  // namespace

InputConfig choose_input(const Description& description, const Device& device) {
  return kept_answer(description, device, [&] {
    const Problem& p = description.problem;
    InputConfig c{};
    const int64_t step = 32 / element_bytes(description.precision);
    c.steps = static_cast<int>(ceil_div(columns(p), step));
    c.chunks = static_cast<int>(ceil_div(p.in_channels, 32));
    return best_positions(
        p, c, [&](InputConfig* config) { return complete(description, device, config); },
        [&](const InputConfig& config, int64_t stage) {
          return estimate(description, device, config, stage);
        });
  });
}

Verdict supports_input(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  if (description.precision == Precision::fp32) {
    if (columns(p) < kMinSplitColumns) {
      return Verdict::refuse("float32, less than 48 taps times out_channels");
    }
    if (p.in_channels * p.out_channels < kMinSplitIns ||
        p.batch * volume(p.input) < kMinSplitPositions) {
      return Verdict::refuse("float32, few in_channels or positions");
    }
    if (description.output == Layout::ncdhw && p.output()[2] % 4 != 0) {
      return Verdict::refuse("float32 in NCDHW, lines that are no multiple of 16 bytes");
    }
  }
  if (columns(p) > kMaxColumns) return Verdict::refuse("more than 64 taps times out_channels");
  if (p.in_channels < kMinInputChannels) return Verdict::refuse("less than 16 in_channels");
  const InputConfig c = choose_input(description, device);
  if (c.shared == 0) return Verdict::refuse("the taps reach too far apart for shared memory");
  if (static_cast<double>(p.batch) * c.tiles[0] * c.tiles[1] * c.tiles[2] > kMaxExtent) {
    return Verdict::refuse("too many positions");
  }
  return Verdict::accept();
}

std::string to_string(const InputConfig& c) {
  return "positions " + std::to_string(c.cells[0]) + "x" + std::to_string(c.cells[1]) + "x" +
         std::to_string(c.cells[2]) + ", steps " + std::to_string(c.steps) + ", in channels " +
         std::to_string(c.chunks) + " x 32, blocks of an SM " + std::to_string(c.blocks_per_sm);
}

}  // namespace convt3d::cuda::column_gemm
