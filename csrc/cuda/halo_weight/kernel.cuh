// SPDX-License-Identifier: BSD-3-Clause
// grad_weight as a matrix product whose two operands wgmma reads from shared memory, K down rows:
//
//   grad_weight[ci, co, t] = sum over n, i of
//                            input[n, ci, i] * grad_output[n, co, s * i + d * t - p]
//
//   M = 64 rows of a unit: out_channels of one tap, or 32 (16) of 2 (4) taps, see taps.h
//   N = in_channels
//   K = input positions, 16 to an instruction
//
//   a stage: input            views of grad_output           a unit's rows of grad_output are those
//     row = position           row = every s-th position      of its view, moved by the tap: its
//     [64 in_channels]         [64 out_channels]              descriptor starts at any row; the
//     [64 in_channels]         [64 out_channels]  ...         second tap lies `distance` further
//
// Or input is lines of NCDHW (kLines): a row is up to 64 positions of an in_channel, K along it.
//
// Both are boxes that TMA writes, zeros beyond the tensor included. Where the box holds whole lines
// (planes, volumes), the input is loaded with as much behind each line as grad_output has halo:
// then rows of both run on across lines, with zeros of the input between them (Config::flat).
//
//   warpgroups 0 ..   consumers   `kUnits` units each, all on the same input
//   then one warp     loads       full: bytes of the boxes -> consumers
//                                 empty: all consumer warps -> this warp
//
// All boxes of all jobs (in_channels x units) lie in one line that is cut into as many equal parts
// as there are blocks; a block's sums of one job are a piece, added up by reduce.cuh. Or a block
// has a whole job, and stores its sums into the weight. Tensor cores truncate as they add: after
// `chain` boxes the sums go to the piece, where the thread that put them there adds the next in
// float32.
//
// supports() guarantees groups = 1 and extents within 32 bits; launch() rows that TMA can address.
#pragma once
#include <cuda.h>

#include "cuda/common/element.cuh"
#include "cuda/common/shared_memory.cuh"
#include "cuda/halo_weight/params.h"
#include "cuda/halo_weight/store.cuh"
#include "cuda/sm90/mbarrier.cuh"
#include "cuda/sm90/overlapping_launch.cuh"
#include "cuda/sm90/parked_sums.cuh"
#include "cuda/sm90/registers.cuh"
#include "cuda/sm90/ring.cuh"
#include "cuda/sm90/tma.cuh"
#include "cuda/sm90/wgmma.cuh"
#include "cuda/sm90/wgmma_shared.cuh"

namespace convt3d::cuda::halo_weight {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// Addresses in shared memory.
struct Shared {
  uint32_t stages, full, empty;

  __device__ Shared(const Params& p, const unsigned char* memory) {
    const uint32_t start = shared_address(memory);
    stages = (start + kSwizzleAlign - 1) / kSwizzleAlign * kSwizzleAlign;
    full = stages + p.stages * p.stage_bytes;
    empty = full + 8 * kMaxStages;
  }
};

// Walks the lanes of consecutive units, and the views that they need.
struct UnitWalk {
  int unit, part, of_part;
  int slot = -1, last_part = -1, last_view = -1;

  __device__ UnitWalk(const Params& p, int first)
      : unit(first), part(first / p.work.part_units), of_part(first % p.work.part_units) {}

  // Where the unit's lanes are: address and distance as mn_descriptor_low() has them. body(slot,
  // part, view) is told of each view when it is met first.
  template <typename Body>
  __device__ uint32_t next(const Params& p, const Body& body) {
    uint32_t first = 0, second = 0;
    if (unit < p.work.units) {
      for (int i = 0; i < p.lanes; ++i) {
        const LaneEntry lane = p.lane[of_part * p.lanes + i];
        if (lane.view == kNoView) break;
        if (lane.view != last_view || part != last_part) {
          last_view = lane.view;
          last_part = part;
          ++slot;
          body(slot, part, lane.view);
        }
        const uint32_t at = slot * p.view_bytes + lane.shift * (p.out_width * kElementBytes);
        if (i == 0) first = at;
        if (i < 2) second = at;
      }
    }
    ++unit;
    if (++of_part == p.work.part_units) {
      of_part = 0;
      ++part;
    }
    return sm90::mn_descriptor_low(first, second - first);
  }
};

// The products of one box.
template <typename T, int kChannels, int kUnits, bool kLines>
__device__ __forceinline__ void multiply(const Params& p, uint32_t stage, uint32_t input_low,
                                         uint32_t input_high, const uint32_t (&unit)[kUnits],
                                         uint32_t unit_high, float (&sum)[kUnits][kChannels / 2]) {
  using Wgmma =
      sm90::WgmmaShared<T, kChannels, sm90::Major::mn, kLines ? sm90::Major::k : sm90::Major::mn>;
  uint32_t in0 = input_low + stage, out0 = stage;
#pragma unroll 1
  for (int i = 0; i < p.loops[0].count; ++i) {
    uint32_t in1 = in0, out1 = out0;
#pragma unroll 1
    for (int j = 0; j < p.loops[1].count; ++j) {
      uint32_t in2 = in1, out2 = out1;
#pragma unroll 1
      for (int k = 0; k < p.loops[2].count; ++k) {
        uint32_t in = in2, out = out2;
#pragma unroll 1
        for (int step = 0; step < p.loops[3].count; ++step) {
          sm90::wgmma_fence();
#pragma unroll
          for (int u = 0; u < kUnits; ++u) {
            Wgmma::run(sum[u], sm90::descriptor(unit[u] + out, unit_high),
                       sm90::descriptor(in, input_high));
          }
          in += p.loops[3].input;
          out += p.loops[3].output;
        }
        in2 += p.loops[2].input;
        out2 += p.loops[2].output;
      }
      in1 += p.loops[1].input;
      out1 += p.loops[1].output;
    }
    in0 += p.loops[0].input;
    out0 += p.loops[0].output;
  }
  sm90::wgmma_commit();
  sm90::wgmma_wait<0>();
  sm90::pin(sum);
}

template <typename T, int kChannels, int kUnits, bool kLines>
__device__ __forceinline__ void consume(const Params& p, const Shared& shared) {
  const int group = threadIdx.x / 128;
  const uint32_t input_low = sm90::mn_descriptor_low(shared.stages, p.part_bytes);
  const uint32_t input_high = sm90::mn_descriptor_high(p.in_width * kElementBytes);
  const uint32_t unit_high = sm90::mn_descriptor_high(p.out_width * kElementBytes);
  const uint32_t views = (shared.stages + p.views_at) >> 4;
  sm90::Ring ring;
  int box = p.work.first(blockIdx.x);
  const int end = p.work.first(blockIdx.x + 1);
  while (box < end) {
    const int job = box / p.work.boxes, job_end = min(end, (job + 1) * p.work.boxes);
    const int thread = threadIdx.x % 128;
    const int row = thread / 32 * 16 + thread % 32 / 4, column = thread % 4 * 2;
    float* piece = p.work.partial + p.work.piece_at(blockIdx.x, job) +
                   (group * kUnits * kGroupRows + row) * kChannels + column;
    const int first_unit = job / p.work.in_tiles * p.work.job_units;
    uint32_t unit[kUnits];
    UnitWalk walk(p, first_unit);
    for (int g = 0; g <= group; ++g) {
#pragma unroll
      for (int u = 0; u < kUnits; ++u) unit[u] = views + walk.next(p, [](int, int, int) {});
    }
    for (bool again = false; box < job_end; again = true) {
      float sum[kUnits][kChannels / 2];
#pragma unroll
      for (int i = 0; i < kUnits * kChannels / 2; ++i)
        sum[i / (kChannels / 2)][i % (kChannels / 2)] = 0;
      for (const int stop = min(job_end, box + p.chain); box < stop; ++box) {
        sm90::barrier_wait(shared.full + 8 * ring.stage, ring.parity);
        multiply<T, kChannels, kUnits, kLines>(p, ring.stage * p.stage_bytes >> 4, input_low,
                                               input_high, unit, unit_high, sum);
        sm90::release(shared.empty, ring);
        ring.next(p.stages);
      }
      if (p.work.direct && box == job_end) {
        put_weight<T, kChannels, kUnits>(
            p.target, p.warpgroups, shared.stages, job % p.work.in_tiles * kChannels, piece, again,
            sum, [&](int u, int row) {
              const int unit = first_unit + group * kUnits + u, part = unit / p.work.part_units;
              const int lane = row / p.out_width;
              const int entry = (unit - part * p.work.part_units) * p.lanes + lane;
              const bool absent = unit >= p.work.units || p.lane[entry].view == kNoView;
              return Place{part * p.out_width + row - lane * p.out_width,
                           absent ? -1 : p.tap[entry]};
            });
      } else {
        put<kChannels, kUnits>(piece, again, sum);
      }
    }
  }
}

// One warp: a lane has one view or one part of the input of each stage.
template <int kChannels, bool kLines>
__device__ __forceinline__ void load(const Params& p, const Shared& shared,
                                     const CUtensorMap* input_map, const CUtensorMap* output_map) {
  const int lane = threadIdx.x % 32;
  sm90::Ring ring;
  int box = p.work.first(blockIdx.x);
  const int end = p.work.first(blockIdx.x + 1);
  while (box < end) {
    const int job = box / p.work.boxes, job_end = min(end, (job + 1) * p.work.boxes);
    int channel = -1, start[3] = {0, 0, 0}, views = 0;
    UnitWalk walk(p, job / p.work.in_tiles * p.work.job_units);
    for (int u = 0; u < p.work.job_units; ++u) {
      walk.next(p, [&](int slot, int part, int view) {
        views = slot + 1;
        if (slot != lane) return;
        channel = part * p.out_width;
        for (int a = 0; a < 3; ++a) start[a] = p.view_start[view][a];
      });
    }
    const bool is_view = lane < views;
    const int part = lane - views;
    if (!is_view && part < p.in_parts) {
      channel = job % p.work.in_tiles * kChannels + part * p.in_width;
    }
    const uint32_t bytes = p.in_parts * p.part_loaded + views * p.view_loaded;
    const uint32_t target = is_view ? p.views_at + lane * p.view_bytes : part * p.part_bytes;
    const CUtensorMap* map = is_view ? output_map : input_map;
    int scale[3];
    for (int a = 0; a < 3; ++a) scale[a] = is_view ? p.stride[a] : 1;
    for (; box < job_end; ++box) {
      unsigned rest = box - job * p.work.boxes;
      int at[3];
#pragma unroll
      for (int a = 2; a >= 0; --a) {
        const unsigned next = rest / p.tiles[1 + a];
        at[a] = static_cast<int>(rest - next * p.tiles[1 + a]) * p.box[1 + a] * scale[a] + start[a];
        rest = next;
      }
      sm90::barrier_wait(shared.empty + 8 * ring.stage, ring.parity ^ 1);
      const uint32_t full = shared.full + 8 * ring.stage;
      if (lane == 0) sm90::barrier_arrive_expect(full, bytes);
      __syncwarp();  // lane 0 has said how much, before any of it arrives
      if (channel >= 0) {
        const bool line = kLines && !is_view;
        sm90::load_box(shared.stages + ring.stage * p.stage_bytes + target, map, full,
                       line ? at[2] : channel, line ? channel : at[2], at[1], at[0],
                       static_cast<int>(rest) * p.box[0]);
      }
      ring.next(p.stages);
    }
  }
}

// Rows that no box covers: multiplied, and never written again. By the consumers, while the first
// boxes are on their way; a warp has a tail.
__device__ __forceinline__ void clear_tails(const Params& p, const Shared& shared) {
  const int tails = p.in_parts + p.tail_views, lane = threadIdx.x % 32;
  for (int i = threadIdx.x / 32; i < p.stages * tails; i += p.warpgroups * 4) {
    const int stage = i / tails, tail = i - stage * tails, view = tail - p.in_parts;
    const uint32_t tile = shared.stages + stage * p.stage_bytes +
                          (view < 0 ? tail * p.part_bytes : p.views_at + view * p.view_bytes);
    const int end = view < 0 ? p.part_bytes : p.view_bytes;
    for (int at = (view < 0 ? p.part_loaded : p.view_loaded) + lane * 16; at < end; at += 32 * 16) {
      store_shared(tile + at, uint4{0, 0, 0, 0});
    }
  }
}

#endif

template <typename T, int kChannels, int kUnits, bool kLines>
__global__ void __launch_bounds__(max_threads(kChannels, kUnits), 1)
    halo_weight_kernel(const __grid_constant__ Params p,
                       const __grid_constant__ CUtensorMap input_map,
                       const __grid_constant__ CUtensorMap output_map) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ __align__(128) unsigned char memory[];
  const Shared shared(p, memory);
  const int consumers = p.warpgroups * 4, warp = threadIdx.x / 32;
  if (threadIdx.x == 0) {
    sm90::prefetch_map(&input_map);
    sm90::prefetch_map(&output_map);
    for (int s = 0; s < p.stages; ++s) {
      sm90::barrier_init(shared.full + 8 * s, 1);
      sm90::barrier_init(shared.empty + 8 * s, consumers);
    }
    sm90::barrier_init_fence();
  }
  sm90::let_next_launch_start();  // reduce.cuh, on SMs that are free
  __syncthreads();                // barriers are there
  if (warp < consumers) {
    sm90::more_registers<consumer_registers(kChannels, kUnits)>();
    clear_tails(p, shared);
    // Between these stores and wgmma, which reads through the asynchronous proxy.
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    meet(1, p.warpgroups * 128);  // the tails are there
    consume<T, kChannels, kUnits, kLines>(p, shared);
  } else {
    sm90::fewer_registers<kProducerRegisters>();
    if (warp == consumers) {
      sm90::wait_for_earlier_launch();  // the packed tensors are there
      load<kChannels, kLines>(p, shared, &input_map, &output_map);
    }
  }
#endif
}

}  // namespace convt3d::cuda::halo_weight
