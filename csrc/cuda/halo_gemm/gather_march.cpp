// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/halo_gemm/gather_march.h"

#include <algorithm>

#include "cuda/common/kept_answer.h"
#include "cuda/halo_gemm/gather_tuning.h"
#include "cuda/halo_gemm/tuning.h"
#include "cuda/sm90/chain.h"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::halo_gemm {
namespace {

bool is_for_gather(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  const Precision precision = description.precision;
  if (device.arch != 90 || description.direction != Direction::grad_input) return false;
  if (element_bytes(precision) != 2 && precision != Precision::tf32) return false;
  if (description.output != Layout::ncdhw || description.input != Layout::ncdhw) return false;
  if (p.groups != 1 || p.dilation != Extent3{1, 1, 1}) return false;
  const Extent3 output = p.output();
  for (int a : {0, 1, 2}) {
    if (p.kernel[a] != kGatherKernel || p.stride[a] != kGatherStride) return false;
    if (p.padding[a] > kGatherMaxPadding) return false;
    if (std::max(p.input[a], output[a]) > kMaxExtent) return false;
  }
  return p.batch <= kMaxExtent && p.out_channels >= kGatherMinSources &&
         p.in_channels >= kGatherMinChannels;
}

// Of an aligned line in a stage: an odd number of 32 bytes.
int64_t box_line_bytes(const Problem& p, int64_t bytes) {
  return (ceil_div(p.output()[2] * bytes, kGatherLead) | 1) * kGatherLead;
}

// As many stages as there is room for; false if there are too few.
bool choose_slots(const Description& description, GatherConfig* config) {
  const Problem& p = description.problem;
  const auto bytes = static_cast<int>(element_bytes(description.precision));
  const int64_t lines = kGatherStride * config->lines + 1;
  const int64_t run =
      kGatherLead + ceil_div(kGatherLead - 1 + lines * p.output()[2] * bytes, 16) * 16;
  const int64_t room = kSharedBytes - 2 * kGatherAlign - kGatherBarrierBytes -
                       gather_block_bytes(*config) -
                       kGatherConsumers * gather_mail_bytes(config->columns, config->ranks);
  if (run > room) return false;
  const int skew = gather_skew(bytes);
  config->pitch = static_cast<int>(ceil_div(run - skew, 128) * 128 + skew);
  int64_t pitch = config->pitch;
  if (config->aligned) {
    // Lines are odd in number, too: what a warp reads at once is in different banks.
    config->line_bytes = static_cast<int>(box_line_bytes(p, bytes));
    config->box_pitch = static_cast<int>(lines) * config->line_bytes;
    pitch = std::max<int64_t>(pitch, config->box_pitch);
  }
  const int64_t slots = room / (kGatherChunkBytes / bytes * pitch);
  config->slots = static_cast<int>(std::min<int64_t>(slots, kGatherMaxSlots));
  return slots >= kGatherMinSlots;
}

// Clocks of an SM for all tiles and blocks of channels of a plane of grad_input.
double gather_clocks(const Description& description, const GatherConfig& config) {
  const int64_t taps = kGatherKernel * kGatherKernel * kGatherSteps;
  const int64_t tiles = kGatherGroups * gather_tiles(config.columns);  // of 64 positions
  const double products = static_cast<double>(config.chunks * taps * config.columns) / 2;
  const double reads =
      static_cast<double>(config.chunks * taps * config.columns) / 4 +
      kGatherLineClocks * static_cast<double>(config.chunks * kGatherKernel * kGatherStride);
  const double computes = static_cast<double>(tiles) * std::max(products, reads);
  const int64_t lines = kGatherStride * config.lines + 1;
  const double loads = static_cast<double>(kGatherStride * config.chunks * kGatherChunkBytes *
                                           lines * description.problem.output()[2]) /
                       kGatherBytesPerClock;
  const double joins = config.ranks > 1 ? kGatherJoinClocks : 0;
  return static_cast<double>(config.tiles * config.blocks * config.ranks) *
         (std::max(computes, loads) + kGatherWaits * std::min(computes, loads) + joins);
}

GatherConfig search_gather(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  GatherConfig best;
  if (!is_for_gather(description, device)) return best;
  const int64_t bytes = element_bytes(description.precision);
  double least = 0;
  struct Kernel {
    int columns, ranks;
  };
  for (const Kernel kernel :
       {Kernel{32, 1}, Kernel{64, 1}, Kernel{kGatherSharedColumns, kGatherRanks}}) {
    if (kernel.columns == 64 && kernel.ranks == 1 && bytes != 2) continue;
    GatherConfig config;
    config.columns = kernel.columns;
    config.ranks = kernel.ranks;
    config.blocks = static_cast<int>(ceil_div(p.in_channels, kernel.columns));
    const int64_t chunks = ceil_div(p.out_channels * bytes, kGatherChunkBytes);
    config.chunks = static_cast<int>(ceil_div(chunks, kernel.ranks));
    config.aligned = p.output()[2] * bytes % 16 == 0 && p.padding[2] == 1 &&
                     box_line_bytes(p, bytes) / bytes <= kMaxBox;
    config.runs = static_cast<int>(ceil_div(p.input[2], kGatherRun));
    const int64_t chain = int64_t{config.chunks} * kGatherKernel * kGatherKernel * kGatherSteps;
    if (chain > sm90::max_chain(description.precision)) continue;
    if (config.blocks > kGatherMaxBlocks) continue;
    const int64_t all_runs = int64_t{kGatherConsumers} * gather_tiles(kernel.columns);
    for (config.lines = 1; int64_t{config.lines} * config.runs <= all_runs; ++config.lines) {
      if (config.lines > p.input[1]) break;
      // A cluster pays where most warps have something to multiply.
      if (kernel.ranks > 1 && config.lines < p.input[1] &&
          2 * config.lines * config.runs < kGatherConsumers) {
        continue;
      }
      config.tiles = static_cast<int>(ceil_div(p.input[1], config.lines));
      if (!choose_slots(description, &config)) break;
      const double clocks = gather_clocks(description, config);
      if (best.columns != 0 && clocks >= least) continue;
      best = config;
      least = clocks;
    }
  }
  const int64_t units = p.batch * best.tiles * p.input[0];
  if (units * best.blocks * best.ranks < kGatherUnits * device.num_sms || units > kMaxPositions)
    return {};
  return best;
}

}  // namespace

GatherConfig choose_gather(const Description& description, const Device& device) {
  return kept_answer(description, device, [&] { return search_gather(description, device); });
}

std::string to_string(const GatherConfig& config) {
  return "gathering lines of grad_output, " + std::to_string(config.lines) + " lines of " +
         std::to_string(config.runs) + " runs, " + std::to_string(config.columns) + " columns, " +
         std::to_string(config.slots) + " stages" +
         (config.ranks > 1 ? ", clusters of " + std::to_string(config.ranks) : "");
}

int64_t gather_block_bytes(const GatherConfig& config) {
  return int64_t{config.chunks} * kGatherKernel * kGatherKernel * kGatherSteps * config.columns *
         32;
}

int64_t gather_weight_bytes(const GatherConfig& config) {
  return int64_t{config.blocks} * config.ranks * gather_block_bytes(config);
}

}  // namespace convt3d::cuda::halo_gemm
