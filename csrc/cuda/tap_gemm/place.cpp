// SPDX-License-Identifier: BSD-3-Clause
#include <algorithm>

#include "cuda/tap_gemm/shape.h"
#include "cuda/tap_gemm/tuning.h"
#include "geometry/ceil_div.h"
#include "geometry/numbers.h"

namespace convt3d::cuda::tap_gemm {
namespace {

// Rounds up to `rest` modulo `step`.
int64_t up_to(int64_t value, int64_t step, int64_t rest) {
  return ceil_div(std::max<int64_t>(value - rest, 0), step) * step + rest;
}

// How many words of one bank a warp meets that gathers 4 neighbouring positions of 8 rows: mean of
// the first rows and of the 8 behind them.
double bank_conflicts(const Shape& shape, const Config& c) {
  constexpr int kBanks = 32, kRows = 8, kPositions = 4;
  const auto word = [&](int64_t channel, const std::array<int64_t, 3>& at) {
    return channel * (c.channel_pitch / 4) + (at[0] * c.halo[1] + at[1]) * c.line + at[2];
  };
  int sum = 0;
  for (int first : {0, kRows}) {
    std::array<std::array<int64_t, kRows * kPositions>, kBanks> met;
    std::array<int, kBanks> count{};
    for (int i = 0; i < kRows * kPositions; ++i) {
      int64_t tap = (first + i / kPositions) % c.block_rows, position = i % kPositions;
      std::array<int64_t, 3> at{};
      for (size_t axis = 3; axis-- > 0;) {
        at[axis] = tap % c.taps[axis] * shape.steps[axis].tap_step +
                   position % c.box[1 + axis] * shape.steps[axis].step;
        tap /= c.taps[axis];
        position /= c.box[1 + axis];
      }
      const int64_t at_word = word(tap, at);
      const auto bank = static_cast<size_t>(at_word % kBanks);
      const auto end = met[bank].begin() + count[bank];
      if (std::find(met[bank].begin(), end, at_word) == end) {
        met[bank][static_cast<size_t>(count[bank]++)] = at_word;
      }
    }
    sum += *std::max_element(count.begin(), count.end());
  }
  return sum / 2.0;
}

// The halo of planes as one box of TMA's, dense in shared memory: its lines are as long as few
// conflicts want. False if it is no such box.
bool place_boxes(const Shape& shape, Config* config) {
  const Problem& p = shape.problem;
  // Limit: a box begins at a multiple of 16 bytes.
  config->piece = kMaxPiece;
  if (config->tiles[3] > 1 && p.stride[2] * config->box[3] % kMaxPiece != 0) return false;
  int64_t lead = 0;
  for (int64_t group = 0; group < config->tap_groups[2]; ++group) {
    const int64_t first = p.dilation[2] * config->taps[2] * group - p.padding[2];
    lead = std::max(lead, (first % kMaxPiece + kMaxPiece) % kMaxPiece);
  }
  int64_t lines = config->box[0];
  for (int axis = 0; axis < 3; ++axis) {
    const AxisSteps& steps = shape.steps[axis];
    const int64_t halo = (config->box[1 + axis] - 1) * steps.step +
                         (config->taps[axis] - 1) * steps.tap_step + 1 + (axis == 2 ? lead : 0);
    if (steps.common > kMaxStep || (halo - 1) * steps.common >= kMaxSpan) return false;
    config->halo[axis] = as_int(halo);
    if (axis < 2) lines *= halo;
  }
  if (config->channels > kMaxSpan) return false;
  const int64_t least = ceil_div(config->halo[2], kMaxPiece) * kMaxPiece;
  constexpr int64_t kMostMore = 28;  // whatever moves a line to another bank
  int line = 0;
  double clocks = 0;
  for (int64_t more = 0; more <= kMostMore && least + more <= kMaxSpan; more += kMaxPiece) {
    config->line = config->halo[2] = as_int(least + more);
    config->channel_pitch = as_int(4 * lines * config->line);
    // Of gathering, and of what is loaded in vain.
    const double conflicts = bank_conflicts(shape, *config);
    const double gathered = 2.0 * config->slabs * config->positions * conflicts * 2;
    const double all =
        gathered + as_double(lines * config->line * config->channels) * 4 / kLoadBytesPerClock;
    if (line == 0 || all < clocks) {
      line = config->line;
      clocks = all;
      config->conflicts = conflicts;
    }
    if (conflicts == 1) break;
  }
  config->line = config->halo[2] = line;
  config->position_pitch = 4;
  config->channel_pitch = as_int(4 * lines * line);
  config->slots = 0;
  return true;
}

// The halo as threads copy it. Pitches keep the 32 words that a warp reads at once, of 4
// neighbouring positions and 8 rows, in different banks as far as may be.
bool place_copies(const Shape& shape, Config* config) {
  const Problem& p = shape.problem;
  constexpr int64_t kMost[3] = {int64_t{1} << kBitsD, int64_t{1} << kBitsH, int64_t{1} << kBitsW};
  config->piece = shape.piece;
  // Lines in pieces begin at one place of a piece for all tiles of a block.
  if (shape.planes && config->tiles[3] > 1) {
    while (p.stride[2] * config->box[3] % config->piece != 0) config->piece /= 2;
  }
  for (int axis = 0; axis < 3; ++axis) {
    const AxisSteps& steps = shape.steps[axis];
    int64_t halo =
        (config->box[1 + axis] - 1) * steps.step + (config->taps[axis] - 1) * steps.tap_step + 1;
    if (axis == 2 && shape.planes) {
      halo = ceil_div(halo + config->piece - 1, config->piece) * config->piece;
    }
    if (halo >= kMost[axis]) return false;
    config->halo[axis] = as_int(halo);
  }
  const int64_t lines = int64_t{config->box[0]} * config->halo[0] * config->halo[1];
  const int64_t taps = int64_t{config->taps[0]} * config->taps[1] * config->taps[2];
  // Measured, or so: of lines as they come.
  config->conflicts = shape.planes && shape.steps[2].step > 1 ? 1.5 : 1.2;
  if (shape.planes) {
    config->line = config->halo[2] + (config->halo[2] % 16 == 0 ? 8 : 0);
    int64_t words = lines * config->line;
    if (taps <= 4) {
      words = up_to(words, 32, taps == 4 ? 16 : taps == 2 || shape.steps[2].step > 1 ? 8 : 4);
    }
    config->position_pitch = 4;
    config->channel_pitch = as_int(4 * ceil_div(words, kMaxPiece) * kMaxPiece);
  } else {
    const int64_t step = shape.steps[2].step;
    config->line = as_int(ceil_div(config->halo[2], step) * step);
    const int64_t words = config->channels >= 8 ? up_to(config->channels, 16, 8)
                                                : ceil_div(config->channels, kMaxPiece) * kMaxPiece;
    config->position_pitch = as_int(4 * words);
    config->channel_pitch = 4;
  }
  config->slots = as_int(lines * config->halo[2] / (shape.planes ? config->piece : 1));
  return true;
}

}  // namespace

bool place_halo(const Shape& shape, Config* config) {
  if (!(config->boxes ? place_boxes(shape, config) : place_copies(shape, config))) return false;
  const int64_t lines = int64_t{config->box[0]} * config->halo[0] * config->halo[1];
  const int64_t bytes = config->planes ? int64_t{config->channel_pitch} * config->channels
                                       : lines * config->line * config->position_pitch;
  const int64_t tables = table_bytes(config->slots, config->positions);
  config->packed_bytes = config->positions * config->columns * 4 * (shape.full ? 2 : 1);
  const int64_t stage = ceil_div(config->packed_bytes + bytes, kStageAlignment) * kStageAlignment;
  const int64_t stages = (kMaxShared - tables) / stage;
  // Where pieces turn out not to be aligned, slots are up to four times as many.
  if (stages < kMinStages || kMaxPiece * tables + stage > kMaxShared) return false;
  config->stage_bytes = as_int(stage);
  config->stages = as_int(std::min<int64_t>(stages, kMaxStages));
  return true;
}

}  // namespace convt3d::cuda::tap_gemm
