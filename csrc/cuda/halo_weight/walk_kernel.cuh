// SPDX-License-Identifier: BSD-3-Clause
// grad_weight of many channels: as kernel.cuh, but each tap's positions of grad_output are loaded
// anew, and nothing else:
//
//   M = 128 or 256 rows of a job: out_channels of one tap, or 64 of each of several
//   N = 128, 192 or 256 in_channels
//   K = input positions (n, i), 64 to a stage
//
//   input: a walk of TMA over     grad_output: the same walk, of every s-th position,
//   64 positions, 64 channels     moved by the tap
//     [position][64 in_channels]    [position][64 out_channels]        4 to 7 stages
//     ...                           ...
//         +------- wgmma, 2 warpgroups, of half of the rows each -------+
//
// TMA counts the positions across lines, planes and batch items (im2col mode), so that no stage has
// a border. Taps that meet the same input positions are a class, with maps of its own, where walks
// leave out what taps do not meet: then blocks have whole jobs, the longest first.
//
// Or input is as NCDHW has it (kLines): [64 in_channels][64 positions], runs of its channels.
//
// Work, pieces and reduction are those of kernel.cuh. One warp loads, a lane has 64 channels.
//
// supports() guarantees groups = 1 and extents within 32 bits; launch() rows that TMA can address.
#pragma once
#include "cuda/common/shared_memory.cuh"
#include "cuda/halo_weight/store.cuh"
#include "cuda/halo_weight/walk_params.h"
#include "cuda/sm90/mbarrier.cuh"
#include "cuda/sm90/overlapping_launch.cuh"
#include "cuda/sm90/parked_sums.cuh"
#include "cuda/sm90/registers.cuh"
#include "cuda/sm90/ring.cuh"
#include "cuda/sm90/tma.cuh"
#include "cuda/sm90/walk.cuh"
#include "cuda/sm90/wgmma.cuh"
#include "cuda/sm90/wgmma_shared.cuh"

namespace convt3d::cuda::halo_weight {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// Stages, and behind them a barrier of each for full and one for empty.
template <int kChannels, int kUnits>
struct WalkStages {
  static constexpr int kBytes = walk_stage_bytes(kChannels, kUnits);
  static constexpr int kCount = walk_stages(kChannels, kUnits);
  static constexpr int kInParts = kChannels / kWalkWidth;
  static constexpr int kEmptyBehind = 8 * kMaxStages;
  uint32_t first;

  __device__ uint32_t full(int stage) const { return first + kCount * kBytes + 8 * stage; }
};

// What this block has of one job.
struct WalkJob {
  int job, unit, in_tile;  // the first of its units
  int box, stop;           // of the job's boxes
};

// The jobs of this block, one after another.
class WalkJobs {
 public:
  __device__ WalkJobs(const WalkParams& p, int job_units) : p_(p), job_units_(job_units) {
    const Work& work = p.work;
    int block = blockIdx.x;
    if (p.job_parts > 1) {
      const int of_tile = block % work.in_tiles, unit = block / work.in_tiles;
      block = (unit % p.job_parts * work.part_units + unit / p.job_parts) * work.in_tiles + of_tile;
    }
    block_ = block;
    box_ = work.first(block);
    end_ = work.first(block + 1);
  }

  __device__ bool next(WalkJob* job) {
    if (box_ >= end_) return false;
    const Work& work = p_.work;
    const int index = box_ / work.boxes, start = index * work.boxes;
    *job = {index, index / work.in_tiles * job_units_, index % work.in_tiles, box_ - start,
            min(min(end_ - start, work.boxes), class_of(index / work.in_tiles * job_units_).boxes)};
    box_ = start + work.boxes;
    return true;
  }

  __device__ int block() const { return block_; }

  __device__ const WalkParams::OfTap& tap_of(int unit) const {
    return p_.tap[unit % p_.work.part_units];
  }
  __device__ const WalkParams::OfClass& class_of(int unit) const {
    return p_.of_class[tap_of(unit).of_class];
  }

 private:
  const WalkParams& p_;
  int job_units_, block_, box_, end_;
};

template <typename T, int kChannels, int kUnits, bool kLines>
__device__ __forceinline__ void walk_consume(const WalkParams& p,
                                             const WalkStages<kChannels, kUnits>& stages) {
  using Stages = WalkStages<kChannels, kUnits>;
  using Wgmma =
      sm90::WgmmaShared<T, kChannels, sm90::Major::mn, kLines ? sm90::Major::k : sm90::Major::mn>;
  constexpr uint32_t kHigh = sm90::mn_descriptor_high(kWalkWidth * kElementBytes);
  constexpr uint32_t kStep = kDepth * kWalkWidth * kElementBytes >> 4;
  constexpr uint32_t kInStep = kLines ? kDepth * kElementBytes >> 4 : kStep;
  const int group = threadIdx.x / 128, thread = threadIdx.x % 128;
  const int units_rows = p.out_width / kGroupRows;  // instructions of one unit
  const int job_units = kWalkGroups * kUnits / units_rows;
  const int row = thread / 32 * 16 + thread % 32 / 4, column = thread % 4 * 2;
  const uint32_t input = sm90::mn_descriptor_low(stages.first, kWalkTileBytes);
  const uint32_t output = sm90::mn_descriptor_low(
      stages.first + (Stages::kInParts + group * kUnits) * kWalkTileBytes, 0);
  WalkJobs jobs(p, job_units);
  sm90::Ring ring;
  WalkJob job;
#pragma unroll 1
  while (jobs.next(&job)) {
    float* piece = p.work.partial + p.work.piece_at(jobs.block(), job.job) +
                   (group * kUnits * kGroupRows + row) * kChannels + column;
    int box = job.box;
#pragma unroll 1
    for (bool again = false; box < job.stop; again = true) {
      float sum[kUnits][kChannels / 2];
#pragma unroll
      for (int i = 0; i < kUnits * kChannels / 2; ++i)
        sum[i / (kChannels / 2)][i % (kChannels / 2)] = 0;
      uint32_t before = 0;  // the barrier of the stage that is still read
#pragma unroll 1
      for (const int stop = min(job.stop, box + p.chain); box < stop; ++box) {
        const uint32_t full = stages.full(ring.stage);
        sm90::barrier_wait(full, ring.parity);
        const uint32_t stage = ring.stage * Stages::kBytes >> 4;
        sm90::wgmma_fence();
#pragma unroll
        for (int step = 0; step < kWalkSteps; ++step) {
#pragma unroll
          for (int u = 0; u < kUnits; ++u) {
            Wgmma::run(
                sum[u],
                sm90::descriptor(output + stage + (u * kWalkTileBytes >> 4) + step * kStep, kHigh),
                sm90::descriptor(input + stage + step * kInStep, kHigh));
          }
        }
        sm90::wgmma_commit();
        sm90::wgmma_wait<1>();
        if (before != 0 && threadIdx.x % 32 == 0) sm90::barrier_arrive(before);
        before = full + Stages::kEmptyBehind;
        ring.next(Stages::kCount);
      }
      sm90::wgmma_wait<0>();
      sm90::pin(sum);
      if (threadIdx.x % 32 == 0) sm90::barrier_arrive(before);
      if (p.work.direct && box == job.stop) {
        put_weight<T, kChannels, kUnits>(
            p.target, kWalkGroups, stages.first, job.in_tile * kChannels, piece, again, sum,
            [&](int u, int of_row) {
              const int slot = group * kUnits + u, unit = job.unit + slot / units_rows;
              const int part = unit / p.work.part_units;
              return Place{part * p.out_width + slot % units_rows * kGroupRows + of_row,
                           unit < p.work.units ? jobs.tap_of(unit).tap : -1};
            });
      } else {
        put<kChannels, kUnits>(piece, again, sum);
      }
    }
  }
}

// Blocks that share a job take its boxes in turns, so that at any time all blocks are at the same
// positions of both tensors, which come from memory once: each block counts its own boxes, of all
// its jobs, and a job's are numbered by that count, and then by the block. A lane has what one of
// these blocks has of the job.
struct Turns {
  int begin = 0, end = 0;  // in the block's own count
  bool earlier = false;    // than this block

  __device__ Turns(const Work& work, int job, int block) {
    const int start = job * work.boxes, stop = start + work.boxes;
    const int other = work.owner(start) + threadIdx.x % 32;
    if (other > work.owner(stop - 1)) return;
    const int first = work.first(other);
    begin = max(start - first, 0);
    end = min(stop, work.first(other + 1)) - first;
    earlier = other < block;
  }
  // By all lanes. The job's box at the block's own count of `time`.
  __device__ int box(int time) const {
    const int before = min(max(time - begin, 0), end - begin);
    return __reduce_add_sync(~0u, before + (earlier && begin <= time && time < end ? 1 : 0));
  }
};

// One warp: a lane has 64 channels of each stage.
template <int kChannels, int kUnits, bool kLines>
__device__ __forceinline__ void walk_load(const WalkParams& p, const WalkMaps& maps,
                                          const WalkStages<kChannels, kUnits>& stages) {
  using Stages = WalkStages<kChannels, kUnits>;
  const int lane = threadIdx.x % 32, slot = lane - Stages::kInParts;
  const int units_rows = p.out_width / kGroupRows;
  const int job_units = kWalkGroups * kUnits / units_rows;
  WalkJobs jobs(p, job_units);
  sm90::Ring ring;
  WalkJob job;
  while (jobs.next(&job)) {
    const int units = min(job_units, p.work.units - job.unit);
    const int loads = Stages::kInParts + units * units_rows;
    const int of_class = jobs.tap_of(job.unit).of_class;
    const WalkParams::OfClass& positions = p.of_class[of_class];
    const bool is_input = slot < 0;
    const int unit = job.unit + max(slot, 0) / units_rows;
    const WalkParams::OfTap& tap = jobs.tap_of(unit);
    const int channel =
        is_input ? job.in_tile * kChannels + lane * kWalkWidth
                 : unit / p.work.part_units * p.out_width + slot % units_rows * kGroupRows;
    const CUtensorMap* map = is_input ? &maps.input[of_class] : &maps.output[of_class];
    int first[3], step[3], shift[3];
#pragma unroll
    for (int a = 0; a < 3; ++a) {
      first[a] = is_input ? positions.first[a] : positions.corner[a];
      step[a] = is_input ? 1 : p.stride[a];
      shift[a] = is_input ? 0 : tap.shift[a];
    }
    const Turns turns(p.work, job.job, jobs.block());
    const int start = job.job * p.work.boxes - p.work.first(jobs.block());
#pragma unroll 1
    for (int box = job.box; box < job.stop; ++box) {
      int n = (p.takes_turns ? turns.box(start + box) : box) * kWalkPositions, at[3];
#pragma unroll
      for (int a = 2; a >= 0; --a) at[a] = divide(&n, positions.extent[a]) * step[a] + first[a];
      const uint32_t full = stages.full(ring.stage);
      sm90::barrier_wait(full + Stages::kEmptyBehind, ring.parity ^ 1);
      if (lane == 0) sm90::barrier_arrive_expect(full, loads * kWalkTileBytes);
      __syncwarp();  // lane 0 has said how much, before any of it arrives
      const uint32_t tile = stages.first + ring.stage * Stages::kBytes + lane * kWalkTileBytes;
      if (kLines && is_input) {
        const int line = at[0] * static_cast<int>(positions.extent[1].value) + at[1];
        sm90::load_box(tile, map, full, line * static_cast<int>(positions.extent[2].value) + at[2],
                       channel, n, 0, 0);
      } else if (lane < loads) {
        sm90::load_walk(tile, map, full, channel, at[2], at[1], at[0], n, shift[2], shift[1],
                        shift[0]);
      }
      ring.next(Stages::kCount);
    }
  }
}

#endif

template <typename T, int kChannels, int kUnits, bool kLines>
__global__ void __launch_bounds__(kWalkThreads, 1)
    walk_kernel(const __grid_constant__ WalkParams p, const __grid_constant__ WalkMaps maps) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ __align__(1024) unsigned char memory[];
  using Stages = WalkStages<kChannels, kUnits>;
  const Stages stages{shared_address(memory)};
  if (threadIdx.x == 0) {
    for (int s = 0; s < Stages::kCount; ++s) {
      sm90::barrier_init(stages.full(s), 1);  // the warp that loads
      sm90::barrier_init(stages.full(s) + Stages::kEmptyBehind, kWalkGroups * 4);
    }
    sm90::barrier_init_fence();
  }
  sm90::let_next_launch_start();  // reduce.cuh, on SMs that are free
  __syncthreads();                // barriers are there
  if (threadIdx.x < kWalkGroups * 128) {
    sm90::more_registers<kWalkRegisters>();
    walk_consume<T, kChannels, kUnits, kLines>(p, stages);
  } else {
    sm90::fewer_registers<kWalkProducerRegisters>();
    if (threadIdx.x / 32 == kWalkGroups * 4) {
      sm90::wait_for_earlier_launch();  // the packed tensors are there
      walk_load<kChannels, kUnits, kLines>(p, maps, stages);
    }
  }
#endif
}

}  // namespace convt3d::cuda::halo_weight
