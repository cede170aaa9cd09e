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
// from `first` on, in order; lanes that share a view have one slot.
template <typename Body>
__device__ __forceinline__ void for_each_lane(const Params& p, int first, const Body& body) {
  int slot = -1, last_part = -1, last_view = -1;
  int part = first / p.work.part_units, of_part = first - part * p.work.part_units;
  for (int u = 0; u < p.work.job_units && first + u < p.work.units; ++u) {
    for (int i = 0; i < p.lanes; ++i) {
      const int entry = of_part * p.lanes + i, view = p.lane[entry].view;
      if (view == halo_weight::kNoView) break;
      if (view != last_view || part != last_part) {
        last_view = view;
        last_part = part;
        ++slot;
      }
      body(u * p.lanes + i, slot, part, entry);
    }
    if (++of_part == p.work.part_units) {
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
template <int kColumns>
__device__ __forceinline__ void turn(const Params& p, const Shared& shared, int warp) {
  constexpr int kParts = raw_parts(kColumns), kQuads = sm90::kChunk / 4, kBatch = 4;
  const int lane = threadIdx.x % 32;
  const int items = p.positions / 4 * kParts, last_row = p.box_positions - 1;
  // Of sm90::position_in_line(): of the quads of eight places, and of their places.
  const bool wide = p.order == sm90::Order::rows_128;
  const int of_quad = wide ? 1 : 2;
  const int of_place[4] = {0, wide ? 2 : 1, 4, wide ? 6 : 5};
  sm90::Ring ring, raw;
  const int end = p.work.first(blockIdx.x + 1);
  for (int box = p.work.first(blockIdx.x); box < end; ++box) {
    sm90::barrier_wait(shared.raw_full + 8 * raw.stage, raw.parity);
    sm90::barrier_wait(shared.empty + 8 * ring.stage, ring.parity ^ 1);
    const uint32_t from = shared.raw + raw.stage * kParts * p.raw_part_bytes + lane % 4 * 4;
    const uint32_t to = shared.stages + ring.stage * p.stage_bytes;
#pragma unroll 1
    for (int first = warp; first < items; first += kBatch * kTurningWarps) {
      uint32_t value[kBatch][4];
#pragma unroll
      for (int b = 0; b < kBatch; ++b) {
        const int item = min(first + b * kTurningWarps, items - 1);
        const int part = item % kParts, quad = item / kParts;
        const int first_row = quad / 2 * 8 + quad % 2 * of_quad;
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int row = min(first_row + of_place[i], last_row);
          value[b][i] =
              load_shared(from + part * p.raw_part_bytes + row * 128 + (lane / 4 ^ row % 8) * 16);
        }
      }
#pragma unroll
      for (int b = 0; b < kBatch; ++b) {
        // Those behind the last item write it once more.
        const int item = min(first + b * kTurningWarps, items - 1);
        const int part = item % kParts, quad = item / kParts;
        const int first_row = quad / 2 * 8 + quad % 2 * of_quad;
        const int column = part * kRawWidth + lane;
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          if (first_row + of_place[i] > last_row) value[b][i] = 0;
        }
        if (kColumns % kRawWidth == 0 || column < kColumns) {
          store_shared(to + (quad / kQuads * kColumns + column) * sm90::kLineBytes +
                           (quad % kQuads ^ column % 8) * 16,
                       make_uint4(value[b][0], value[b][1], value[b][2], value[b][3]));
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
