// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/cluster_weight/box_config.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "cuda/cluster_weight/box_tuning.h"
#include "cuda/common/kept_answer.h"
#include "cuda/sm90/chain.h"
#include "geometry/ceil_div.h"
#include "geometry/numbers.h"

namespace convt3d::cuda::cluster_weight {
namespace {

// The longest row of a tensor map that cuts `run` elements into rows of whole 16 bytes.
int64_t piece_of_run(int64_t run, int64_t element) {
  for (int64_t piece = std::min(run, kMaxBox); piece * element >= 16; --piece) {
    if (run % piece == 0 && piece * element % 16 == 0 && run / piece <= kMaxBox) return piece;
  }
  return 0;
}

// Whether boxes of `planes` x `lines` of `images` can be copied; sets what a box is.
bool make_box(const Description& description, int64_t images, int64_t planes, int64_t lines,
              BoxConfig* c) {
  const Problem& p = description.problem;
  const int64_t element = element_bytes(description.precision), taps = volume(p.kernel);
  const auto [depth, height, width] = p.input;
  const Extent3 output = p.output();
  const int64_t all = volume(p.input), plane = output[1] * output[2];
  const int64_t of_image = planes * lines * width;
  c->positions = as_int(images * of_image);
  c->images = as_int(images);
  c->planes = as_int(planes);
  c->lines = as_int(lines);
  c->image_boxes = as_int(all / of_image);
  c->boxes = as_int(p.batch / images * c->image_boxes);
  c->whole = lines == height;
  c->turned = images > 1 || all * element % 16 != 0;
  c->out_channels = as_int(kColumns / taps);
  c->run = as_int(c->whole ? p.kernel[0] * planes * plane : p.kernel[1] * lines * output[2]);
  c->piece = as_int(piece_of_run(c->run, element));
  c->groups = as_int(ceil_div(c->positions * element, kPanelRow));
  const int64_t channel = of_image * taps * element;
  // Of a channel in the stage, whose images lie apart.
  const int64_t reach = (images - 1) * of_image * kColumns * element + channel;
  // A single box may be turned around in shared memory, where input's channels lie side by side.
  const bool input_fits = c->turned ? c->image_boxes == 1 && p.in_channels * all * element % 16 == 0
                                    : c->positions * element % 16 == 0;
  return input_fits && c->piece > 0 && (c->whole ? plane * output[0] : plane) * element % 16 == 0 &&
         reach <= kMaxChannelBytes && p.kernel[0] <= kMaxBox;
}

// Blocks, stages and clocks; false where the stages do not fit.
bool complete(const Description& description, const Device& device, const Shape& shape, int rows,
              int splits, BoxConfig* c) {
  const int64_t element = element_bytes(description.precision);
  c->rows = rows;
  c->splits = splits;
  c->tiles = ceil_div(shape.in_channels, rows) * ceil_div(shape.columns, kColumns);
  const int64_t blocks = c->tiles * splits;
  const int64_t source = int64_t{c->positions} * kColumns * element;
  const bool three = description.precision == Precision::fp32;  // two parts of input
  c->output_at = as_int(c->groups * rows * kPanelRow * (three ? 2 : 1));
  c->packed_at = as_int(c->output_at + round_up(source, 128));
  const int64_t packed = c->turned ? int64_t{rows} * c->positions * element : 0;
  c->stage_bytes = as_int(round_up(c->packed_at + packed, 1024));
  const int64_t own = ceil_div(c->boxes, splits);
  const int64_t tail = kBoxBarrierBytes + c->groups * int64_t{kPanelRow};
  const int64_t sums = kBoxSumPitch * (rows + (splits > 1 ? ceil_div(rows, splits) * splits : 0));
  const bool pair = splits == 1 && blocks > device.num_sms && box_blocks(rows) == 2;
  const int64_t room = (pair ? kPairBytes : kSharedBytes) - tail;
  c->stages = as_int(std::min({room / c->stage_bytes, own, int64_t{kMaxBoxStages}}));
  if (c->stages < std::min<int64_t>(own, 2) || sums > room) return false;
  c->shared_bytes = as_int(std::max(c->stages * int64_t{c->stage_bytes}, sums) + tail);
  // Blocks of a cluster are placed on one SM if they fit there.
  if (splits > 1) c->shared_bytes = std::max(c->shared_bytes, kPairBytes + 4096);
  const double share = static_cast<double>(device.num_sms) / kTunedSms;
  const double at_once =
      std::max(1.0, std::floor(kClustersAtOnce[splits] * share)) * (pair ? 2 : 1);
  double rounds = std::ceil(static_cast<double>(c->tiles) / at_once);
  // Pairs hide a part of the last ones' wait, as in cluster_weight.cpp.
  const double waves = static_cast<double>(c->tiles) / device.num_sms;
  if (three && pair) rounds = (waves / 2 + std::ceil(waves / 2)) / 2;
  const bool narrow = element == 2;
  const double group = three ? kBoxPartsClocks + (kBoxRowPartsClocks + kBoxTurnClocks) * rows
                             : kBoxRowGroupClocks * rows +
                                   (narrow ? kBoxGroupClocks : kBoxWideClocks) +
                                   (c->turned ? kBoxTurnClocks * rows : 0);
  const double box =
      c->groups * group * (pair ? 2 : 1) + (c->stages < 3 && c->stages < own ? kBoxWaitClocks : 0);
  c->clocks = kBoxStartClocks + kBoxRowClocks * rows +
              rounds * (static_cast<double>(own) * box + (splits > 1 ? kBoxClusterClocks : 0)) +
              (rounds - 1) * kBoxEndClocks;
  return true;
}

BoxConfig search(const Description& description, const Device& device, const Shape& shape) {
  const Problem& p = description.problem;
  const int64_t taps = volume(p.kernel), depth = 32 / element_bytes(description.precision);
  BoxConfig best{}, c{};
  best.clocks = std::numeric_limits<double>::infinity();
  if (shape.source == Source::channels || kColumns % taps != 0) return best;
  const auto look = [&](int64_t images, int64_t planes, int64_t lines) {
    if (!make_box(description, images, planes, lines, &c)) return;
    for (const int rows : kBoxRows) {
      if (description.precision == Precision::fp32 && rows > kBoxMaxFloatRows) continue;
      for (int splits = 1; splits <= std::min(kMaxBoxSplits, c.boxes); ++splits) {
        const int64_t steps = ceil_div(c.boxes, splits) * ceil_div(c.positions, depth);
        if (description.precision != Precision::fp32 &&
            steps > sm90::max_chain(description.precision)) {
          continue;
        }
        if (complete(description, device, shape, rows, splits, &c) && c.clocks < best.clocks) {
          best = c;
        }
      }
    }
  };
  for (int64_t lines = 1; lines < p.input[1]; ++lines) {
    if (p.input[1] % lines == 0) look(1, 1, lines);
  }
  for (int64_t planes = 1; planes <= p.input[0]; ++planes) {
    if (p.input[0] % planes == 0) look(1, planes, p.input[1]);
  }
  for (int64_t images = 2; images <= p.batch && images * volume(p.input) <= kMostJoined; ++images) {
    if (p.batch % images == 0) look(images, p.input[0], p.input[1]);
  }
  return best;
}

}  // namespace

BoxConfig choose_boxes(const Description& description, const Device& device, const Shape& shape) {
  return kept_answer(description, device, [&] { return search(description, device, shape); });
}

bool prefers_boxes(const BoxConfig& boxes, const Config& config) {
  return boxes.rows > 0 && kBoxAdvantage * boxes.clocks < config.clocks;
}

std::string to_string(const BoxConfig& c) {
  return "boxes of " + std::to_string(c.planes) + "x" + std::to_string(c.lines) + " lines" +
         (c.images > 1 ? " of " + std::to_string(c.images) + " images" : "") +
         (c.turned ? ", turned" : "") + ", " + std::to_string(c.tiles) + " tiles of " +
         std::to_string(c.rows) + "x" + std::to_string(kColumns) + ", " + std::to_string(c.boxes) +
         " boxes in " + std::to_string(c.splits) + " splits, " + std::to_string(c.stages) +
         " stages of " + std::to_string(c.stage_bytes) + " bytes";
}

}  // namespace convt3d::cuda::cluster_weight
