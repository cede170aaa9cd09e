// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/shuffle_gemm/patch_config.h"

#include <algorithm>
#include <numeric>

#include "cuda/common/kept_answer.h"
#include "cuda/shuffle_gemm/patch_tuning.h"
#include "cuda/sm90/chain.h"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::shuffle_gemm {
namespace {

bool in_lines(const Description& description) { return description.output == Layout::ncdhw; }

// NCDHW: whether rows of a tensor map of that many merged axes are multiples of 16 bytes.
bool rows_fit(const Problem& p, int merged, int64_t element) {
  int64_t row = element;
  for (int axis = 2; axis >= 2 - merged; --axis) row *= p.output()[axis];
  return row % 16 == 0;
}

// NCDHW: merges the axes on which the box is whole, while its rows are short enough for a tensor
// map: short rows take the copy engine as long as rows of 128 bytes. Rows that are no multiples of
// 16 bytes must be merged.
bool merge_rows(const Problem& p, int64_t element, const std::array<int, 4>& box, int* merged) {
  int64_t row = p.kernel[2] * box[3];
  *merged = 0;
  bool fits = rows_fit(p, 0, element) && row * element % 16 == 0 && row <= kPatchMaxBox;
  for (int axis = 1; axis >= 0 && box[2 + axis] == p.input[1 + axis]; --axis) {
    row *= p.kernel[axis] * box[1 + axis];
    if (row > kPatchMaxBox) break;
    if (!rows_fit(p, 2 - axis, element) || row * element % 16 != 0) continue;
    *merged = 2 - axis;
    fits = true;
  }
  for (int axis = 0; axis < 2 - *merged; ++axis) {
    fits &= p.kernel[axis] * box[1 + axis] <= kPatchMaxBox;
  }
  return fits;
}

// NCDHW: whether a map of two lines (th of 0 and 1) as one has rows of multiples of 16 bytes where
// one line has not, and the stage has room for a box of each, which start at multiples of 16.
bool two_lines_fit(const Problem& p, int64_t element, const std::array<int, 4>& box) {
  const auto [n, d, h, w] = box;
  const int64_t line = p.output()[2] * element, own = p.kernel[2] * w * element;
  if (p.kernel[1] != 2 || line % 16 != 8 || (w < p.input[2] && own % 16 != 0)) return false;
  const int64_t taps = volume(p.kernel), planes = p.kernel[0] * d;
  return patch_line_bytes(own) <= kPatchMaxBox * element && planes <= kPatchMaxBox &&
         2 * patch_line_box(n * kPatchChunk / (taps * element) * planes * h, own) <=
             kPatchSourceBytes;
}

// The box of at most kPatchRows positions that covers the input with the fewest, where a piece of a
// line reads another 32-byte sector than its own; of equals the longest on w. Without one that
// fits, there are no tiles.
void choose_box(const Description& description, PatchConfig* config) {
  const Problem& p = description.problem;
  const auto [depth, height, width] = p.input;
  const int64_t element = element_bytes(description.precision);
  const bool lines = in_lines(description);
  double least = 0;
  for (int64_t w = 1; w <= std::min<int64_t>(width, kPatchRows); ++w) {
    const int64_t h = std::min(height, kPatchRows / w);
    const int64_t d = h == height ? std::min(depth, kPatchRows / (w * h)) : 1;
    const int64_t n = h == height && d == depth ? std::min(p.batch, kPatchRows / (w * h * d)) : 1;
    const std::array<int, 4> box{static_cast<int>(n), static_cast<int>(d), static_cast<int>(h),
                                 static_cast<int>(w)};
    int merged = 0;
    const bool one_line = !lines || merge_rows(p, element, box, &merged);
    if (!one_line && !two_lines_fit(p, element, box)) continue;
    const int64_t tiles =
        ceil_div(width, w) * ceil_div(height, h) * ceil_div(depth, d) * ceil_div(p.batch, n);
    const double sector =
        lines && w < width ? 32.0 / static_cast<double>(w * p.kernel[2] * element) : 0;
    const double cost = static_cast<double>(tiles) * (1 + sector);
    if (least > 0 && cost > least) continue;
    least = cost;
    config->tiles = tiles;
    config->box = box;
    config->merged = one_line ? merged : 0;
    config->two_lines = !one_line;
  }
}

// Whether every eight rows of a box are neighbours in an input of NCDHW, all in it or all behind
// it.
bool rows_join(const Problem& p, int64_t h, int64_t w) {
  const auto [depth, height, width] = p.input;
  if (w < width || width % 8 == 0) return w % 8 == 0 && width % 8 == 0;
  return h * w % 8 == 0 && height * width % 8 == 0 && height % h * width % 8 == 0;
}

// NDHWC: whether the chunks of a patch's lines are full enough for float32.
bool lines_fill(const Problem& p) {
  const int64_t line = p.kernel[2] * p.out_channels * 4;
  return 4 * line >= 3 * ceil_div(line, kPatchChunk) * kPatchChunk;
}

// Clusters, or blocks, that the device has at the same time.
int64_t at_once(const PatchConfig& config, const Device& device) {
  if (config.splits == 1) return config.blocks * device.num_sms;
  return device.num_sms * kPatchClusterShare / 8 / config.splits;
}

// Clocks of the busiest SM; sets all but the box.
double complete(const Description& description, const Device& device, int columns, int64_t splits,
                int64_t blocks, PatchConfig* config) {
  const Problem& p = description.problem;
  const bool is_split = description.precision == Precision::fp32;
  const int64_t weight_bytes = int64_t{columns} * kPatchChunk * patch_parts(description.precision);
  config->columns = columns;
  config->splits = splits;
  config->blocks = blocks;
  config->slices = ceil_div(p.in_channels, columns);
  const int64_t own_chunks = ceil_div(config->chunks, splits);
  config->walkers =
      splits > 1 ? config->tiles
                 : std::clamp<int64_t>(blocks * device.num_sms / config->slices, 1, config->tiles);
  const int64_t rounds = ceil_div(config->tiles, config->walkers);
  // Units of two pairs of eight columns of a warpgroup, of each block.
  config->sum_bytes =
      splits > 1 ? ceil_div(int64_t{columns} / 8, splits) * splits * kPatchPairBytes : 0;
  const int64_t staging = config->joins_eights ? kPatchStagingBytes : 0;
  const int64_t places = config->scatters ? int64_t{columns} * kPatchPlaceBytes : 0;
  const int64_t all = patch_shared(blocks) - staging - config->sum_bytes - places;
  const int64_t beside = (all - own_chunks * weight_bytes) / kPatchSourceBytes;
  config->resident =
      rounds > 1 && beside * blocks >= (is_split ? kPatchEnoughSplitStages : kPatchEnoughStages);
  const int64_t stage = int64_t{kPatchSourceBytes} + (config->resident ? 0 : weight_bytes);
  const int64_t room = all - (config->resident ? own_chunks * weight_bytes : 0);
  const int64_t under_way = rounds > 1 ? kPatchMaxStages : own_chunks;
  config->stages = static_cast<int>(std::min({room / stage, under_way, int64_t{kPatchMaxStages}}));
  config->shared_bytes = config->stages * int64_t{kPatchSourceBytes} +
                         (config->resident ? own_chunks : config->stages) * weight_bytes + staging +
                         config->sum_bytes + places + 512;
  // Else a cluster has two of its blocks on one SM, while others idle.
  if (splits > 1) config->shared_bytes = std::max(config->shared_bytes, patch_shared(2) + 1024);
  const double chunk =
      std::max(patch_chunk_clocks(columns, in_lines(description), description.precision),
               kPatchAnswerClocks / static_cast<double>(std::max(config->stages, 1)));
  const double alone = static_cast<double>(own_chunks) * chunk + kPatchTileClocks +
                       (splits > 1 ? patch_cluster_clocks(columns, splits) : 0);
  const int64_t clusters = config->slices * config->walkers;
  const double fetch =
      static_cast<double>(config->slices * config->tiles * config->chunks * stage) /
      (kPatchBytesPerClock * device.num_sms);
  return std::max(
      fetch, static_cast<double>(ceil_div(clusters, at_once(*config, device)) * rounds) * alone);
}

}  // namespace

int64_t fold_of(const Description& description) {
  if (description.direction == Direction::forward) return 1;
  const Problem& p = description.problem;
  const int64_t row = p.out_channels * element_bytes(description.precision);
  const bool pointwise = volume(p.input) > 1 && volume(p.kernel) == 1 && volume(p.stride) == 1 &&
                         p.groups == 1 && p.padding == Extent3{} && p.output_padding == Extent3{};
  if (!pointwise || description.output != Layout::ndhwc || row % 16 == 0) return 1;
  const int64_t fold = 16 / std::gcd(row, int64_t{16});
  const int64_t positions = p.batch * volume(p.input);
  const bool pays = positions >= kPatchFoldPositions && fold * p.in_channels <= kPatchFoldColumns;
  return pays && positions % fold == 0 ? fold : 1;
}

namespace {

// One input position: all of its block is one row, in the order of NCDHW or of NDHWC, and so is the
// weight's.
bool is_one_row(const Description& description) {
  const Problem& p = description.problem;
  const Layout layout = description.output;
  return volume(p.input) == 1 && p.groups == 1 && layout != Layout::strided &&
         description.weight == layout && description.input != Layout::strided &&
         p.padding == Extent3{} && p.output_padding == Extent3{} && p.dilation == Extent3{1, 1, 1};
}

}  // namespace

Description fold_positions(const Description& description) {
  const int64_t fold = fold_of(description);
  Description folded = description;
  if (description.direction == Direction::forward) {
    Problem& p = folded.problem;
    folded.direction = Direction::grad_input;
    p.in_channels = description.problem.in_channels;
    std::swap(p.in_channels, p.out_channels);
    p.in_channels *= volume(p.kernel);
    p.kernel = p.stride = {1, 1, 1};
    folded.output = folded.input;
    if (volume(p.input) == 1) {
      p.input = {1, 1, p.batch};
      p.batch = 1;
      folded.input = folded.output = Layout::ndhwc;
    }
    return folded;
  }
  if (is_one_row(description)) {
    Problem& p = folded.problem;
    p.out_channels *= volume(p.kernel);
    p.kernel = p.stride = {1, 1, 1};
    p.input = {1, 1, p.batch};
    p.batch = 1;
    folded.input = folded.weight = folded.output = Layout::ndhwc;
    return folded;
  }
  if (fold == 1) return folded;
  Problem& p = folded.problem;
  p.input = {1, 1, p.batch * volume(p.input) / fold};
  p.batch = 1;
  p.in_channels *= fold;
  p.out_channels *= fold;
  return folded;
}

int64_t packed_weight_bytes(const Description& description) {
  const int64_t parts = patch_parts(description.precision);
  const bool turns = description.direction == Direction::forward;
  if (fold_of(description) == 1 && parts == 1 && !turns) return 0;
  const Problem p = fold_positions(description).problem;
  return parts * p.in_channels * p.out_channels * volume(p.kernel) *
         element_bytes(description.precision);
}

namespace {

// Forward as grad_input of a pointwise layer with a channel for each pair of out_channel and tap.
bool turns(const Description& description) {
  const Problem& p = description.problem;
  const bool lines = description.output == Layout::ncdhw;
  if (description.precision != Precision::fp32 && description.precision != Precision::tf32) {
    return false;
  }
  for (int axis = 0; axis < 3; ++axis) {
    if (p.kernel[axis] != p.stride[axis] && p.input[axis] != 1) return false;
  }
  if (!turning_pays(p.batch * volume(p.input), p.in_channels, p.out_channels * volume(p.kernel),
                    description.precision)) {
    return false;
  }
  return p.output_padding == Extent3{} && description.output != Layout::strided &&
         (description.input == description.output ||
          (volume(p.input) == 1 && description.input != Layout::strided)) &&
         p.kernel[2] * (lines ? 1 : p.out_channels) % 2 == 0;
}

}  // namespace

bool patches_fit(const Description& original, const Device& device) {
  const Description description = fold_positions(original);
  const Problem& p = description.problem;
  if (device.arch != 90 || description.direction != Direction::grad_input) return false;
  const bool forward = original.direction == Direction::forward;
  if (forward && !turns(original)) return false;
  if (description.precision == Precision::fp64) return false;
  // Dense tensors in one order of memory.
  const Layout layout = description.output;
  if (layout == Layout::strided || description.input != layout) return false;
  if (forward ? description.weight != original.output && volume(original.problem.kernel) > 1
              : description.weight != layout && volume(p.kernel) > 1) {
    return false;
  }
  const bool folds = fold_of(original) > 1;
  // Only what packs folded positions reads a weight by its strides.
  if (folds ? description.precision == Precision::fp32 : description.weight == Layout::strided) {
    return false;
  }
  const int64_t element = element_bytes(description.precision);
  const int64_t taps = volume(p.kernel);
  if (p.groups != 1 || p.in_channels * element % 16 != 0 || volume(p.input) == 1) return false;
  for (int axis = 0; axis < 3; ++axis) {
    if (p.padding[axis] != 0 || p.dilation[axis] != 1 || p.kernel[axis] > p.stride[axis]) {
      return false;
    }
  }
  if (description.precision == Precision::fp32 &&
      p.out_channels * taps * element < kPatchSplitDepth) {
    return false;
  }
  if (in_lines(description)) {
    // A chunk is whole channels; neighbouring taps are neighbours in words of 4 bytes.
    return p.kernel == p.stride && p.output_padding == Extent3{} &&
           p.kernel[2] * element % 4 == 0 && kPatchChunk % (taps * element) == 0 &&
           p.out_channels * taps * element % kPatchChunk == 0 &&
           choose_patches(original, device).tiles > 0;
  }
  return p.kernel[2] * p.out_channels * element % 16 == 0 &&
         p.stride[2] * p.out_channels * element % 16 == 0 &&
         p.output()[2] * p.out_channels * element % 16 == 0 &&
         p.kernel[0] * p.kernel[1] <= kPatchMaxLines &&
         (description.precision != Precision::fp32 || lines_fill(p));
}

namespace {

PatchConfig search(const Description& original, const Device& device) {
  const Description description = fold_positions(original);
  const Problem& p = description.problem;
  const int64_t element = element_bytes(description.precision);
  PatchConfig config{};
  config.scatters = original.direction == Direction::forward;
  choose_box(description, &config);
  if (config.tiles == 0) return config;
  config.joins_eights =
      in_lines(description) && element == 2 && rows_join(p, config.box[2], config.box[3]);
  if (in_lines(description)) {
    config.chunks = static_cast<int>(p.out_channels * volume(p.kernel) * element / kPatchChunk);
    config.line_chunks = config.chunks;
  } else {
    config.line_chunks =
        static_cast<int>(ceil_div(p.kernel[2] * p.out_channels * element, kPatchChunk));
    config.chunks = static_cast<int>(p.kernel[0] * p.kernel[1]) * config.line_chunks;
  }
  PatchConfig best{};
  double least = 0;
  for (const int columns : {64, 128}) {
    if (columns > 64 && p.in_channels <= 64) continue;
    for (int64_t splits = 1; splits <= kPatchMaxSplits; splits *= 2) {
      if (splits > 1 && splits * 2 > config.chunks) continue;
      const auto fits = [&](int64_t parts) {
        if (description.precision == Precision::fp32) return true;  // sums start anew in each chunk
        const int64_t chain = ceil_div(config.chunks, parts) * (kPatchChunk / 32);
        return chain <= sm90::max_chain(description.precision);
      };
      if (splits < kPatchMaxSplits && !fits(splits)) continue;
      const bool pairs = splits == 1 && (config.scatters || p.in_channels <= columns) &&
                         config.tiles >= patch_pair_tiles(in_lines(description));
      const int most = pairs ? patch_blocks(columns, description.precision) : 1;
      for (int64_t blocks = 1; blocks <= most; ++blocks) {
        const double clocks = complete(description, device, columns, splits, blocks, &config);
        if (config.stages < std::min(2, config.chunks)) continue;
        const bool one_round = config.slices * config.tiles <= at_once(config, device);
        if (splits > 1 && fits(splits / 2) && !one_round) continue;
        if (least > 0 && clocks >= least) continue;
        least = clocks;
        best = config;
      }
    }
  }
  return best;
}

}  // namespace

PatchConfig choose_patches(const Description& description, const Device& device) {
  return kept_answer(description, device, [&] { return search(description, device); });
}

std::string to_string(const PatchConfig& config) {
  std::string text = "patches of ";
  for (const int extent : config.box) text += std::to_string(extent) + "x";
  text.back() = ',';
  if (config.scatters) text += " turned weight,";
  if (config.two_lines) text += " two boxes,";
  return text + " " + std::to_string(config.columns) + " columns, " + std::to_string(config.tiles) +
         " x " + std::to_string(config.slices) + " tiles" +
         (config.resident ? ", weights resident" : "") +
         (config.blocks > 1 ? ", 2 blocks on an SM" : "") +
         (config.splits > 1 ? ", K split " + std::to_string(config.splits) + " ways" : "");
}

}  // namespace convt3d::cuda::shuffle_gemm
