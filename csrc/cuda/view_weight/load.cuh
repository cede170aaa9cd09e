// SPDX-License-Identifier: BSD-3-Clause
// What feeds the stages: one warp has TMA load views and input, three turn rows of input into
// lines.
#pragma once
#include <cuda.h>

#include "cuda/common/shared_memory.cuh"
#include "cuda/sm90/mbarrier.cuh"
#include "cuda/sm90/overlapping_launch.cuh"
#include "cuda/sm90/ring.cuh"
#include "cuda/sm90/tma.cuh"
#include "cuda/view_weight/params.h"

namespace convt3d::cuda::view_weight {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// Addresses in shared memory.
struct Shared {
  uint32_t stages, raw, full, empty, raw_full, raw_empty, table;

  __device__ Shared(const Params& p, const unsigned char* memory) {
    const uint32_t start = shared_address(memory);
    stages = (start + kSwizzleAlign - 1) / kSwizzleAlign * kSwizzleAlign;
    raw = stages + p.stages * p.stage_bytes;
    full = raw + (p.turns_input ? kRawBoxes * p.raw_parts * p.raw_part_bytes : 0);
    empty = full + 8 * kMaxStages;
    raw_full = empty + 8 * kMaxStages;
    raw_empty = raw_full + 8 * kRawBoxes;
    table = raw_empty + 8 * kRawBoxes;
  }
};

// Calls body(lane of the job, slot, part, entry of the part's table) for the lanes of the units
// from `first` on, in order; of runs, for those of their first units. Lanes that share a view have
// one slot.
template <typename Body>
__device__ __forceinline__ void for_each_lane(const Params& p, int first, const Body& body) {
  int slot = -1, last_part = -1, last_view = -1, index = 0;
  int part = first / p.work.part_units, of_part = first - part * p.work.part_units;
  for (int u = 0; u < p.work.job_units && first + u < p.work.units; u += p.run) {
    for (int i = 0; i < p.lanes; ++i) {
      const int entry = of_part * p.lanes + i, view = p.lane[entry].view;
      if (view == halo_weight::kNoView) break;
      if (view != last_view || part != last_part) {
        last_view = view;
        last_part = part;
        ++slot;
      }
      body(index + i, slot, part, entry);
    }
    index += p.lanes;
    of_part += p.run;
    if (of_part == p.work.part_units) {
      of_part = 0;
      ++part;
    }
  }
}

// Where a box starts, in positions of input.
struct Start {
  int at[3], image;

  __device__ Start(const Params& p, int box) {
#pragma unroll
    for (int a = 2; a >= 0; --a) {
      const int next = box / p.tiles[1 + a];
      at[a] = (box - next * p.tiles[1 + a]) * p.box[1 + a];
      box = next;
    }
    image = box * p.box[0];
  }
};

// One warp: a lane has one view, or some lines or one part of the input of each stage.
template <int kColumns>
__device__ __forceinline__ void load(const Params& p, const Shared& shared,
                                     const CUtensorMap* input_map, const CUtensorMap* output_map) {
  const int lane = threadIdx.x % 32;
  sm90::Ring ring, raw;
  sm90::wait_for_earlier_launch();  // the packed input is there
  int box = p.work.first(blockIdx.x);
  const int end = p.work.first(blockIdx.x + 1);
  while (box < end) {
    const int job = box / p.work.boxes, job_end = min(end, (job + 1) * p.work.boxes);
    int channel = 0, start[3] = {0, 0, 0}, views = 0;
    for_each_lane(p, job / p.work.in_tiles * p.work.job_units,
                  [&](int, int slot, int part, int entry) {
                    views = slot + 1;
                    if (slot != lane) return;
                    channel = part * p.out_width;
                    for (int a = 0; a < 3; ++a) start[a] = p.view_start[p.lane[entry].view][a];
                  });
    const bool is_view = lane < views;
    const int part = lane - views, in_tile = job % p.work.in_tiles;
    const uint32_t bytes = (p.turns_input ? 0 : p.input_bytes) + views * p.view_loaded;
    for (; box < job_end; ++box) {
      const int of_job = box - job * p.work.boxes;
      const Start from(p, of_job);
      if (p.turns_input) {
        sm90::barrier_wait(shared.raw_empty + 8 * raw.stage, raw.parity ^ 1);
        const uint32_t full = shared.raw_full + 8 * raw.stage;
        if (lane == 0) sm90::barrier_arrive_expect(full, p.raw_parts * p.raw_part_loaded);
        __syncwarp();  // lane 0 has said how much, before any of it arrives
        if (!is_view && part < p.raw_parts) {
          sm90::load_box(shared.raw + (raw.stage * p.raw_parts + part) * p.raw_part_bytes,
                         input_map, full, in_tile * kColumns + part * kRawWidth, from.at[2],
                         from.at[1], from.at[0], from.image);
        }
        raw.next(kRawBoxes);
      }
      sm90::barrier_wait(shared.empty + 8 * ring.stage, ring.parity ^ 1);
      const uint32_t full = shared.full + 8 * ring.stage;
      const uint32_t stage = shared.stages + ring.stage * p.stage_bytes;
      if (lane == 0) sm90::barrier_arrive_expect(full, bytes);
      __syncwarp();  // as above
      if (is_view) {
        sm90::load_box(stage + p.input_bytes + lane * p.view_bytes, output_map, full, channel,
                       from.at[2] * p.stride[2] + start[2], from.at[1] * p.stride[1] + start[1],
                       from.at[0] * p.stride[0] + start[0], from.image);
      } else if (!p.turns_input && part < p.input_loads) {
        const int line = ((in_tile * p.work.boxes + of_job) * p.input_loads + part) * p.lines;
        sm90::load_box(stage + part * p.lines * sm90::kLineBytes, input_map, full, 0, line, 0, 0,
                       0);
      }
      ring.next(p.stages);
    }
  }
}

// The turning warps: of rows of input, lines. A lane has a channel, and brings four positions of it
// at a time to their line: rows and pieces of lines are 128 bytes of different banks.
//
// An item is eight places of a line, of 32 channels: in rows_128 and rows_64 eight rows that follow
// each other, in runs two of each thread's eight.
template <int kColumns>
__device__ __forceinline__ void turn(const Params& p, const Shared& shared, int warp) {
  constexpr int kParts = raw_parts(kColumns), kOfLine = sm90::kChunk / 8, kBatch = 2;
  constexpr int kRowBytes = kRawWidth * kElementBytes;
  const int lane = threadIdx.x % 32;
  const int items = p.positions / 8 * kParts;
  const bool runs = p.order == sm90::Order::runs;
  const int reach = runs ? sm90::kChunk : 8;  // positions that an item's lie among
  const auto swizzled = [&](int row) { return (lane / 4 ^ row % 8) * 16 + lane % 4 * 4; };
  uint32_t of_place[8];  // bytes of its row, from the item's first
#pragma unroll
  for (int k = 0; k < 8; ++k) {
    const int row = sm90::position_in_line(p.order, k);
    of_place[k] = row * kRowBytes + (runs ? 0 : swizzled(row));
  }
  sm90::Ring ring, raw;
  const int end = p.work.first(blockIdx.x + 1);
  for (int box = p.work.first(blockIdx.x); box < end; ++box) {
    sm90::barrier_wait(shared.raw_full + 8 * raw.stage, raw.parity);
    sm90::barrier_wait(shared.empty + 8 * ring.stage, ring.parity ^ 1);
    const uint32_t from = shared.raw + raw.stage * kParts * p.raw_part_bytes;
    const uint32_t to = shared.stages + ring.stage * p.stage_bytes;
#pragma unroll 1
    for (int first = warp; first < items; first += kBatch * kTurningWarps) {
      uint32_t value[kBatch][8];
#pragma unroll
      for (int b = 0; b < kBatch; ++b) {
        // Those behind the last item bring it once more.
        const int item = min(first + b * kTurningWarps, items - 1);
        const int part = item % kParts, eight = item / kParts, of_line = eight % kOfLine;
        uint32_t row = from + part * p.raw_part_bytes;
        uint32_t other = 0;  // of the second four places, beside of_place
        if (runs) {
          row += (eight / kOfLine * sm90::kChunk + 2 * of_line) * kRowBytes + swizzled(2 * of_line);
          other = swizzled(2 * of_line + 1) - swizzled(2 * of_line);
        } else {
          row += eight * 8 * kRowBytes;
        }
#pragma unroll
        for (int k = 0; k < 8; ++k) {
          value[b][k] = load_shared(row + of_place[k] + (k < 4 ? 0 : other));
        }
      }
#pragma unroll
      for (int b = 0; b < kBatch; ++b) {
        const int item = min(first + b * kTurningWarps, items - 1);
        const int part = item % kParts, eight = item / kParts, of_line = eight % kOfLine;
        const int column = part * kRawWidth + lane;
        // What fills up the last line.
        const int position = runs ? eight / kOfLine * sm90::kChunk + 2 * of_line : eight * 8;
        const int left = p.box_positions - position;
        if (left < reach) {
#pragma unroll
          for (int k = 0; k < 8; ++k) {
            if (static_cast<int>(of_place[k] / kRowBytes) >= left) value[b][k] = 0;
          }
        }
        if (kColumns % kRawWidth == 0 || column < kColumns) {
          const uint32_t line = to + (eight / kOfLine * kColumns + column) * sm90::kLineBytes;
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            const uint32_t* four = value[b] + 4 * half;
            store_shared(line + ((2 * of_line + half) ^ column % 8) * 16,
                         make_uint4(four[0], four[1], four[2], four[3]));
          }
        }
      }
    }
    // Between these stores and wgmma, which reads through the asynchronous proxy.
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    __syncwarp();  // all lanes have stored, and read
    sm90::release(shared.raw_empty, raw);
    sm90::release(shared.full, ring);
    raw.next(kRawBoxes);
    ring.next(p.stages);
  }
}

#endif

}  // namespace convt3d::cuda::view_weight
