// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/group_gemm/group_gemm.h"

#include <algorithm>
#include <numeric>

#include "cuda/common/kept_answer.h"
#include "cuda/common/tf32_rate.h"
#include "cuda/group_gemm/config.h"
#include "cuda/group_gemm/tuning.h"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::group_gemm {

Parts split_channels(const Problem& problem, int64_t element_bytes) {
  const int64_t ins = problem.in_channels_per_group(), outs = problem.out_channels_per_group();
  Parts parts{};
  parts.of_group = ceil_div(outs, kColumns);
  parts.groups = 1;
  if (parts.of_group == 1) {
    // Groups side by side fill the eight columns, as far as their in channels fit.
    const int64_t fit = std::max<int64_t>(1, kMaxIns / ins);
    parts.groups = std::min({kColumns / outs, fit, problem.groups});
  }
  parts.ins = parts.groups * ins;
  parts.outs = std::min<int64_t>(parts.groups * outs, kColumns);
  parts.count = ceil_div(problem.groups, parts.groups) * parts.of_group;
  parts.in_chunks = ceil_div(parts.ins, chunk_of(element_bytes));
  return parts;
}

namespace {

// Slices of a stride of 2 on w: those with a tap of both residues first. Returns how many.
int sort_width(Taps* taps, int slices) {
  Taps sorted = *taps;
  int count = 0, all = 0;
  for (const bool both : {true, false}) {
    for (int slice = 0; slice < slices; ++slice) {
      if ((taps->width_tap[slice][1] >= 0) != both) continue;
      sorted.width_shift[count] = taps->width_shift[slice];
      std::copy_n(taps->width_tap[slice], 2, sorted.width_tap[count]);
      ++count;
    }
    if (both) all = count;
  }
  *taps = sorted;
  return all;
}

}  // namespace

Taps list_taps(const Problem& problem, int64_t in_chunks) {
  Taps taps{};
  for (int axis = 0; axis < 2; ++axis) {
    const int64_t stride = problem.stride[axis], dilation = problem.dilation[axis];
    taps.step[axis] = static_cast<int>(stride / std::gcd(stride, dilation));
    for (int64_t tap = problem.kernel[axis] - 1; tap >= 0; --tap) {
      const int64_t residue = dilation * tap % stride;
      taps.first[axis][residue] = static_cast<int>(tap);
      ++taps.count[axis][residue];
    }
  }
  const int64_t stride = problem.stride[2], dilation = problem.dilation[2];
  const int64_t width = stride == 2 ? 2 : 1;
  int slices = 0;
  for (int64_t block = 0; block < stride / width; ++block) {
    taps.width_first[block] = slices;
    for (int64_t tap = 0; tap < problem.kernel[2]; ++tap) {
      const int64_t residue = dilation * tap % stride;
      if (residue / width != block) continue;
      const int shift = static_cast<int>(dilation * tap / stride);
      const bool same = slices > taps.width_first[block] && taps.width_shift[slices - 1] == shift;
      if (!same) {
        taps.width_shift[slices] = shift;
        taps.width_tap[slices][0] = taps.width_tap[slices][1] = -1;
        ++slices;
      }
      taps.width_tap[slices - 1][residue % width] = static_cast<int>(tap);
    }
  }
  taps.width_first[stride / width] = slices;
  int all = slices;  // of a stride of 2, which has one block of residues
  if (width == 2) all = sort_width(&taps, slices);
  int list = 0;
  for (int64_t d = 0; d < problem.stride[0]; ++d) {
    for (int64_t h = 0; h < problem.stride[1]; ++h) {
      for (int64_t block = 0; block < stride / width; ++block, ++list) {
        const int64_t of_width = int64_t{taps.count[0][d]} * taps.count[1][h] * in_chunks;
        const int width_slices = taps.width_first[block + 1] - taps.width_first[block];
        const auto pairs = [&](int64_t of_block) {
          return static_cast<int>(ceil_div(of_width * of_block, int64_t{2}));
        };
        taps.list_first[list + 1] = taps.list_first[list] + pairs(width_slices);
        taps.list_all[list] = pairs(std::min(all, width_slices));
      }
    }
  }
  return taps;
}

namespace {

// The tile of `depth` x `height` lines of cells: everything that follows from it.
void set_tile(const Description& description, int64_t depth, int64_t height, Config* config) {
  const Problem& p = description.problem;
  const bool planes = description.output == Layout::ncdhw;
  const int64_t element = element_bytes(description.precision);
  config->tile = {depth, height, config->cells[2]};
  for (int axis = 0; axis < 3; ++axis) {
    config->halo[axis] = config->tile[axis] + config->reach[axis];
    config->boxes[axis] = ceil_div(config->cells[axis], config->tile[axis]);
  }
  // Two chunks beyond a multiple of eight: neighbouring chunks of channels in other banks.
  config->plane = ceil_div(volume(config->halo), int64_t{8}) * 8 + 2;
  const int64_t positions = height * p.stride[1] * p.output()[2];
  if (planes) {
    // Room for the elements between 16 bytes' alignment and the first, and eight elements (two
    // columns of which lie in other banks) beyond a multiple of 64 bytes: see store.cuh.
    const int64_t line = 64 / element, skew = chunk_of(element) - 1;
    config->pitch = ceil_div(positions + skew, line) * line + 8;
    config->stage_bytes = kColumns * config->pitch * element;
  } else {
    config->pitch = positions;
    // One chunk more for what is outside.
    const int64_t chunks = positions * config->block_parts * kColumns / chunk_of(element);
    config->stage_bytes = (ceil_div(chunks, int64_t{8}) * 8 + 1) * kChunkBytes;
  }
  const int64_t rows = ceil_div(height * config->cells[2], int64_t{kUnitRows}) * kUnitRows;
  config->shared = config->block_parts * config->parts.in_chunks * config->plane * 16 +
                   config->stage_bytes +
                   config->block_parts * config->pairs * 32 * 8 * config->width + rows * 8 +
                   config->pairs * 8 + config->block_parts * kColumns * 4;
}

// Clocks of the busiest SM, by the model of tuning.h.
double time_of(const Description& description, const Device& device, Config* config) {
  const Problem& p = description.problem;
  const int64_t fit = kSmShared / (config->shared + kBlockShared);
  const int64_t most = group_gemm::resident(device.arch, description.precision);
  const int64_t resident = std::clamp<int64_t>(fit, 1, most);
  const int64_t boxes = std::max<int64_t>(1, p.batch * volume(config->boxes));
  config->splits = std::clamp<int64_t>(device.num_sms * resident / config->part_tiles, 1, boxes);
  const auto parts = static_cast<double>(config->block_parts);
  const auto planes = static_cast<double>(config->tile[0] * p.stride[0]);
  const int64_t row_units = ceil_div(config->tile[1] * config->tile[2], int64_t{kUnitRows});
  const int64_t row_step = std::min<int64_t>(row_units, kWarps);
  const int64_t units = p.stride[1] * config->width_blocks * config->block_parts;
  const auto rounds = static_cast<double>(ceil_div(row_units, row_step) *
                                          ceil_div(units, kWarps / row_step) * kWarps);
  const double pairs = static_cast<double>(config->pairs) /
                       static_cast<double>(p.stride[0] * p.stride[1] * config->width_blocks);
  const double stored = static_cast<double>(config->stage_bytes) / 16;
  const double stage =
      kStageClocks * static_cast<double>(volume(config->halo) * config->parts.in_chunks) * parts;
  const double unit = kUnitClocks + pair_clocks(description.precision) * pairs;
  const double box = stage + planes * (rounds * unit + kStoreClocks * stored + kPlaneClocks);
  // One block alone waits for each of its steps; more hide each other's.
  const double exposed = resident == 1 ? 2.0 : resident == 2 ? 1.2 : 1.0;
  const int64_t tiles = ceil_div(config->part_tiles * config->splits, device.num_sms * resident);
  return box * static_cast<double>(ceil_div(boxes, config->splits) * tiles * resident) * exposed;
}

int64_t parts_of_block(const Description& description, const Parts& parts) {
  // NDHWC: 32 or 48 bytes side by side are whole sectors of memory.
  if (description.output == Layout::ncdhw || element_bytes(description.precision) == 4) return 1;
  return parts.count % 2 != 0 && parts.count % 3 == 0 ? 3 : std::min<int64_t>(2, parts.count);
}

Config search(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  Config config{};
  config.parts = split_channels(p, element_bytes(description.precision));
  config.width = p.stride[2] == 2 ? 2 : 1;
  config.width_blocks = p.stride[2] / config.width;
  const Taps taps = list_taps(p, config.parts.in_chunks);
  config.pairs = taps.list_first[p.stride[0] * p.stride[1] * config.width_blocks];
  const Extent3 output = p.output();
  for (int axis = 0; axis < 3; ++axis) {
    config.first_cell[axis] = p.padding[axis] / p.stride[axis];
    config.cells[axis] =
        (output[axis] - 1 + p.padding[axis]) / p.stride[axis] - config.first_cell[axis] + 1;
    config.reach[axis] = p.dilation[axis] * (p.kernel[axis] - 1) / p.stride[axis];
  }
  config.block_parts = parts_of_block(description, config.parts);
  config.part_tiles = ceil_div(config.parts.count, config.block_parts);
  Config best{};
  double least = 0;
  for (int64_t depth = 1; depth <= std::min(config.cells[0], kMaxTileDepth); ++depth) {
    for (int64_t height = 1; height <= config.cells[1]; ++height) {
      set_tile(description, depth, height, &config);
      if (config.shared > kMaxShared) break;
      const double time = time_of(description, device, &config);
      if (least > 0 && time >= least) continue;
      least = time;
      best = config;
    }
  }
  return best;
}

Verdict supports_problem(const Description& description) {
  const Problem& p = description.problem;
  if (description.direction != Direction::forward) return Verdict::refuse("forward only");
  if (description.precision == Precision::fp64) return Verdict::refuse("not in float64");
  if (p.out_channels_per_group() > kColumns) {
    return Verdict::refuse("more than 8 out channels per group");
  }
  if (p.in_channels_per_group() > kMaxIns) {
    return Verdict::refuse("more than 32 in channels per group");
  }
  if (p.kernel[2] > kMaxTapsW) return Verdict::refuse("more than 16 taps on w");
  for (int axis = 0; axis < 3; ++axis) {
    if (p.stride[axis] > kMaxStride) return Verdict::refuse("strides must be at most 8");
    if (p.output()[axis] + p.padding[axis] + p.stride[axis] > kMaxExtent ||
        p.input[axis] > kMaxExtent || p.dilation[axis] * p.kernel[axis] > kMaxExtent) {
      return Verdict::refuse("an axis is longer than 2**15");
    }
  }
  if (description.output != Layout::ncdhw && p.out_channels % kColumns != 0 &&
      p.out_channels > kColumns) {
    return Verdict::refuse("NDHWC stores chunks of 8 out channels");
  }
  // Measured: of 64 depthwise channels of 2 x 64^3, k3 s2, few_channels needs 0.59 ms, this family
  // 0.73; 0.061 and 0.063 with two a group. Three products of split numbers are also no match for
  // one rounding. 16 -> 8 channels of 2 x 48^3, k3, in TF32: implicit_gemm 0.06 ms, this family
  // 0.08; at a stride of 2 both residues share what is loaded and split, and it is 0.51 against
  // 0.77.
  if (element_bytes(description.precision) == 4) {
    if (p.in_channels_per_group() < kMinFloatIns) {
      return Verdict::refuse("32 bits, fewer than 4 in channels per group");
    }
    // 0.45 ms against 0.12 for 32 -> 2 channels of 4 x 48^3, k3 s2.
    if (2 * split_channels(p, element_bytes(description.precision)).outs <= kColumns) {
      return Verdict::refuse("32 bits, at most 4 out channels side by side");
    }
    const int64_t fewest = p.groups == 1 ? kMinProductsOfOneGroup : kMinProducts;
    if (description.precision == Precision::fp32 &&
        p.in_channels_per_group() * volume(p.kernel) < fewest * volume(p.stride)) {
      return Verdict::refuse("float32 sums of so few products that those of split numbers show");
    }
    if (p.stride[2] != 2) return Verdict::refuse("32 bits, and a stride on w that is not 2");
  }
  // Measured, NDHWC: few_channels needs 0.110 ms for 64 depthwise channels of 32^3, k3 s2, this
  // family 0.128; with two channels a group on both sides 0.060 against 0.045.
  if (description.output != Layout::ncdhw && p.groups > 1 && p.out_channels_per_group() == 1 &&
      p.in_channels_per_group() <= 2 && p.kernel[2] <= 4 && p.stride[2] <= 2) {
    return Verdict::refuse("depthwise NDHWC: few_channels is faster");
  }
  if (volume(p.stride) > kMaxLists) return Verdict::refuse("more than 64 residues");
  if (volume(p.stride) > kManyResidues && p.batch * volume(p.input) <= kFewPositions) {
    return Verdict::refuse("many residues of few positions: others are faster");
  }
  // Instructions that one sum runs through, which truncate: docs/numerics.md. In float32 each pair
  // of slices starts a new one.
  const Parts parts = split_channels(p, element_bytes(description.precision));
  if (description.precision != Precision::fp32 &&
      volume(p.kernel) * parts.in_chunks > 2 * sm90::max_chain(description.precision)) {
    return Verdict::refuse("sums of too many taps");
  }
  if (static_cast<double>(p.batch) * static_cast<double>(p.output()[0]) *
          static_cast<double>(p.output()[1]) * static_cast<double>(parts.count) >
      static_cast<double>(kMaxCount)) {
    return Verdict::refuse("too many lines for 32-bit counts");
  }
  return Verdict::accept();
}

}  // namespace

Config choose(const Description& description, const Device& device) {
  return kept_answer(description, device, [&] { return search(description, device); });
}

Verdict supports(const Description& description, const Device& device) {
  if (description.precision == Precision::fp32 && is_slow_in_tf32(device.arch)) {
    return Verdict::refuse("three TF32 products take longer than one of float32 on this GPU");
  }
  const Verdict verdict = supports_problem(description);
  if (!verdict.ok) return verdict;
  if (choose(description, device).shared == 0) {
    return Verdict::refuse("a line of the input with its taps must fit 96 KB of shared memory");
  }
  return Verdict::accept();
}

int64_t workspace_bytes(const Description&, const Device&) { return 0; }

std::string config(const Description& description, const Device& device) {
  const Config config = choose(description, device);
  return std::to_string(config.tile[0]) + "x" + std::to_string(config.tile[1]) +
         " lines of cells, " + std::to_string(config.parts.groups) + " groups together, " +
         std::to_string(config.block_parts) + " parts a block, " + std::to_string(config.splits) +
         " splits";
}

}  // namespace convt3d::cuda::group_gemm
