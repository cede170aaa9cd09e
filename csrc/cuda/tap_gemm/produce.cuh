// SPDX-License-Identifier: BSD-3-Clause
// The producers: tables of the halo, its copies by cp.async, the packed input by TMA. Planes whose
// lines are multiples of 16 bytes come by TMA too, in one load, and then have no table.
//
//   planes  [channel][n][d][h][place on w]        rows  [n][d][h][place on w][channel]
//
// A line of rows is ordered by residue modulo the step, so that a tap is a shift by whole rows and
// neighbouring positions are neighbouring rows. Every copy that is outside writes zeros.
#pragma once
#include "cuda/common/shared_memory.cuh"
#include "cuda/sm90/overlapping_launch.cuh"
#include "cuda/sm90/ring.cuh"
#include "cuda/sm90/tma.cuh"
#include "cuda/tap_gemm/rows.cuh"
#include "cuda/tap_gemm/tuning.h"

namespace convt3d::cuda::tap_gemm {

// Of a slot's coordinates: those of the first image.
inline constexpr uint32_t kNoImage = (1u << (kBitsD + kBitsH + kBitsW)) - 1;

// What a block does.
struct Job {
  int group, column_tile, tap_group, first_row, rows;
  int tap[3];             // first of the block
  int channel, channels;  // out_channels that are loaded
  int lead;               // positions loaded before a line's first, so that copies are aligned
  int split, first_tile, end_tile;

  __device__ Job(const Params& p, int block) {
    split = block / p.jobs;
    int rest = block - split * p.jobs;
    const int row_tile = rest % p.row_tiles;
    rest /= p.row_tiles;
    const int tap_groups = p.tap_groups[0] * p.tap_groups[1] * p.tap_groups[2];
    tap_group = rest % tap_groups;
    rest /= tap_groups;
    column_tile = rest % p.column_tiles;
    group = rest / p.column_tiles;
    int taps = tap_group;
#pragma unroll
    for (int axis = 2; axis >= 0; --axis) {
      tap[axis] = taps % p.tap_groups[axis] * p.taps[axis];
      taps /= p.tap_groups[axis];
    }
    first_row = row_tile * p.block_rows;
    rows = min(p.block_rows, p.group_rows - first_row);
    const int width_rows = p.taps[0] * p.taps[1] * p.taps[2] * p.width;
    channel = first_row / width_rows * p.width;
    const int end = ((first_row + rows - 1) / width_rows + 1) * p.width;
    channels = min(end, p.out_channels) - channel;
    // All tiles of a job begin at the same place of a piece.
    const int first = p.dilation[2] * tap[2] - p.padding[2];
    lead = p.planes && p.piece > 1 ? (first % p.piece + p.piece) % p.piece : 0;
    first_tile = static_cast<int>(int64_t{p.all_tiles} * split / p.splits);
    end_tile = static_cast<int>(int64_t{p.all_tiles} * (split + 1) / p.splits);
  }
};

// Place of a halo coordinate in its line.
__device__ __forceinline__ int place_in_line(const Params& p, int w) {
  return p.planes ? w : w % p.step[2] * (p.line / p.step[2]) + w / p.step[2];
}

// Bytes of a place from the halo's first.
__device__ __forceinline__ int place_bytes(const Params& p, int n, int d, int h, int place) {
  return (((n * p.halo[0] + d) * p.halo[1] + h) * p.line + place) * p.position_pitch;
}

// All threads. For each step of eight positions and each quad of lanes, the bytes of position
// `quad` and of that 4 on.
__device__ __forceinline__ void fill_positions(const Params& p, const Job& job, int* positions) {
  const int count = p.box[0] * p.box[1] * p.box[2] * p.box[3];
  for (int q = threadIdx.x; q < p.positions; q += blockDim.x) {
    int rest = q;
    const int w = rest % p.box[3];
    rest /= p.box[3];
    const int h = rest % p.box[2];
    rest /= p.box[2];
    const int d = rest % p.box[1], n = rest / p.box[1];
    positions[q / 8 * 8 + q % 4 * 2 + q / 4 % 2] =
        q < count ? place_bytes(p, n, p.step[0] * d, p.step[1] * h,
                                place_in_line(p, p.step[2] * w) + job.lead)
                  : 0;
  }
}

// Whether all tiles differ in images only.
__device__ __forceinline__ bool has_one_box(const Params& p) {
  return p.tiles[1] == 1 && p.tiles[2] == 1 && p.tiles[3] == 1;
}

// The first halo position of a tile, and the images from there on.
struct Origin {
  int at[3];
  int images;
  int64_t offset;

  __device__ __forceinline__ Origin(const Params& p, const Job& job, int tile) {
    offset = (int64_t{job.group} * p.out_channels + job.channel) * p.output_stride[1];
#pragma unroll
    for (int axis = 2; axis >= 0; --axis) {
      const int first = tile % p.tiles[1 + axis] * p.box[1 + axis];
      tile /= p.tiles[1 + axis];
      at[axis] = p.stride[axis] * first + p.dilation[axis] * job.tap[axis] - p.padding[axis] -
                 (axis == 2 ? job.lead : 0);
      offset += at[axis] * p.output_stride[2 + axis];
    }
    const int image = tile * p.box[0];
    images = p.batch - image;
    offset += image * p.output_stride[0];
  }
  // Whether slots that are marked as outside are all that is.
  __device__ __forceinline__ bool is_inside(const Params& p) const {
    bool inside = images >= p.box[0];
    if (has_one_box(p)) return inside;
#pragma unroll
    for (int axis = 0; axis < 3; ++axis) {
      inside = inside && at[axis] >= 0 &&
               at[axis] + p.common[axis] * (p.halo[axis] - 1) < p.output_extent[axis];
    }
    return inside;
  }
  __device__ __forceinline__ bool has(const Params& p, uint32_t local) const {
    const int w = local & ((1 << kBitsW) - 1), h = local >> kBitsW & ((1 << kBitsH) - 1);
    const int d = local >> (kBitsW + kBitsH) & ((1 << kBitsD) - 1);
    const int n = local >> (kBitsW + kBitsH + kBitsD);
    return n < images &&
           static_cast<unsigned>(at[0] + p.common[0] * d) <
               static_cast<unsigned>(p.output_extent[0]) &&
           static_cast<unsigned>(at[1] + p.common[1] * h) <
               static_cast<unsigned>(p.output_extent[1]) &&
           static_cast<unsigned>(at[2] + p.common[2] * w) <
               static_cast<unsigned>(p.output_extent[2]);
  }
};

// All threads.
__device__ __forceinline__ void fill_slots(const Params& p, const Job& job, Slot* slots) {
  const bool one_box = has_one_box(p);
  const Origin origin(p, job, 0);
  const int pieces = p.planes ? (p.halo[2] + p.piece - 1) / p.piece : p.halo[2];
  const int length = p.planes ? p.piece : 1;
  for (int q = threadIdx.x; q < p.slots; q += blockDim.x) {
    int rest = q;
    const int w = rest % pieces * length;
    rest /= pieces;
    const int h = rest % p.halo[1];
    rest /= p.halo[1];
    const int d = rest % p.halo[0], n = rest / p.halo[0];
    slots[q].offset = n * p.output_stride[0] + d * p.common[0] * p.output_stride[2] +
                      h * p.common[1] * p.output_stride[3] + w * p.common[2] * p.output_stride[4];
    slots[q].at = static_cast<uint32_t>(((n << kBitsD | d) << kBitsH | h) << kBitsW | w);
    slots[q].target = place_bytes(p, n, d, h, place_in_line(p, w));
    // With one box for all, what is outside is so always.
    if (one_box && !origin.has(p, slots[q].at & kNoImage)) slots[q].offset = -1;
  }
}

// How a thread goes through slots, and through a slot's items: channels of planes, pieces of rows.
struct Walk {
  int slot, slot_step;           // first, and from one to the next
  int count, item_bytes;         // items of each slot, and of the last of them
  uint32_t target, target_step;  // bytes of the first item, and from one to the next
  int64_t source, source_step;   // elements

  __device__ __forceinline__ Walk(const Params& p, const Job& job, int thread) {
    int item, item_step, items;
    if (p.planes) {  // neighbouring threads take neighbouring slots
      slot_step = min(p.slots, kProducerThreads);
      item_step = kProducerThreads / slot_step;
      slot = thread % slot_step;
      item = thread / slot_step;
      items = item < item_step ? job.channels : 0;
      target_step = p.channel_pitch;
      source_step = p.output_stride[1];
    } else {  // and here neighbouring pieces
      items = (job.channels + p.piece - 1) / p.piece;
      item_step = min(items, kProducerThreads);
      slot_step = kProducerThreads / item_step;
      slot = thread / item_step;
      item = thread % item_step;
      if (slot >= slot_step) items = 0;
      target_step = 4 * p.piece;
      source_step = p.piece * p.output_stride[1];
    }
    count = item < items ? (items - item - 1) / item_step + 1 : 0;
    if (count == 0) slot = p.slots;
    const bool has_last = !p.planes && item + (count - 1) * item_step == items - 1;
    item_bytes = 4 * (has_last ? job.channels - (items - 1) * p.piece : p.piece);
    target = item * target_step;
    source = item * source_step;
    target_step *= item_step;
    source_step *= item_step;
  }
};

// kInside: all of the tile's halo lies in the tensor, but for slots that never do.
template <int kPiece, bool kInside>
__device__ __forceinline__ void load_halo(const Params& p, const Walk& walk, const Slot* slots,
                                          const Origin& origin, uint32_t halo) {
  constexpr int kBatch = 4;  // slots that a thread reads at once, so that latencies overlap
  const float* const first = p.output + origin.offset + walk.source;
  const int last = p.slots - 1;
#pragma unroll 1
  for (int q = walk.slot; q <= last; q += kBatch * walk.slot_step) {
    Slot slot[kBatch];
#pragma unroll
    for (int b = 0; b < kBatch; ++b) slot[b] = slots[min(q + b * walk.slot_step, last)];
#pragma unroll
    for (int b = 0; b < kBatch; ++b) {
      if (q + b * walk.slot_step > last) break;
      const bool inside = slot[b].offset >= 0 && (kInside || origin.has(p, slot[b].at));
      const float* from = inside ? first + slot[b].offset : p.output;
      const int64_t step = inside ? walk.source_step : 0;
      const int bytes = inside ? 4 * kPiece : 0;
      uint32_t to = halo + walk.target + slot[b].target;
#pragma unroll 4
      for (int left = walk.count - 1; left > 0; --left) {
        copy_async<4 * kPiece>(to, from, bytes);
        from += step;
        to += walk.target_step;
      }
      copy_async<4 * kPiece>(to, from, inside ? walk.item_bytes : 0);
    }
  }
}

template <int kPiece>
__device__ __forceinline__ void load_halo(const Params& p, const Walk& walk, const Slot* slots,
                                          const Origin& origin, uint32_t halo) {
  if (origin.is_inside(p)) {
    load_halo<kPiece, true>(p, walk, slots, origin, halo);
  } else {
    load_halo<kPiece, false>(p, walk, slots, origin, halo);
  }
}

// Input of a tile as it lies in memory: for each 32 positions, a line of each of `columns` channels
// from `channel` on.
__device__ __forceinline__ void load_lines(const Params& p, const CUtensorMap* map, int tile,
                                           int channel, uint32_t target, uint32_t barrier) {
  int first[3];
#pragma unroll
  for (int axis = 2; axis >= 0; --axis) {
    first[axis] = tile % p.tiles[1 + axis] * p.box[1 + axis];
    tile /= p.tiles[1 + axis];
  }
  const int image = tile * p.box[0];
  const int place = (first[0] * p.input_extent[1] + first[1]) * p.input_extent[2] + first[2];
  const int chunks = p.positions / kChunk;
  const uint32_t bytes = p.packed_bytes / chunks;
  for (int chunk = 0; chunk < chunks; ++chunk) {
    if (p.input == Input::flat) {
      sm90::load_box(target + chunk * bytes, map, barrier, place + chunk * kChunk, channel, image,
                     0, 0);
    } else {
      int rest = chunk;
      const int of_line = p.box[3] / kChunk, w = rest % of_line * kChunk;
      rest /= of_line;
      const int h = rest % p.box[2];
      rest /= p.box[2];
      const int d = rest % p.box[1], n = rest / p.box[1];
      sm90::load_box(target + chunk * bytes, map, barrier, first[2] + w, channel, first[1] + h,
                     first[0] + d, image + n);
    }
  }
}

// Input of a tile; the barrier expects it and `others` bytes.
template <bool kFull, int kColumns>
__device__ __forceinline__ void load_input(const Params& p, const CUtensorMap* map, const Job& job,
                                           int tile, int others, uint32_t target,
                                           uint32_t barrier) {
  sm90::barrier_arrive_expect(barrier, p.packed_bytes + others);
  if (!kFull && p.input != Input::packed) {  // TMA rounds, but does not split
    load_lines(p, map, tile, job.column_tile * kColumns, target, barrier);
    return;
  }
  const int lines = p.packed_bytes / kLineBytes;
  const int column_tile = job.group * p.column_tiles + job.column_tile;
  const int first = (column_tile * p.all_tiles + tile) * lines;
  for (int line = 0; line < lines; line += p.box_lines) {
    sm90::load_box(target + line * kLineBytes, map, barrier, 0, first + line, 0, 0, 0);
  }
}

// `full`, `empty`: barriers of stage 0. Empty: the consumer warps arrive. Full: one thread expects
// what TMA brings, and all producers arrive when their copies have landed.
template <bool kFull, int kColumns>
__device__ __forceinline__ void produce(const Params& p, const CUtensorMap* packed, const Job& job,
                                        const Slot* slots, uint32_t stages, uint32_t full,
                                        uint32_t empty) {
  const int thread = threadIdx.x - kConsumerThreads;
  const Walk walk(p, job, thread);
  if (thread == 0) sm90::wait_for_earlier_launch();  // the packed input is written
  sm90::Ring ring;
  for (int tile = job.first_tile; tile < job.end_tile; ++tile, ring.next(p.stages)) {
    sm90::barrier_wait(empty + 8 * ring.stage, ring.parity ^ 1);
    const uint32_t target = stages + ring.stage * p.stage_bytes, barrier = full + 8 * ring.stage;
    if (thread == 0) load_input<kFull, kColumns>(p, packed, job, tile, 0, target, barrier);
    const Origin origin(p, job, tile);
    const uint32_t halo = target + p.packed_bytes;
    if (p.piece == 4) {
      load_halo<4>(p, walk, slots, origin, halo);
    } else if (p.piece == 2) {
      load_halo<2>(p, walk, slots, origin, halo);
    } else {
      load_halo<1>(p, walk, slots, origin, halo);
    }
    sm90::barrier_arrive_after_copies(barrier);
  }
}

// The same by one thread, where the halo comes by TMA: all channels of the block in one load.
template <bool kFull, int kColumns>
__device__ __forceinline__ void produce_boxes(const Params& p, const CUtensorMap* packed,
                                              const CUtensorMap* planes, const Job& job,
                                              uint32_t stages, uint32_t full, uint32_t empty) {
  sm90::wait_for_earlier_launch();  // the packed input is written
  sm90::Ring ring;
  for (int tile = job.first_tile; tile < job.end_tile; ++tile, ring.next(p.stages)) {
    sm90::barrier_wait(empty + 8 * ring.stage, ring.parity ^ 1);
    const uint32_t target = stages + ring.stage * p.stage_bytes, barrier = full + 8 * ring.stage;
    load_input<kFull, kColumns>(p, packed, job, tile, p.halo_bytes, target, barrier);
    const Origin origin(p, job, tile);
    sm90::load_box(target + p.packed_bytes, planes, barrier, origin.at[2], origin.at[1],
                   origin.at[0], p.batch - origin.images, job.group * p.out_channels + job.channel);
  }
}

}  // namespace convt3d::cuda::tap_gemm
