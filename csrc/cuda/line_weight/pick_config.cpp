// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/line_weight/pick_config.h"

#include <algorithm>
#include <cmath>

#include "cuda/few_channels/few_channels.h"
#include "cuda/line_weight/tuning.h"
#include "cuda/sm90/chain.h"
#include "cuda/weight_gemm/weight_gemm.h"
#include "geometry/numbers.h"

namespace convt3d::cuda::line_weight {
namespace {

bool pays(const Problem& p, const PickConfig& c, int64_t element, bool tf32) {
  const auto megabytes = [&](int64_t channels) {
    return static_cast<double>(p.batch * volume(p.input) * channels * element) / 1e6;
  };
  const double input = megabytes(p.in_channels), output = megabytes(c.lines * c.taps);
  const double reads =
      static_cast<double>(c.line_tiles) * input + static_cast<double>(c.in_tiles) * output;
  const double own = kPickStart + kPickMegabyte * (input + output) + kPickReadMegabyte * reads;
  const double line = p.output()[2] * element % 16 == 0 ? kLineMegabyte : kShortCopyMegabyte;
  const double others =
      tf32 ? kTapStart + kTapMegabyte * (input + output) : kLineStart + line * (input + output);
  return own < kPickAdvantage * others;
}

// Jobs of at most `channels` x `lines`, evenly, in multiples of 8.
void set_jobs(const Problem& p, int64_t lines, bool even, PickConfig* c) {
  const auto part = [&](int64_t all, int64_t most) {
    return even ? round_up(ceil_div(all, ceil_div(all, most)), 8) : most;
  };
  c->job_channels = part(p.in_channels, kPickChannels);
  c->job_lines = part(c->lines, lines);
  c->in_tiles = ceil_div(p.in_channels, c->job_channels);
  c->line_tiles = ceil_div(c->lines, c->job_lines);
  c->jobs = c->in_tiles * c->line_tiles;
}

// What blocks read of both tensors, for each byte of them.
double times_read(const Problem& p, const PickConfig& c) {
  const auto reads = c.line_tiles * p.in_channels + c.in_tiles * c.lines;
  return static_cast<double>(reads) / static_cast<double>(p.in_channels + c.lines);
}

// Positions of a row of whole pieces of 16 bytes; 0 where channels are such themselves, or such a
// row has too many.
int folds_of(const Problem& p, int64_t element) {
  int64_t folds = 1;
  const auto whole = [&](int64_t channels) { return folds * channels * element % 16 == 0; };
  while (!whole(p.in_channels) || !whole(p.out_channels)) folds *= 2;
  const bool fits = p.in_channels <= kPickChannels && folds * p.out_channels <= kPickChannels &&
                    p.batch * volume(p.input) % folds == 0;
  return folds > 1 && fits ? as_int(folds) : 0;
}

// The same of grad_output alone, where single elements are read.
int output_folds(const Problem& p) {
  constexpr int64_t kPiece = 4;  // of 16 bytes
  int64_t folds = 1;
  while (folds * p.out_channels % kPiece != 0) folds *= 2;
  const bool fits = p.in_channels % kPiece == 0 && p.in_channels <= kPickChannels &&
                    p.out_channels <= kPointRowLines && p.batch * volume(p.input) % folds == 0;
  return fits ? as_int(folds) : 0;
}

// Splits and stages of a config whose jobs and tiles are set; none where tensors that do not begin
// where they should would be nobody's.
void cut(const Description& description, const Device& device, PickConfig* c) {
  if (pick_fallback_bytes(description, device) < 0) return;
  const Problem& p = description.problem;
  const bool whole = c->loads == 0, tf32 = description.precision == Precision::tf32;
  const auto roots =
      static_cast<int64_t>(kChainRoots * std::sqrt(static_cast<double>(p.batch * volume(p.input))));
  const int64_t chain =
      tf32 ? sm90::max_chain(Precision::tf32) : std::clamp(roots, kMinChain, kMaxChain);
  const int64_t most = chain / (kPickRow / 32);  // tiles of a block
  const int64_t blocks = whole ? kPointBlocks : pick_blocks(c->loads);
  c->splits = std::max<int64_t>(blocks * device.num_sms / c->jobs, 1);
  if (whole) {
    // The last stage's rows are followed by what an instruction reads beyond them.
    const int64_t behind =
        c->rows ? int64_t{kPickRow} : (kPickChannels - point_lines(*c)) * kPickRow;
    c->stages =
        as_int(std::min<int64_t>((kPointShared - behind) / point_bytes(*c), kMaxPointStages));
    c->splits = std::min(c->splits, ceil_div(c->tiles, int64_t{kLeastPointTiles}));
  }
  // Chains of sums may need more splits than there are places: whole rounds of them.
  const int64_t places = c->splits, least = ceil_div(c->tiles, most);
  c->splits = std::min(least > places ? round_up(least, places) : places, c->tiles);
  if (pick_partial_bytes(*c) > kMaxPartialBytes) c->splits = 0;
}

}  // namespace

int64_t pick_fallback_bytes(const Description& description, const Device& device) {
  if (weight_gemm::supports(description, device).ok) {
    return weight_gemm::workspace_bytes(description, device);
  }
  if (few_channels::supports(description, device).ok) {
    return few_channels::workspace_bytes(description, device);
  }
  return -1;
}

PickConfig choose_picks(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  const int64_t element = element_bytes(description.precision), positions = volume(p.input);
  PickConfig c{};
  const bool tf32 = description.precision == Precision::tf32;
  if ((element != 2 && !tf32) || p.padding != Extent3{}) return c;
  const bool point = volume(p.kernel) == 1, whole = point && p.output() == p.input;
  const bool rows = description.input == Layout::ndhwc && description.output == Layout::ndhwc;
  c.taps = static_cast<int>(p.kernel[2]);
  c.lines = p.out_channels * p.kernel[0] * p.kernel[1];
  if (rows) {
    c.rows = tf32;
    c.folds = !whole ? 0 : tf32 ? output_folds(p) : folds_of(p, element);
    if (c.folds == 0) return c;
    const int64_t of_tile = tf32 ? kPointPositions : c.folds * kPickChannels;
    c.image_tiles = c.tiles = ceil_div(p.batch * positions, of_tile);
    c.job_channels = tf32 ? round_up(p.in_channels, kPointPart) : kPickChannels;
    c.job_lines = p.out_channels;
    c.in_tiles = c.jobs = tf32 ? 1 : ceil_div(c.folds * p.in_channels, int64_t{kPickChannels});
    c.line_tiles = 1;
    cut(description, device, &c);
    return c;
  }
  if (description.input != Layout::ncdhw || description.output != Layout::ncdhw) return c;
  // Lines of the map of input.
  if (positions * element % 16 != 0) return c;
  const bool skips = point && volume(p.stride) > 1;
  // Pairs of taps that are words.
  const bool pairs =
      p.kernel[2] == 2 && p.stride[2] == 2 && p.dilation[2] == 1 && p.output()[2] % 2 == 0;
  if (!whole && !skips && !pairs) return c;
  c.loads = whole ? 0 : skips && c.lines > pick_lines(8) ? 16 : 8;
  c.image_tiles = ceil_div(positions * element, int64_t{kPickRow});
  c.tiles = p.batch * c.image_tiles;
  set_jobs(p, whole ? int64_t{kPickChannels} : pick_lines(c.loads), whole, &c);
  if (whole && times_read(p, c) > kPointReads) return c;
  if (pairs && !pays(p, c, element, tf32)) return c;
  cut(description, device, &c);
  return c;
}

std::string to_string(const PickConfig& c) {
  const std::string what =
      c.loads == 0 ? "both tensors as they lie, " + std::to_string(c.stages) + " stages, " +
                         (c.folds > 0 ? std::to_string(c.folds) + " positions of a row, " : "")
                   : "plain loads of " + std::to_string(c.taps) + " taps, ";
  return what + std::to_string(c.jobs) + " jobs of " + std::to_string(c.job_channels) + "x" +
         std::to_string(c.job_lines * c.taps) + ", " + std::to_string(c.tiles) + " tiles in " +
         std::to_string(c.splits) + " splits";
}

}  // namespace convt3d::cuda::line_weight
