// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/shuffle_gemm/shuffle_gemm.h"

#include <algorithm>
#include <array>

#include "cuda/shuffle_gemm/config.h"
#include "cuda/shuffle_gemm/patch_config.h"
#include "cuda/shuffle_gemm/point_config.h"
#include "cuda/shuffle_gemm/resident_config.h"
#include "cuda/shuffle_gemm/skip_config.h"
#include "cuda/shuffle_gemm/tile.h"
#include "cuda/shuffle_gemm/tuning.h"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::shuffle_gemm {
namespace {

bool implicit_gemm_is_faster(const Description& d, const Device& device) {
  const Problem& p = d.problem;
  return device.arch == 90 && d.direction == Direction::grad_input &&
         d.precision == Precision::fp32 && d.input == Layout::ndhwc && d.output == Layout::ndhwc &&
         p.kernel == Extent3{2, 2, 2} && p.in_channels % 64 == 0 && p.out_channels % 64 == 0 &&
         p.in_channels >= kWgmmaChannels && p.batch * volume(p.input) >= kWgmmaPositions &&
         !patches_fit(d, device);
}

bool halo_gemm_is_faster(const Description& d, const Device& device) {
  const Problem& p = d.problem;
  return device.arch == 90 && d.direction == Direction::forward && d.precision == Precision::tf32 &&
         d.input == Layout::ndhwc && d.output == Layout::ndhwc && p.kernel == Extent3{2, 2, 2} &&
         p.output_padding == Extent3{} && p.out_channels % 64 == 0 &&
         p.in_channels >= kHaloChannels && p.in_channels % 32 == 0 &&
         p.batch * volume(p.input) >= kHaloPositions && !patches_fit(d, device);
}

template <typename Tile>
int64_t shared_bytes(const Description& description, int64_t slots) {
  const auto total = [&]<int kElementBytes>() {
    return description.direction == Direction::forward
               ? SharedMemory<Tile, kElementBytes, Direction::forward>::total(slots)
               : SharedMemory<Tile, kElementBytes, Direction::grad_input>::total(slots);
  };
  return element_bytes(description.precision) == 2 ? total.template operator()<2>()
                                                   : total.template operator()<4>();
}

}  // namespace

Verdict supports(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  if (description.direction == Direction::grad_weight) {
    return Verdict::refuse("no kernel for grad_weight");
  }
  if (device.arch < 80) return Verdict::refuse("needs compute capability 8.0");
  if (description.precision == Precision::fp64) return Verdict::refuse("no kernel for float64");
  const int64_t pairs = p.out_channels * volume(p.kernel);
  if (points_fit(description)) return Verdict::accept();
  const bool forward = description.direction == Direction::forward;
  if (description.precision == Precision::fp32 &&
      (forward ? p.in_channels : pairs) < kMinSplitDepth) {
    return Verdict::refuse("float32: too few products in a sum to be as exact as whole ones");
  }
  if (p.groups != 1) return Verdict::refuse("groups must be 1");
  // A pointwise layer with a stride: one output of each block is read, the others not at all.
  const bool skips = device.arch == 90 && description.direction == Direction::grad_input &&
                     volume(p.kernel) == 1 &&
                     (description.output == Layout::ncdhw ||
                      (description.precision == Precision::fp32 && p.in_channels < kWgmmaChannels));
  for (int axis = 0; axis < 3; ++axis) {
    // One input position has no neighbour: its stride does not matter.
    const bool tiles = p.kernel[axis] == p.stride[axis] || p.input[axis] == 1 || skips ||
                       patches_fit(description, device);
    if (!tiles || p.padding[axis] != 0 || p.dilation[axis] != 1) {
      return Verdict::refuse("needs kernel_size = stride, padding 0 and dilation 1");
    }
  }
  if (p.in_channels >= kMaxIndex || p.batch * volume(p.input) >= kMaxIndex || pairs >= kMaxIndex ||
      volume(p.output()) >= kMaxIndex) {
    return Verdict::refuse("positions, channels or outputs beyond 2**30");
  }
  if (implicit_gemm_is_faster(description, device)) {
    return Verdict::refuse("many channels in channels_last_3d: implicit_gemm is faster");
  }
  if (halo_gemm_is_faster(description, device)) {
    return Verdict::refuse("many channels in channels_last_3d: halo_gemm is faster");
  }
  return Verdict::accept();
}

int64_t workspace_bytes(const Description& description, const Device& device) {
  if (points_fit(description) || skips_fit(description, device)) return 0;
  const int64_t patches = patches_fit(description, device) ? packed_weight_bytes(description) : 0;
  if (!resident_fits(description, device)) return patches;
  const Description forward = as_forward(description);
  return std::max(patches, packed_row_bytes(forward, choose_resident(forward, device)));
}

Config choose_with(TileKind kind, const Description& description, const Device& device) {
  const Problem& p = description.problem;
  const int64_t element = element_bytes(description.precision);
  const bool forward = description.direction == Direction::forward;
  const int64_t pairs = p.out_channels * volume(p.kernel);
  const SharedMemoryLimits limits = shared_memory_limits(device.arch);
  return with_tile(kind, [&](auto tile) {
    using Tile = decltype(tile);
    const int64_t tiles = ceil_div(p.batch * volume(p.input), Tile::kM);
    const int64_t slices = ceil_div(forward ? pairs : p.in_channels, Tile::kN);
    const int64_t chunks = ceil_div((forward ? p.in_channels : pairs) * element, Tile::kChunkBytes);
    const auto resident_blocks = [&](int64_t slots) {
      const int64_t shared = shared_bytes<Tile>(description, slots);
      if (shared > limits.per_block) return int64_t{0};
      return std::min<int64_t>(blocks_per_sm<Tile>(description.precision),
                               limits.per_sm / (shared + kReservedSharedMemory));
    };
    const int64_t streamed = resident_blocks(Tile::kStages);
    const bool fits = chunks < kMaxIndex / 2 && resident_blocks(chunks) == streamed;
    const int64_t room = std::max<int64_t>(1, streamed) * device.num_sms;
    const int64_t walkers = std::max<int64_t>(1, std::min(tiles, room / slices));
    const bool resident = fits && (chunks <= Tile::kStages || tiles > walkers);
    const int64_t shared =
        shared_bytes<Tile>(description, resident ? chunks : int64_t{Tile::kStages});
    return Config{kind, tiles, slices, chunks, walkers, resident, streamed, shared, 1};
  });
}

namespace {

// Sets what follows from the splits; whether all blocks are on the device at the same time.
bool share_tiles(const Description& description, const Device& device, Config* config) {
  const SharedMemoryLimits limits = shared_memory_limits(device.arch);
  return with_tile(config->tile, [&](auto tile) {
    using Tile = decltype(tile);
    using Shared = SharedMemory<Tile, 4, Direction::forward>;
    if (!Shared::kCanSplit) return false;
    config->resident = false;
    config->shared_bytes =
        shared_bytes<Tile>(description, Tile::kStages) + Shared::split_bytes(config->splits);
    if (config->shared_bytes > limits.per_block) return false;
    const int64_t per_sm =
        std::min<int64_t>(blocks_per_sm<Tile>(description.precision),
                          limits.per_sm / (config->shared_bytes + kReservedSharedMemory));
    return config->slices * config->tiles * config->splits <= per_sm * device.num_sms;
  });
}

// Clocks of blocks whose chunks come one after the other, and of adding up their parts.
double small_clocks(const Config& config, const Description& description, const Device& device) {
  const int64_t blocks = config.slices * config.tiles * config.splits;
  const SmallClocks clocks = small_clocks_of(config.tile, description.precision);
  const auto sharing = static_cast<double>(ceil_div(blocks, device.num_sms));
  const auto chunks = static_cast<double>(ceil_div(config.chunks, config.splits));
  return chunks * (clocks.chunk + clocks.shared_chunk * sharing) +
         (config.splits > 1 ? clocks.cluster + clocks.split * static_cast<double>(config.splits)
                            : 0);
}

// Where blocks have one tile each and wait for one chunk after the other: blocks of a cluster share
// a tile's K, and tiles may be larger.
Config with_splits(const Config& whole, const Description& description, const Device& device) {
  const int64_t blocks = whole.slices * whole.tiles;
  if (whole.tile != TileKind::t64x64 || blocks > whole.blocks_per_sm * device.num_sms) return whole;
  Config best = whole;
  for (const TileKind kind : {TileKind::t64x64, TileKind::t128x128_shared}) {
    if (!is_built(kind, description.precision, description.direction)) continue;
    Config config = choose_with(kind, description, device);
    if (config.walkers != config.tiles) continue;
    for (const int64_t splits : {2, 4, 8}) {
      config.splits = splits;
      if (!share_tiles(description, device, &config)) continue;
      if (small_clocks(config, description, device) < small_clocks(best, description, device)) {
        best = config;
      }
    }
  }
  return best;
}

}  // namespace

Config choose(const Description& description, const Device& device) {
  constexpr std::array kKinds{TileKind::t256x64, TileKind::t128x128, TileKind::t64x64,
                              TileKind::t128x32};
  Config best{};
  double least = 0;
  for (const TileKind kind : kKinds) {
    if (!is_built(kind, description.precision, description.direction)) continue;
    const Config config = choose_with(kind, description, device);
    if (config.blocks_per_sm == 0) continue;
    // grad_input reads its operand again for each slice.
    const bool reads_again = description.direction == Direction::grad_input && config.slices > 1;
    if (kind == TileKind::t128x32 && reads_again) continue;
    // Tiles that the busiest SM works on, one after the other or at the same time.
    const int64_t blocks = config.slices * config.walkers, sms = device.num_sms;
    const int64_t rounds = ceil_div(config.tiles, config.walkers);
    const int64_t waves = ceil_div(blocks, sms * config.blocks_per_sm);
    const int64_t sharing = std::min(config.blocks_per_sm, ceil_div(blocks, sms));
    const auto tiles = static_cast<double>(rounds * waves * sharing);
    const double area = with_tile(kind, [](auto tile) { return double{tile.kM} * tile.kN; });
    const double time = tiles * area / efficiency(kind);
    if (least == 0 || time < least) {
      least = time;
      best = config;
    }
  }
  return device.arch >= 90 ? with_splits(best, description, device) : best;
}

std::string to_string(const Config& config) {
  const std::string size = with_tile(config.tile, [](auto tile) {
    return std::to_string(tile.kM) + "x" + std::to_string(tile.kN);
  });
  return size + ", " + std::to_string(config.tiles) + " x " + std::to_string(config.slices) +
         " tiles, " + std::to_string(config.slices * config.walkers) + " blocks" +
         (config.resident ? ", weights resident" : "") +
         (config.splits > 1 ? ", K split " + std::to_string(config.splits) + " ways" : "");
}

std::string config(const Description& description, const Device& device) {
  if (points_fit(description)) return "pointwise on CUDA cores";
  if (skips_fit(description, device)) return skip_text(description);
  if (patches_fit(description, device)) return to_string(choose_patches(description, device));
  if (resident_fits(description, device)) {
    return to_string(choose_resident(as_forward(description), device));
  }
  return to_string(choose(description, device));
}

}  // namespace convt3d::cuda::shuffle_gemm
