// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/line_weight/pick_config.h"

#include <algorithm>
#include <cmath>

#include "cuda/line_weight/tuning.h"
#include "cuda/sm90/chain.h"
#include "cuda/weight_gemm/weight_gemm.h"

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

}  // namespace

PickConfig choose_picks(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  const int64_t element = element_bytes(description.precision), positions = volume(p.input);
  PickConfig c{};
  const bool tf32 = description.precision == Precision::tf32;
  if ((element != 2 && !tf32) || p.padding != Extent3{}) return c;
  // Lines of the map of input.
  if (positions * element % 16 != 0) return c;
  const bool skips = volume(p.kernel) == 1 && volume(p.stride) > 1;
  // Pairs of taps that are words.
  const bool pairs =
      p.kernel[2] == 2 && p.stride[2] == 2 && p.dilation[2] == 1 && p.output()[2] % 2 == 0;
  if (!skips && !pairs) return c;
  c.taps = static_cast<int>(p.kernel[2]);
  c.lines = p.out_channels * p.kernel[0] * p.kernel[1];
  c.loads = skips && c.lines > pick_lines(8) ? 16 : 8;
  c.image_tiles = ceil_div(positions * element, int64_t{kPickRow});
  c.tiles = p.batch * c.image_tiles;
  c.in_tiles = ceil_div(p.in_channels, int64_t{kPickChannels});
  c.line_tiles = ceil_div(c.lines, int64_t{pick_lines(c.loads)});
  c.jobs = c.in_tiles * c.line_tiles;
  if (pairs && !pays(p, c, element, tf32)) return c;
  // Tensors that do not begin where they should are its.
  if (!weight_gemm::supports(description, device).ok) return c;
  const auto roots =
      static_cast<int64_t>(kChainRoots * std::sqrt(static_cast<double>(p.batch * positions)));
  const int64_t chain =
      tf32 ? sm90::max_chain(Precision::tf32) : std::clamp(roots, kMinChain, kMaxChain);
  const int64_t most = chain / (kPickRow / 32);  // tiles of a block
  c.splits = std::max<int64_t>(pick_blocks(c.loads) * device.num_sms / c.jobs, 1);
  c.splits = std::min(std::max(c.splits, ceil_div(c.tiles, most)), c.tiles);
  if (pick_partial_bytes(c) > kMaxPartialBytes) c.splits = 0;
  return c;
}

std::string to_string(const PickConfig& c) {
  return "plain loads of " + std::to_string(c.taps) + " taps, " + std::to_string(c.jobs) +
         " jobs of " + std::to_string(kPickChannels) + "x" +
         std::to_string(pick_lines(c.loads) * c.taps) + ", " + std::to_string(c.tiles) +
         " tiles in " + std::to_string(c.splits) + " splits";
}

}  // namespace convt3d::cuda::line_weight
