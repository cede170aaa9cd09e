// SPDX-License-Identifier: BSD-3-Clause
// The producers of gather_kernel.cuh. A stage is two lines of grad_output for each line of input,
// of all rows (an out_channel and tap of d), and input has a ring of its own:
//
//   stage   [line of input][row][two lines]           line_bytes each
//   input   [instruction's positions][line][in_channel]    32 bytes each, swizzled
//
// Input comes by TMA, and grad_output too where its lines begin on 16 bytes: then a line's first
// element lies kGatherLead bytes before the chunk. Others come as they lie, by copies of 16 bytes,
// from the piece on that has the first position's first tap: a line so begins up to 15 bytes behind
// the start of its place. What the chunk's place has of neighbouring lines is taken out by who
// reads it; lines outside a plane, or of no row, are zeros.
#pragma once
#include <cuda.h>

#include "cuda/common/shared_memory.cuh"
#include "cuda/line_weight/gather_params.h"
#include "cuda/line_weight/tuning.h"
#include "cuda/sm90/ring.cuh"
#include "cuda/sm90/tma.cuh"

namespace convt3d::cuda::line_weight {

// Addresses in shared memory.
struct GatherShared {
  uint32_t stages, inputs, full, empty;

  __device__ GatherShared(const GatherParams& p, uint32_t start) {
    stages = (start + kGatherAlign - 1) / kGatherAlign * kGatherAlign;
    inputs = stages + p.stages * p.stage_bytes;
    full = inputs + (p.stages + 1) * p.input_bytes;
    empty = full + 8 * kGatherMaxStages;
  }
};

// A block's share of the weight.
struct GatherJob {
  int first_channel, first_tap, first_column;  // out_channel, tap of d, in_channel

  __device__ GatherJob(const GatherParams& p, int job) {
    const int rows = job / p.column_tiles, tile = rows / p.tap_tiles;
    first_channel = tile * p.channels;
    first_tap = (rows - tile * p.tap_tiles) * p.taps_d;
    first_column = (job - rows * p.column_tiles) * p.columns;
  }
};

// A row of a block: out_channel and tap of d, and where its first line is among a stage's lines.
// Boxes of lines that begin anywhere have every gather_group()th channel, whose lines begin alike.
struct GatherRow {
  int channel, tap, at;

  __device__ GatherRow(const GatherParams& p, int group, int row) {
    const int box = p.box_rows > 0 ? row / p.box_rows : row, of_box = row - box * p.box_rows;
    channel = box / p.taps_d;
    tap = box - channel * p.taps_d;
    at = box * p.pitch;
    if (p.box_rows > 0) {
      channel += of_box * group;
      at += of_box * p.line_bytes;
    }
  }
};

// Of a warp of consumers, its rows' and its columns' place in the block. Two warpgroups have
// different rows, different columns, or different positions.
__device__ __forceinline__ int rows_of(const GatherParams& p, int warp) {
  return (p.columns > kGatherColumns || p.shares > 1 ? warp % 4 : warp) * 16;
}
__device__ __forceinline__ int columns_of(const GatherParams& p, int warp) {
  return p.columns > kGatherColumns ? warp / 4 * kGatherColumns : 0;
}

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// Where a stage's lines and chunk begin in grad_output, of the first tap.
__device__ __forceinline__ int first_line(const GatherParams& p, int step) {
  return kGatherStride * step * p.lines - p.padding[1];
}
template <int kBytes>
__device__ __forceinline__ int first_element(const GatherParams& p, int chunk) {
  return kGatherStride * chunk * p.depths * gather_depth(kBytes) - p.padding[2];
}
__device__ __forceinline__ int first_plane(const GatherParams& p, const GatherJob& job, int plane) {
  return p.stride_d * plane + job.first_tap - p.padding[0];
}
// Bytes of a line of input's instructions: [in_channel][kGatherDepthBytes].
__device__ __forceinline__ int tile_bytes(const GatherParams& p) {
  return p.columns * kGatherDepthBytes;
}

// By one thread: input, and with kOutput grad_output too.
template <int kBytes, bool kOutput>
__device__ __forceinline__ void load_boxes(const GatherParams& p, const GatherShared& shared,
                                           const CUtensorMap* input_map,
                                           const CUtensorMap* output_map) {
  const GatherJob job(p, blockIdx.x % p.jobs);
  sm90::Ring ring, slot;
  GatherWalk walk(p);
  while (walk.next(p)) {
    // One more stage, of input alone: the lines before the first.
    for (int step = walk.from - 1; step < walk.to; ++step) {
      sm90::barrier_wait(shared.empty + 8 * ring.stage, ring.parity ^ 1);
      const uint32_t full = shared.full + 8 * ring.stage;
      const bool lines = kOutput && step >= walk.from;
      sm90::barrier_arrive_expect(
          full, p.input_bytes + (lines ? p.lines * 2 * p.rows * p.line_bytes : 0));
      for (int k = 0; k < p.depths; ++k) {
        sm90::load_box(shared.inputs + slot.stage * p.input_bytes + k * p.lines * tile_bytes(p),
                       input_map, full, (walk.chunk * p.depths + k) * gather_depth(kBytes),
                       job.first_column, step * p.lines, walk.plane, walk.item);
      }
      for (int line = 0; lines && line < p.lines; ++line) {
        sm90::load_box(shared.stages + ring.stage * p.stage_bytes + line * p.pair_bytes, output_map,
                       full, first_element<kBytes>(p, walk.chunk) + 1 - kGatherLead / kBytes,
                       first_line(p, step) + kGatherStride * line, first_plane(p, job, walk.plane),
                       job.first_channel, walk.item);
      }
      ring.next(p.stages);
      slot.next(p.stages + 1);
    }
  }
}

// By one warp: input, and grad_output's lines as they lie, of every gather_group()th channel: these
// are rows of a matrix, a multiple of 16 bytes apart, out of which TMA loads from any multiple of
// 16 bytes on. Lines outside are rows behind the last one.
template <int kBytes>
__device__ __forceinline__ void load_groups(const GatherParams& p, const GatherShared& shared,
                                            const CUtensorMap* input_map,
                                            const CUtensorMap* output_map) {
  constexpr int kGroup = gather_group(kBytes);
  const GatherJob job(p, blockIdx.x % p.jobs);
  const int lane = threadIdx.x % 32, boxes = kGroup * p.taps_d * 2;
  const auto* s = p.output_stride;
  sm90::Ring ring, slot;
  GatherWalk walk(p);
  while (walk.next(p)) {
    const int plane = first_plane(p, job, walk.plane);
    const int element = first_element<kBytes>(p, walk.chunk);
    // One more stage, of input alone: the lines before the first.
    for (int step = walk.from - 1; step < walk.to; ++step) {
      sm90::barrier_wait(shared.empty + 8 * ring.stage, ring.parity ^ 1);
      const uint32_t full = shared.full + 8 * ring.stage;
      const int all = step >= walk.from ? p.lines * boxes : 0;
      if (lane == 0) {
        sm90::barrier_arrive_expect(full, p.input_bytes + all * p.box_rows * p.line_bytes);
      }
      __syncwarp();  // lane 0 has said how much, before any of it arrives
      for (int k = lane; k < p.depths; k += 32) {
        sm90::load_box(shared.inputs + slot.stage * p.input_bytes + k * p.lines * tile_bytes(p),
                       input_map, full, (walk.chunk * p.depths + k) * gather_depth(kBytes),
                       job.first_column, step * p.lines, walk.plane, walk.item);
      }
      for (int i = lane; i < all; i += 32) {
        const int line = i / boxes, of_line = i - line * boxes, box = of_line / 2;
        const int of_group = box / p.taps_d, u = plane + box - of_group * p.taps_d;
        const int at_line = first_line(p, step) + kGatherStride * line + of_line % 2;
        const int channel = walk.item * p.out_channels + job.first_channel + of_group;
        const bool there =
            static_cast<unsigned>(u) < static_cast<unsigned>(p.output_extent[0]) &&
            static_cast<unsigned>(at_line) < static_cast<unsigned>(p.output_extent[1]);
        const int first = static_cast<int>(channel % kGroup * s[1] + u * s[2] + at_line * s[3]);
        sm90::load_box(shared.stages + ring.stage * p.stage_bytes + line * p.pair_bytes +
                           box * p.pitch + of_line % 2 * p.second_line,
                       output_map, full, (first + element) & -kGroup,
                       there ? channel / kGroup : p.box_groups, 0, 0, 0);
      }
      ring.next(p.stages);
      slot.next(p.stages + 1);
    }
  }
}

// By kGatherCopiers threads: grad_output as it lies. Four lanes share a line; a thread's rows are
// of one tap of d.
template <int kBytes>
__device__ __forceinline__ void copy_lines(const GatherParams& p, const GatherShared& shared) {
  const int thread = threadIdx.x - kConsumerThreads;
  const int lane = thread % kGatherLanes, second = thread / kGatherLanes % 2;
  const int first_row = thread / kGatherLanes / 2, first_channel = first_row / p.taps_d;
  const int tap = first_row - first_channel * p.taps_d, channels = kGatherCopied / p.taps_d;
  const GatherJob job(p, blockIdx.x % p.jobs);
  const auto* s = p.output_stride;
  const int64_t next_bytes = channels * s[1] * kBytes;
  const int next_rows = kGatherCopied * p.pitch;
  const int rows = min(p.channels, p.out_channels - job.first_channel) * p.taps_d;
  const uint32_t place = first_row * p.pitch + second * p.second_line + lane * 16;
  const int pieces = p.line_bytes / 16;
  sm90::Ring ring;
  GatherWalk walk(p);
  while (walk.next(p)) {
    // The stage of input alone.
    sm90::barrier_wait(shared.empty + 8 * ring.stage, ring.parity ^ 1);
    sm90::barrier_arrive_after_copies(shared.full + 8 * ring.stage);
    ring.next(p.stages);
    const int plane = first_plane(p, job, walk.plane) + tap;
    const int element = first_element<kBytes>(p, walk.chunk);
    const bool is_plane = static_cast<unsigned>(plane) < static_cast<unsigned>(p.output_extent[0]);
    // Bytes of a line that are in the tensor, from its first element here on.
    const int begin = max(-element, 0) * kBytes;
    const int end = (p.output_extent[2] - element) * kBytes;
    const auto origin =
        reinterpret_cast<intptr_t>(p.output) +
        (walk.item * s[0] + (job.first_channel + first_channel) * s[1] + plane * s[2] + element) *
            kBytes;
    for (int step = walk.from; step < walk.to; ++step, ring.next(p.stages)) {
      sm90::barrier_wait(shared.empty + 8 * ring.stage, ring.parity ^ 1);
      for (int line = 0; line < p.lines; ++line) {
        const int at_line = first_line(p, step) + kGatherStride * line + second;
        const bool there =
            is_plane && static_cast<unsigned>(at_line) < static_cast<unsigned>(p.output_extent[1]);
        auto run = origin + at_line * s[3] * kBytes;
        uint32_t to_row = shared.stages + ring.stage * p.stage_bytes + line * p.pair_bytes + place;
        for (int row = first_row; row < p.rows; row += kGatherCopied) {
          // A multiple of 16 bytes, and what the line begins behind it.
          const int shift = static_cast<int>(run & 15);
          const auto* from = reinterpret_cast<const unsigned char*>(run - shift) + 16 * lane;
          const bool is_row = there && row < rows;
          uint32_t to = to_row;
          int at = 16 * lane - shift;  // of a piece in the line
#pragma unroll 4
          for (int piece = lane; piece < pieces; piece += kGatherLanes) {
            copy_async<16>(to, from, is_row && at + 16 > begin && at < end ? 16 : 0);
            from += 16 * kGatherLanes;
            to += 16 * kGatherLanes;
            at += 16 * kGatherLanes;
          }
          run += next_bytes;
          to_row += next_rows;
        }
      }
      sm90::barrier_arrive_after_copies(shared.full + 8 * ring.stage);
    }
  }
}

#endif

}  // namespace convt3d::cuda::line_weight
