// SPDX-License-Identifier: BSD-3-Clause
// grad_weight of strides 1 and 2 along w in NCDHW, 16 bits and TF32, from the tensors as they lie:
//
//   grad_weight[ci, co, t] = sum over n, i of  grad_output[n, co, s i + t - p] * input[n, ci, i]
//
//   M = rows (tap of d, tap of h, co), 64 of a unit
//   N = in_channels
//   K = positions, 16 (TF32: 8) of a line to an instruction
//
//   a stage: input                              grad_output
//     [chunk of a line][line][in_channel]         [tap of d][line, with halo][out_channel]
//     rows of up to 128 bytes, swizzled           runs: a line's positions, and those of its taps
//        |                                           |  words at any shift, of all taps along w
//        +---> wgmma <-------------------------------+
//
// Both come by TMA, a box for each line of grad_output. In NCDHW positions are contiguous in both,
// and only grad_output moves by taps: along d and h to other lines, along w by elements, which
// registers can do: a lane picks A of all taps along w out of the same words.
//
//   2 warpgroups     consumers, `kUnits` units of kTaps taps along w each
//   1 warp           producer: full -> consumers, empty: all consumer warps
//
// Blocks split K; shift_reduce.cuh adds their sums.
//
// supports() guarantees no dilation along h and w, and dense NCDHW whose lines of input, and lines
// or items of grad_output, are multiples of 16 bytes; launch() that they begin on 16 bytes.
#pragma once
#include <cuda.h>

#include "cuda/common/shared_memory.cuh"
#include "cuda/common/shared_words.cuh"
#include "cuda/line_weight/shift_params.h"
#include "cuda/line_weight/tap_words.cuh"
#include "cuda/line_weight/tuning.h"
#include "cuda/sm90/overlapping_launch.cuh"
#include "cuda/sm90/parked_sums.cuh"
#include "cuda/sm90/registers.cuh"
#include "cuda/sm90/ring.cuh"
#include "cuda/sm90/tma.cuh"
#include "cuda/sm90/wgmma.cuh"
#include "cuda/sm90/wgmma_shared.cuh"

namespace convt3d::cuda::line_weight {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// Addresses in shared memory.
struct ShiftShared {
  uint32_t stages, full, empty;

  __device__ ShiftShared(const ShiftParams& p, uint32_t start) {
    stages = (start + kShiftAlign - 1) / kShiftAlign * kShiftAlign;
    full = stages + p.stages * p.stage_bytes;
    empty = full + 8 * kShiftMaxStages;
  }
};

// A of one instruction and each tap along w: of two rows, a lane's positions 2 q and 2 q + 1, q its
// number of four, and those 8 on (TF32: q, and 4 on).
template <int kTaps>
using ShiftTaps = uint32_t[kTaps][4];

// The words of a line that a lane's positions meet, and those half an instruction further, of two
// rows; of stride 2, two words at once.
template <int kBytes, int kStride, int kTaps, bool kOdd>
struct ShiftWords {
  static constexpr ShiftWordRange kRange = shift_words(kStride, kTaps, kBytes, kOdd);
  static constexpr int kHalf = 4 * kStride, kWords = kHalf + kRange.last + 1;
  uint32_t word[2][kWords];

  static constexpr bool is_read(int j) {
    return (j >= kRange.first && j <= kRange.last) || (j >= kHalf + kRange.first && j < kWords);
  }
  __device__ __forceinline__ void load(const uint32_t (&row)[2], uint32_t offset) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int j = 0; j < kWords; ++j) {
        const uint32_t at = row[i] + offset + 4 * j;
        const bool has_pair =
            kStride == 2 && j / 2 * 2 + 1 < kWords && is_read(j / 2 * 2) && is_read(j / 2 * 2 + 1);
        if (!is_read(j) || (has_pair && j % 2 == 1)) continue;
        if (has_pair) {
          uint32_t pair[2];
          load_words(pair, at);
          word[i][j] = pair[0];
          word[i][j + 1] = pair[1];
        } else {
          word[i][j] = load_shared(at);
        }
      }
    }
  }

  __device__ __forceinline__ void pick(uint32_t zero, ShiftTaps<kTaps>& taps) const {
#pragma unroll
    for (int tap = 0; tap < kTaps; ++tap) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int element = kRange.start + tap;
        const uint32_t* const from =
            word[i % 2] + i / 2 * kHalf + (kBytes == 2 ? element / 2 : element);
        uint32_t& to = taps[tap][i];
        if constexpr (kBytes == 2 && kStride == 2) {
          to = element % 2 == 0 ? lower(from[0], from[1]) : upper(from[0], from[1]);
        } else if (kBytes == 2 && element % 2 == 1) {
          to = across(from[0], from[1]);
        } else {
          to = with(from[0], zero);
        }
      }
    }
  }
};

// The products of one instruction's positions and all taps along w with unit kUnit, while those
// before still run.
template <typename T, int kStride, int kTaps, bool kOdd, int kColumns, int kFirst, int kSums>
__device__ __forceinline__ void multiply_shifted(const uint32_t (&row)[2], uint32_t offset,
                                                 uint64_t input, uint32_t zero,
                                                 ShiftTaps<kTaps>& taps,
                                                 float (&sums)[kSums][kColumns / 2]) {
  ShiftWords<sizeof(T), kStride, kTaps, kOdd> words;
  words.load(row, offset);
  sm90::wgmma_wait<1>();  // the products before the last ones have read `taps`
  settle(taps);
  words.pick(zero, taps);
  sm90::wgmma_fence();
#pragma unroll
  for (int tap = 0; tap < kTaps; ++tap) {
    sm90::Wgmma<T, kColumns>::run(sums[kFirst + tap], taps[tap], input, 1);
  }
  sm90::wgmma_commit();
}

template <typename T, int kStride, int kTaps, bool kOdd, int kColumns, int kUnits>
__device__ __forceinline__ void consume_shifted(const ShiftParams& p, const ShiftShared& shared) {
  constexpr int kBytes = sizeof(T), kOutputDepth = kStride * kShiftDepthBytes;
  constexpr int kStart = shift_words(kStride, kTaps, kBytes, kOdd).start;
  const int thread = threadIdx.x, warp = thread / 32;
  const uint32_t zero = blockIdx.z;
  const ShiftJob job(p, kColumns, blockIdx.x % p.jobs);
  uint32_t row[kUnits][2], low[kUnits][2];
#pragma unroll
  for (int i = 0; i < 2 * kUnits; ++i) {
    const int of_unit = warp % 4 * 16 + thread % 32 / 4 + i % 2 * 8;
    const int index = min((warp / 4 * kUnits + i / 2) * kShiftUnitRows + of_unit, p.rows - 1);
    const int tap = index / p.channels, channel = index - tap * p.channels;
    const int tap_d = tap / p.kernel_h, tap_h = tap - tap_d * p.kernel_h;
    row[i / 2][i % 2] = p.input_bytes + (tap_d * p.output_lines + tap_h) * p.line_bytes +
                        channel * p.run_bytes + thread % 4 * 4 * kStride;
    low[i / 2][i % 2] =
        p.dilation_d * (job.first_tap + tap_d) * p.plane_bytes + tap_h * p.line_step;
  }
  const sm90::Parking parking{p.partial, p.chain};
  sm90::ParkedSums<kConsumerThreads> parked(parking);
  parked.start();
  float sums[kUnits * kTaps][kColumns / 2] = {};
  ShiftTaps<kTaps> even = {}, odd = {};
  const int tile = kColumns * p.row_bytes, depths = p.row_bytes / kShiftDepthBytes;
  const int all = p.lines * p.chunks * depths;
  const uint32_t high = sm90::mn_descriptor_high(p.row_bytes);
  sm90::Ring ring;
  const int split = blockIdx.x / p.jobs;
  const int end = static_cast<int>(int64_t{p.boxes} * (split + 1) / p.splits);
  for (int box = static_cast<int>(int64_t{p.boxes} * split / p.splits); box < end; ++box) {
    sm90::barrier_wait(shared.full + 8 * ring.stage, ring.parity);
    const uint32_t stage = shared.stages + ring.stage * p.stage_bytes;
    // No further than the plane: where planes are runs, others follow.
    const ShiftBox at(p, box);
    const int lines = min(p.lines, p.input_extent[1] - at.h);
    const int width = min(p.width, p.input_extent[2] - at.w);
    const int left = (width * kBytes + kShiftDepthBytes - 1) / kShiftDepthBytes;
    // Boxes of grad_output begin on 16 bytes, its lines behind that.
    uint32_t start = (kStride * at.w - p.padding[2] - kStart) * kBytes +
                     p.stride[0] * at.plane * p.plane_bytes + p.stride[1] * at.h * p.line_step;
    uint32_t line = stage, first = stage;  // of grad_output and of input
#pragma unroll 1
    for (int l = 0; l < lines; ++l, line += p.stride[1] * p.line_bytes, first += tile) {
      uint32_t output = line, chunk = first, from[kUnits][2];
#pragma unroll
      for (int i = 0; i < 2 * kUnits; ++i) {
        from[i / 2][i % 2] = row[i / 2][i % 2] + ((start + low[i / 2][i % 2]) & 15);
      }
      start += p.stride[1] * p.line_step;
#pragma unroll 1
      for (int c = 0; c < left; c += depths, chunk += p.lines * tile) {
        uint32_t input = chunk;
        const int end_of_chunk = min(depths, left - c);
#pragma unroll 1
        for (int k = 0; k < end_of_chunk; k += 2 / kUnits) {
          const auto of_input = [&](uint32_t bytes) {
            return sm90::descriptor(sm90::mn_descriptor_low(input + bytes, 16), high);
          };
          multiply_shifted<T, kStride, kTaps, kOdd, kColumns, 0>(from[0], output, of_input(0), zero,
                                                                 even, sums);
          if constexpr (kUnits == 2) {
            multiply_shifted<T, kStride, kTaps, kOdd, kColumns, kTaps>(from[1], output, of_input(0),
                                                                       zero, odd, sums);
          } else {
            multiply_shifted<T, kStride, kTaps, kOdd, kColumns, 0>(
                from[0], output + kOutputDepth, of_input(kShiftDepthBytes), zero, odd, sums);
          }
          output += 2 / kUnits * kOutputDepth;
          input += 2 / kUnits * kShiftDepthBytes;
        }
      }
    }
    sm90::wgmma_wait<0>();
    settle(even);
    settle(odd);
    sm90::pin(sums);
    sm90::release(shared.empty, ring);
    ring.next(p.stages);
    parked.add(all, all, sums);
  }
  parked.park(sums);
}

// One warp: a lane has a line of grad_output, or a chunk of input's lines.
template <typename T, int kStride, int kColumns>
__device__ __forceinline__ void load_shifted(const ShiftParams& p, const ShiftShared& shared,
                                             const CUtensorMap* input_map,
                                             const CUtensorMap* output_map) {
  const int lane = threadIdx.x % 32, output_boxes = p.taps_d * p.output_lines;
  const ShiftJob job(p, kColumns, blockIdx.x % p.jobs);
  constexpr int kAligned = -static_cast<int>(16 / sizeof(T));
  const int chunk = lane - output_boxes;
  const bool is_output = chunk < 0;
  const int tap_d = lane / p.output_lines, line = lane - tap_d * p.output_lines;
  const int bytes =
      output_boxes * p.channels * p.run_bytes + p.chunks * p.lines * kColumns * p.row_bytes;
  const int chunk_width = p.row_bytes / static_cast<int>(sizeof(T));
  const uint32_t target =
      is_output ? p.input_bytes + lane * p.line_bytes : chunk * p.lines * kColumns * p.row_bytes;
  sm90::Ring ring;
  const int split = blockIdx.x / p.jobs;
  const int end = static_cast<int>(int64_t{p.boxes} * (split + 1) / p.splits);
  for (int box = static_cast<int>(int64_t{p.boxes} * split / p.splits); box < end; ++box) {
    const ShiftBox at(p, box);
    sm90::barrier_wait(shared.empty + 8 * ring.stage, ring.parity ^ 1);
    const uint32_t full = shared.full + 8 * ring.stage;
    const uint32_t to = shared.stages + ring.stage * p.stage_bytes + target;
    if (lane == 0) sm90::barrier_arrive_expect(full, bytes);
    __syncwarp();  // lane 0 has said how much, before any of it arrives
    if (is_output) {
      const int d = p.stride[0] * at.plane + p.dilation_d * (job.first_tap + tap_d) - p.padding[0];
      const int h = p.stride[1] * at.h + line - p.padding[1];
      const int w = kStride * at.w - p.padding[2];
      if (p.flat) {
        const int first = (d * p.output_extent[1] + h) * p.output_extent[2] + w;
        sm90::load_box(to, output_map, full, first & kAligned, job.first_channel, at.item, 0, 0);
      } else {
        sm90::load_box(to, output_map, full, w & kAligned, h, d, job.first_channel, at.item);
      }
    } else if (chunk < p.chunks) {
      sm90::load_box(to, input_map, full, at.w + chunk * chunk_width, job.first_column, at.h,
                     at.plane, at.item);
    }
    ring.next(p.stages);
  }
}

#endif

template <typename T, int kStride, int kTaps, bool kOdd, int kColumns, int kUnits>
__global__ void __launch_bounds__(kThreads, 1)
    shift_kernel(const __grid_constant__ ShiftParams p,
                 const __grid_constant__ CUtensorMap input_map,
                 const __grid_constant__ CUtensorMap output_map) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ __align__(128) unsigned char memory[];
  const ShiftShared shared(p, shared_address(memory));
  if (threadIdx.x == 0) {
    sm90::prefetch_map(&input_map);
    sm90::prefetch_map(&output_map);
    for (int s = 0; s < p.stages; ++s) {
      sm90::barrier_init(shared.full + 8 * s, 1);
      sm90::barrier_init(shared.empty + 8 * s, kConsumerThreads / 32);
    }
    sm90::barrier_init_fence();
  }
  sm90::let_next_launch_start();
  __syncthreads();  // barriers are there
  if (threadIdx.x < kConsumerThreads) {
    sm90::more_registers<kConsumerRegisters>();
    consume_shifted<T, kStride, kTaps, kOdd, kColumns, kUnits>(p, shared);
  } else {
    sm90::fewer_registers<kProducerRegisters>();
    if (threadIdx.x / 32 == kConsumerThreads / 32) {
      load_shifted<T, kStride, kColumns>(p, shared, &input_map, &output_map);
    }
  }
#endif
}

}  // namespace convt3d::cuda::line_weight
