// SPDX-License-Identifier: BSD-3-Clause
// The producers of paired_kernel.cuh. A stage is what a plane and 64 bytes of channels of a unit
// need: the lines of its input, and behind them the weights of these taps.
#pragma once
#include "cuda/halo_gemm/paired_params.cuh"
#include "cuda/sm90/ring.cuh"
#include "cuda/sm90/tma.cuh"

namespace convt3d::cuda::halo_gemm {

// Of the input; boxes of one line, and of Params::box_lines.
struct PairedMaps {
  CUtensorMap line, lines;
};

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// One warp. A lane has every 32nd line of a tile; lines of a plane come together as in load_input()
// of loads.cuh.
__device__ __forceinline__ void load_paired_input(const Params& p, const PairedParams& q,
                                                  const PairedShared& shared,
                                                  const PairedMaps& maps) {
  const int lane = threadIdx.x % 32, rows = p.warpgroups * kGroupRows;
  const int chunk_channels = p.chunk_channels;
  sm90::Ring ring;
  Unit unit;
  for (int round = 0; PairedWalk::next(p, q, round, &unit); ++round) {
    int first_line = unit.first, last_line = unit.first + rows - 1 + unit.shift;
    divide(&first_line, q.pitch);
    divide(&last_line, q.pitch);
    const int lines = last_line - first_line + 1;
    const PairedLine mine(q, first_line + lane);
    const Residue &of_d = unit.axis(p, 0), &of_h = unit.axis(p, 1);
    const int w = unit.strip * p.strip + unit.halo_w;
    const int h = of_h.first_input - (of_h.num_taps - 1) * p.axis[1].input_step;
    unit.for_planes<false, 1>(p, [&](int tap, int chunk, int end) {
      const int plane = of_d.first_input - tap * p.axis[0].input_step;
      for (; chunk < end; ++chunk) {
        sm90::barrier_wait(shared.empty + 8 * ring.stage, ring.parity ^ 1);
        const uint32_t full = shared.full + 8 * ring.stage;
        const uint32_t stage = shared.stages + ring.stage * q.stage_bytes;
        int brought = 0;  // lines
#pragma unroll 1
        for (int first = 0; first < lines; first += 32) {
          const int line = first + lane;
          int box = 0;
          if (line < lines) {
            const PairedLine at = first == 0 ? mine : PairedLine(q, first_line + line);
            // Of this plane's lines in the tile.
            const int before = min(line, at.h), after = min(lines - line, p.lines - at.h);
            const bool together = before + after >= p.box_lines;
            const int back = together ? max(p.box_lines - after, 0) : 0;
            if (!together || before % p.box_lines == 0) {
              box = together ? p.box_lines : 1;
              sm90::load_box(stage + (line - back) * p.pitch * kPairedRowBytes,
                             together ? &maps.lines : &maps.line, full, chunk * chunk_channels, w,
                             h + at.h - back, plane + at.d, at.n);
            }
          }
          brought += __reduce_add_sync(~0u, box);
        }
        // No phase ends before this, whatever has landed.
        if (lane == 0) {
          sm90::barrier_arrive_expect(full, brought * p.pitch * kPairedRowBytes);
        }
        ring.next(q.stages);
      }
    });
  }
}

// One lane.
__device__ __forceinline__ void copy_paired_weights(const Params& p, const PairedParams& q,
                                                    const PairedShared& shared) {
  const int of_plane = p.chunks * q.blocks;  // blocks of one tap of d and h
  sm90::Ring ring;
  Unit unit;
  for (int round = 0; PairedWalk::next(p, q, round, &unit); ++round) {
    const Residue &of_d = unit.axis(p, 0), &of_h = unit.axis(p, 1);
    const int64_t start = unit.column_tile * p.axis[0].kernel * p.axis[1].kernel +
                          of_d.taps_before * p.axis[1].kernel + of_d.num_taps * of_h.taps_before;
    const uint32_t bytes = of_h.num_taps * q.blocks * kPairedBlockBytes;
    unit.for_planes<false, 1>(p, [&](int tap, int chunk, int end) {
      const unsigned char* from =
          p.packed + (start * of_plane + tap * of_plane * of_h.num_taps) * kPairedBlockBytes;
      for (; chunk < end; ++chunk, from += bytes) {
        const uint32_t full = shared.full + 8 * ring.stage;
        sm90::barrier_wait(shared.empty + 8 * ring.stage, ring.parity ^ 1);
        sm90::barrier_arrive_expect(full, bytes);
        sm90::bulk_copy(shared.stages + ring.stage * q.stage_bytes + p.stage_bytes, from, bytes,
                        full);
        ring.next(q.stages);
      }
    });
  }
}

#endif

}  // namespace convt3d::cuda::halo_gemm
