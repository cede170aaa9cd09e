// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/few_channels/matrix_config.h"

#include <algorithm>

#include "cuda/common/chunk.h"
#include "cuda/common/kept_answer.h"
#include "cuda/common/sums.h"
#include "cuda/common/tf32_rate.h"
#include "cuda/few_channels/matrix_march_tuning.h"
#include "cuda/few_channels/tuning.h"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::few_channels {
namespace {

// For the choice of a box: clocks that all threads wait for four positions each of grad_output in
// NCDHW, which is turned into chunks in registers.
constexpr double kWaitClocks = 400;

// grad_input of 32 bits: products of a result. Sums of fewer are no better than the split numbers
// that they are of, and do not pay for turning grad_output into chunks.
constexpr int64_t kMinMatrixProducts = 128;
// grad_weight of float32: 3.3 times torch's error with 12 positions, 8 times with one (H200,
// 2026-11-22, no file).
constexpr int64_t kMinMatrixSum = 32;

// Groups of a block: 1 or 2.
int64_t block_groups(const Problem& p, const MatrixConfig& config) {
  return std::max<int64_t>(1, p.groups * config.in_tiles / config.weight_tiles);
}

int64_t halo_chunks(const MatrixConfig& config, int64_t stride_w) {
  return config.halo[0] * config.halo[1] * stride_w * config.columns;
}

// Bytes of a block with this box.
int64_t shared_bytes(const Description& description, const MatrixConfig& config) {
  int64_t halo = halo_chunks(config, description.problem.stride[2]) * kChunkBytes;
  const int64_t groups = block_groups(description.problem, config);
  if (description.direction == Direction::grad_input) {
    const int64_t weights = groups * config.out_chunks * 2 * config.pairs * config.blocks * kChunk;
    const int64_t tables = 2 * config.pairs + 2 * kMatrixPositions;
    return config.buffers * halo + weights * kChunkBytes + tables * int64_t{sizeof(int)};
  }
  const int64_t sums = groups * config.tap_slices * matrix_pairs(config.blocks) * config.blocks *
                       4 * 32 * int64_t{sizeof(float)};
  const int64_t place = kChunk * element_bytes(description.precision);  // bytes
  halo *= place / kChunkBytes;
  return std::max(groups * (halo + config.blocks * volume(config.tile) * place), sums);
}

void set_box(const Problem& p, const Extent3& tile, MatrixConfig* config) {
  config->tile = tile;
  for (int axis = 0; axis < 3; ++axis) {
    config->halo[axis] =
        p.stride[axis] * (config->tile[axis] - 1) + p.dilation[axis] * (p.kernel[axis] - 1) + 1;
    config->boxes[axis] = ceil_div(p.input[axis], config->tile[axis]);
  }
  config->columns = ceil_div(config->halo[2], p.stride[2]);
}

// The box of so many positions that covers the call in the least time, by the model of tuning.h.
void choose_box(const Description& description, int64_t positions, MatrixConfig* config) {
  const Problem& p = description.problem;
  const bool planes = description.output == Layout::ncdhw;
  double best = 0;
  MatrixConfig chosen = *config;
  for (int64_t d = 1; d <= positions; d *= 2) {
    for (int64_t h = 1; d * h <= positions; h *= 2) {
      set_box(p, {d, h, positions / (d * h)}, config);
      const double lines =
          static_cast<double>(config->halo[0]) * static_cast<double>(config->halo[1]);
      const int64_t quads =
          config->halo[0] * config->halo[1] * ceil_div(config->halo[2], int64_t{4});
      const int64_t waits = planes ? ceil_div(quads, int64_t{kMatrixThreads}) : 0;
      const double time =
          static_cast<double>(volume(config->boxes)) *
          (kStageClocks * lines * static_cast<double>(config->halo[2] + kRowChunks) +
           kPairClocks * static_cast<double>(config->pairs) +
           kWaitClocks * static_cast<double>(waits));
      const double bytes = lines * static_cast<double>(config->halo[2]) * 16;
      if (bytes > static_cast<double>(kMaxShared)) continue;
      config->shared = shared_bytes(description, *config);
      if (config->shared > kMaxShared || (best > 0 && time >= best)) continue;
      best = time;
      chosen = *config;
    }
  }
  if (best == 0) chosen.shared = kMaxShared + 1;
  *config = chosen;
}

bool march_pays(const Description& description, const MatrixConfig& config) {
  const Problem& p = description.problem;
  const bool long_outputs = description.output == Layout::ndhwc;
  const int64_t planes = config.tile[0];
  if (description.precision == Precision::fp32) {
    if (long_outputs) return planes >= kMinPlanes;
    return p.stride[0] == 1 || planes >= kMinPlanesNcdhw;
  }
  const int64_t products = p.out_channels_per_group() * p.kernel[1] * p.kernel[2];
  return long_outputs && (products >= kManyPlaneProducts ||
                          (products >= kMinPlaneProducts && planes >= kMinNarrowPlanes));
}

// matrix_march_kernel.cuh, no pairs where it cannot or does not pay: the box that covers the call
// in the least time, of so many positions of a plane and any number of planes.
MatrixConfig choose_march(const Description& description, const Device& device, bool two_groups,
                          const MatrixConfig& config) {
  const Problem& p = description.problem;
  MatrixConfig own = config, chosen{};
  if (device.arch != 90 || p.dilation[0] != 1 || description.precision == Precision::tf32) {
    return chosen;
  }
  // Planes that serve two taps, of which a block has all in channels.
  if (p.kernel[0] <= p.stride[0] || p.kernel[0] > 2 * p.stride[0]) return chosen;
  if (p.in_channels_per_group() > 2 * kChunk) return chosen;
  own.blocks = p.in_channels_per_group() <= kChunk ? 1 : 2;
  own.in_tiles = 1;
  const bool narrow = element_bytes(description.precision) == 2;
  const bool long_outputs = description.output == Layout::ndhwc;
  const int64_t groups = two_groups && narrow ? 2 : 1, positions = kMatrixPositions / groups;
  own.weight_tiles = p.groups / groups;
  own.march_pairs = round_up(ceil_div(own.out_chunks * p.kernel[1] * p.kernel[2], int64_t{2}),
                             int64_t{kMarchStep});
  const int64_t words = description.precision == Precision::fp32 ? 4 : 2;
  const int64_t tables =
      groups * p.kernel[0] * own.march_pairs * own.blocks * 32 * words * int64_t{sizeof(uint32_t)} +
      2 * own.march_pairs * int64_t{sizeof(int)} + kMatrixPositions * int64_t{sizeof(int64_t)};
  double best = 0;
  for (int64_t w = kChunk; w <= positions; w *= 2) {
    for (int64_t segments = 1; segments <= std::min(p.input[0], kMaxSegments); ++segments) {
      set_box(p, {ceil_div(p.input[0], segments), positions / w, w}, &own);
      // Eight neighbouring places, as one store brings them, on banks of their own.
      if (p.stride[2] == 2) own.columns = round_up(own.columns + 4, int64_t{8}) - 4;
      const int64_t places = own.halo[1] * p.stride[2] * own.columns * own.out_chunks * groups;
      if (static_cast<double>(own.halo[1]) * static_cast<double>(own.halo[2]) > kMaxShared)
        continue;
      own.shared = 2 * places * kChunkBytes + tables;
      if (own.shared > kMaxMarchShared) continue;
      const int64_t boxes = p.batch * volume(own.boxes);
      own.splits = std::clamp<int64_t>(ceil_div(device.num_sms * 2, own.weight_tiles), 1, boxes);
      // Of a thread: copies of 16 bytes or four.
      const int64_t across = long_outputs ? own.out_chunks * groups : 4;
      const int64_t threads = std::max<int64_t>(1, kMatrixThreads / across);
      const int64_t side = std::min(own.halo[2], threads);
      const int64_t steps = ceil_div(own.halo[2], side) * ceil_div(own.halo[1], threads / side) *
                            (long_outputs ? 1 : own.out_chunks);
      // Of a block: with the sectors that lines of NCDHW begin and end in.
      const int64_t line_bytes =
          own.halo[2] * element_bytes(description.precision) + (long_outputs ? 0 : kSectorBytes);
      const int64_t bytes = own.halo[1] * line_bytes * p.out_channels_per_group() * groups;
      const int64_t of_plane = steps * kCopyClocks +
                               own.march_pairs * own.blocks * kMarchPairClocks +
                               bytes / kMarchBytes;
      const double time = static_cast<double>(ceil_div(boxes, own.splits)) *
                          static_cast<double>(own.halo[0] + kBoxPlanes) *
                          static_cast<double>(of_plane);
      if (best > 0 && time >= best) continue;
      best = time;
      chosen = own;
    }
  }
  // Much fewer blocks than the GPU holds are quicker with a box at once.
  const int64_t blocks = chosen.splits * chosen.weight_tiles;
  if (4 * blocks < 3 * (2 * device.num_sms) || !march_pays(description, chosen)) return {};
  return chosen;
}

MatrixConfig search(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  const bool weight = description.direction == Direction::grad_weight;
  MatrixConfig config{};
  config.taps = volume(p.kernel);
  // grad_input takes two pairs at once.
  config.pairs = weight ? ceil_div(config.taps, 2) : ceil_div(config.taps, 4) * 2;
  config.blocks =
      p.in_channels_per_group() <= kChunk ? 1 : matrix_blocks(element_bytes(description.precision));
  config.in_tiles = ceil_div(p.in_channels_per_group(), config.blocks * kChunk);
  const int own_outs = weight ? kChunk : chunk_of(element_bytes(description.precision));
  config.out_chunks = ceil_div(p.out_channels_per_group(), own_outs);
  config.weight_tiles = p.groups * config.in_tiles * (weight ? config.out_chunks : 1);
  if (weight) {
    config.tap_slices = 1;
    while (config.tap_slices * matrix_pairs(config.blocks) < config.pairs) config.tap_slices *= 2;
  }
  const int64_t own_buffers = !weight && element_bytes(description.precision) == 4 ? 2 : 1;
  config.buffers = own_buffers;
  // NDHWC: the chunks of two groups are a sector of memory, and come together.
  const int64_t sector_outs = kChunkBytes / element_bytes(description.precision);
  bool two_groups = description.output == Layout::ndhwc && p.groups % 2 == 0 &&
                    config.in_tiles == 1 && config.blocks == 1 &&
                    p.out_channels_per_group() == sector_outs;
  if (weight) {
    two_groups = two_groups && sector_outs == kChunk && p.in_channels_per_group() == kChunk &&
                 config.tap_slices < kMatrixWarps;
  }
  if (!weight) {
    const MatrixConfig march = choose_march(description, device, two_groups, config);
    if (march.march_pairs > 0) return march;
  }
  if (two_groups) {
    if (!weight) config.buffers = 2;
    config.weight_tiles /= 2;
    choose_box(description, kMatrixPositions, &config);
    const int64_t items = p.batch * volume(config.boxes) * config.weight_tiles;
    if (config.shared > kMaxShared || items < 2 * device.num_sms) {
      config.weight_tiles *= 2;
      two_groups = false;
      config.buffers = own_buffers;
    }
  }
  if (!two_groups) choose_box(description, kMatrixPositions, &config);
  if (config.buffers == 2 && config.shared > kMaxShared) {
    config.buffers = 1;
    choose_box(description, kMatrixPositions, &config);
  }
  if (weight && config.shared > kMaxShared && element_bytes(description.precision) == 4) {
    choose_box(description, kMatrixPositions / 2, &config);
  }
  const int64_t boxes = p.batch * volume(config.boxes);
  // Blocks on an SM: registers.
  const bool full = description.precision == Precision::fp32;
  const int64_t resident = !weight && !full && config.blocks == 1 && config.buffers == 1 ? 3 : 2;
  const int64_t wanted = ceil_div(device.num_sms * resident, config.weight_tiles);
  config.splits = std::clamp<int64_t>(wanted, 1, std::max<int64_t>(1, boxes));
  return config;
}

}  // namespace

MatrixConfig choose_matrix(const Description& description, const Device& device) {
  return kept_answer(description, device, [&] { return search(description, device); });
}

bool matrix_fits(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  if (description.direction == Direction::forward || description.precision == Precision::fp64 ||
      std::max(p.in_channels_per_group(), p.out_channels_per_group()) < kMinMatrixChannels) {
    return false;
  }
  if (element_bytes(description.precision) == 4) {
    // float32 on the CUDA cores is faster where TF32 has a low rate.
    const bool full = description.precision == Precision::fp32;
    if (full && is_slow_in_tf32(device.arch)) return false;
    // Of more in channels, tap_gemm computes grad_weight.
    const bool few = p.in_channels_per_group() <= kChunk;
    if (description.direction == Direction::grad_weight &&
        (!full || !few || products_of_sum(description) < kMinMatrixSum)) {
      return false;
    }
    const int64_t products = volume(p.kernel) * p.out_channels_per_group();
    if (description.direction == Direction::grad_input && products < kMinMatrixProducts) {
      return false;
    }
  }
  // One out channel would be an eighth of a chunk: 0.26 ms against 0.24 for GRNet's last layer.
  if (description.direction == Direction::grad_input && p.out_channels_per_group() == 1) {
    return false;
  }
  const MatrixConfig config = choose_matrix(description, device);
  const int64_t weights = p.in_channels * p.out_channels_per_group() * config.taps;
  if (description.precision == Precision::tf32 &&
      config.out_chunks * config.pairs > sm90::max_chain(Precision::tf32)) {
    return false;
  }
  return config.tap_slices <= kMatrixWarps &&
         (config.march_pairs > 0 || config.shared <= kMaxShared) &&
         config.splits * weights * int64_t{sizeof(float)} <= kMaxPartBytes &&
         static_cast<double>(p.batch) * static_cast<double>(volume(config.boxes)) *
                 static_cast<double>(config.weight_tiles) <
             static_cast<double>(kMaxCount);
}

std::string to_string(const MatrixConfig& config) {
  std::string text = config.march_pairs > 0 ? "matrix march, boxes of " : "matrix, boxes of ";
  for (int axis = 0; axis < 3; ++axis) {
    text += (axis > 0 ? "x" : "") + std::to_string(config.tile[axis]);
  }
  return text + ", " + std::to_string(config.splits) + " splits";
}

}  // namespace convt3d::cuda::few_channels
