// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/line_weight/shift_config.h"

#include <algorithm>
#include <cmath>

#include "cuda/common/kept_answer.h"
#include "cuda/line_weight/tuning.h"
#include "cuda/sm90/chain.h"
#include "geometry/ceil_div.h"
#include "geometry/numbers.h"

namespace convt3d::cuda::line_weight {
namespace {

// Whether the planes of grad_output can be loaded as runs: then nothing is zeros around them. A
// warpgroup multiplies up to two instructions' positions at once.
bool is_flat(const Problem& p, int64_t bytes) {
  const Extent3 output = p.output();
  return p.stride[2] == 1 && p.input[2] * bytes % (2 * kShiftDepthBytes) == 0 &&
         p.padding == Extent3{0, 0, 0} && p.output_padding == Extent3{0, 0, 0} &&
         volume(output) * bytes % 16 == 0;
}

// Elements of what words are counted from, before those of the first tap.
int64_t start_of(const Problem& p, int64_t bytes) {
  const int64_t step = 4 * p.stride[2] / bytes;
  return (step - p.padding[2] % step) % step;
}

bool is_built(const Problem& p, int64_t bytes) {
  if (p.dilation[1] != 1 || p.dilation[2] != 1 || p.stride[2] > 2) return false;
  if (p.stride[2] == 2 && (bytes != 2 || start_of(p, bytes) != 0)) return false;
  // Lines of 16 bits begin with a whole word.
  if (bytes == 2 && p.output()[2] % 2 != 0) return false;
  return p.input[2] * bytes % 16 == 0 && (p.output()[2] * bytes % 16 == 0 || is_flat(p, bytes));
}

// Clocks of shared memory for a lane's words of eight rows, of one position.
double word_clocks(const ShiftConfig& c, int64_t bytes) {
  const auto [start, first, last] = shift_words(c.tile.stride, c.tile.taps, as_int(bytes), c.odd);
  if (c.tile.stride == 2) return 2 * (last / 2 - first / 2 + 1);  // of two words at once
  const int words = last - first + 1;
  return words > 4 ? (words + 4) / 2.0 : words;  // half an instruction further are some of the same
}

double stage_clocks(const Problem& p, const ShiftConfig& c, int64_t bytes) {
  const double depths = as_double(p.input[1] * ceil_div(p.input[2] * bytes, kShiftDepthBytes)) /
                        as_double(c.line_tiles * c.width_tiles);
  const double units = kShiftGroups * c.tile.units;
  const double lines = c.taps_d * c.output_lines;
  const double loaded = lines * c.channels * c.run_bytes + c.input_bytes;
  const double load_rows = lines * c.channels + c.lines * c.chunks * c.tile.columns;
  const double load = load_rows * kShiftRowClocks + loaded / kShiftBytesPerClock;
  const double multiply = depths * units * c.tile.taps * c.tile.columns / 2;
  // 128 bytes a clock: the words of two positions and 16 rows of four warps, and B.
  const double shared =
      depths * units * (16 * word_clocks(c, bytes) + c.tile.taps * c.tile.columns / 4.0) +
      loaded / 128;
  const double products = std::max(multiply, kShiftShareClocks * shared);
  return std::max(load, products) + kShiftStepClocks +
         (c.stages == kShiftMinStages ? std::min(load, products) / 4 : 0);
}

void cut_stage(const Problem& p, int64_t bytes, const Device& device, ShiftConfig* c) {
  const int64_t width = c->chunks * c->row_bytes / bytes;
  c->stages = 0;
  // An odd number of pieces of what four lanes read: rows of eight channels lie in other banks.
  const int64_t piece = 16 * c->tile.stride;
  int64_t pieces = ceil_div((c->tile.stride * (width - 1) + c->tile.taps) * bytes + 15, piece);
  pieces += pieces % 2 == 0 ? 1 : 0;
  c->run_bytes = as_int(piece * pieces);
  c->line_bytes = as_int(round_up(int64_t{c->channels} * c->run_bytes, kShiftBoxAlign));
  c->output_lines = as_int(p.stride[1] * (c->lines - 1) + p.kernel[1]);
  const int64_t output_lines = c->taps_d * c->output_lines;
  if (output_lines + c->chunks > kShiftMaxBoxes || c->run_bytes / bytes > kShiftMaxSpan) return;
  c->input_bytes =
      as_int(round_up(int64_t{c->lines} * c->chunks * c->tile.columns * c->row_bytes, kShiftAlign));
  c->stage_bytes = as_int(round_up(c->input_bytes + output_lines * c->line_bytes, kShiftAlign));
  const int64_t stages = std::min<int64_t>(kShiftShared / c->stage_bytes, kShiftMaxStages);
  if (stages < kShiftMinStages) return;
  c->line_tiles = ceil_div(p.input[1], c->lines);
  c->width_tiles = ceil_div(p.input[2], width);
  c->boxes = p.batch * p.input[0] * c->line_tiles * c->width_tiles;
  c->splits = std::clamp<int64_t>(device.num_sms / c->jobs, 1, c->boxes);
  c->stages = as_int(stages);
  const double waves = as_double(ceil_div(c->jobs * c->splits, device.num_sms));
  c->clocks = waves * as_double(ceil_div(c->boxes, c->splits)) * stage_clocks(p, *c, bytes) +
              kStartClocks + kReduceClocks +
              2 * as_double(partial_bytes(*c)) / kReduceBytesPerClock;
}

ShiftConfig search(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  const int64_t bytes = element_bytes(description.precision);
  ShiftConfig best{};
  if (!is_built(p, bytes)) return best;
  ShiftConfig c{};
  c.flat = p.output()[2] * bytes % 16 != 0;
  c.odd = start_of(p, bytes) != 0;
  const auto chain =
      static_cast<int64_t>(kChainRoots * std::sqrt(as_double(p.batch * volume(p.input))));
  c.chain = description.precision == Precision::tf32
                ? sm90::max_chain(Precision::tf32)
                : as_int(std::clamp(chain, kMinChain, kMaxChain));
  for (const ShiftTile& tile : kShiftTiles) {
    if (tile.taps != p.kernel[2] || tile.stride != p.stride[2]) continue;
    c.tile = tile;
    for (int64_t taps = p.kernel[0];; taps = 1) {
      const int64_t most = kShiftGroups * kShiftUnitRows * tile.units / (taps * p.kernel[1]);
      if (most > 0) {
        const int64_t tiles = ceil_div(p.out_channels, std::min<int64_t>(most, kShiftMaxSpan));
        c.taps_d = as_int(taps);
        c.channels = as_int(ceil_div(p.out_channels, tiles));
        c.rows = as_int(c.channels * taps * p.kernel[1]);
        c.jobs = tiles * (p.kernel[0] / taps) * ceil_div(p.in_channels, tile.columns);
        for (c.row_bytes = 128; c.row_bytes >= (tile.units == 1 ? 64 : 32); c.row_bytes /= 2) {
          for (c.chunks = 1; c.chunks <= kShiftMaxChunks; ++c.chunks) {
            for (c.lines = 1; c.lines <= std::min<int64_t>(kShiftMaxLines, p.input[1]); ++c.lines) {
              cut_stage(p, bytes, device, &c);
              if (c.stages > 0 && (best.stages == 0 || c.clocks < best.clocks)) best = c;
            }
          }
        }
      }
      if (taps == 1) break;
    }
  }
  if (best.stages == 0) return best;
  best.full =
      as_double(p.in_channels * p.out_channels * p.kernel[0] * p.kernel[1]) /
      as_double(best.jobs * kShiftGroups * kShiftUnitRows * best.tile.units * best.tile.columns);
  return best;
}

}  // namespace

ShiftConfig choose_shifts(const Description& description, const Device& device) {
  return kept_answer(description, device, [&] { return search(description, device); });
}

int64_t partial_bytes(const ShiftConfig& c) {
  return c.jobs * c.splits * kConsumerThreads * c.tile.units * c.tile.taps * c.tile.columns / 2 * 4;
}

std::string to_string(const ShiftConfig& c) {
  return std::string("lines shifted, ") + (c.flat ? "planes as runs, " : "") + "stride " +
         std::to_string(c.tile.stride) + ", " + std::to_string(c.rows) + " rows x " +
         std::to_string(c.tile.taps) + " taps x " + std::to_string(c.tile.columns) + " columns, " +
         std::to_string(c.channels) + " channels of " + std::to_string(c.taps_d) + " planes, " +
         std::to_string(c.lines) + " lines of " + std::to_string(c.chunks) + " x " +
         std::to_string(c.row_bytes) + " bytes, " + std::to_string(c.stages) + " stages, " +
         std::to_string(c.jobs) + " jobs, " + std::to_string(c.splits) + " splits";
}

}  // namespace convt3d::cuda::line_weight
