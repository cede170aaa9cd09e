// SPDX-License-Identifier: BSD-3-Clause
// What shared memory holds, and the warps that fill it; kernel.cuh has the roles and barriers.
#pragma once
#include "cuda/common/shared_memory.cuh"
#include "cuda/halo_gemm/params.cuh"
#include "cuda/halo_gemm/walk.cuh"
#include "cuda/sm90/ring.cuh"
#include "cuda/sm90/tma.cuh"

namespace convt3d::cuda::halo_gemm {

using sm90::Ring;

// Of the tensor that is read: the inputs of each residue of w, or all (product.h); boxes of one
// line, and of Params::box_lines.
struct Maps {
  CUtensorMap of_w[kMaxMaps], lines_of_w[kMaxMaps];
  CUtensorMap weight;  // where it stays as it is: weight_boxes.h
};

inline constexpr int kRowUnits = kRowBytes >> 4;  // in a descriptor's units

// Addresses in shared memory.
struct Shared {
  uint32_t input, weight;  // stages
  float* bias;             // [column tiles * channels], zeros without one
  uint32_t input_full, input_empty, weight_full, weight_empty;  // barriers
  SharedUnit* units;                                            // of shared items
  uint32_t lines;  // buffers of the consumer warps, or of their warpgroups

  __device__ Shared(const Params& p, unsigned char* memory, uint32_t weight_bytes, int channels,
                    bool shared_items) {
    const uint32_t start = shared_address(memory);
    input = (start + kSwizzleAlign - 1) / kSwizzleAlign * kSwizzleAlign;
    weight = input + p.input_stages * p.stage_bytes;
    const uint32_t table = weight + weight_bytes;
    bias = reinterpret_cast<float*>(memory + (table - start));
    input_full = table + p.column_tiles * channels * 4;
    input_empty = input_full + 8 * kMaxInputStages;
    weight_full = input_empty + 8 * kMaxInputStages;
    weight_empty = weight_full + 8 * kMaxWeightStages;
    const uint32_t table_of_units = weight_empty + 8 * kMaxWeightStages;
    units = reinterpret_cast<SharedUnit*>(memory + (table_of_units - start));
    lines = table_of_units + static_cast<uint32_t>(shared_unit_bytes(shared_items));
  }
};

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// One warp: those that will be used; the first box would wait for each.
__device__ __forceinline__ void prefetch_maps(const Params& p, const Maps& maps) {
  const int r = threadIdx.x % 32;
  if (p.weight_as_is && r == 0) sm90::prefetch_map(&maps.weight);
  const bool used =
      p.sum_residues > 1 ? r < p.axis[2].residues && p.axis[2].residue[r].num_taps > 0 : r == 0;
  if (!used) return;
  sm90::prefetch_map(&maps.lines_of_w[r]);
  sm90::prefetch_map(&maps.of_w[r]);
}

// load(plane, chunk, end) for the input planes of a unit, in the consumers' order.
template <int kSlots, bool kShared, typename Load>
__device__ __forceinline__ void for_input_planes(const Params& p, Unit* unit, const Load& load) {
  const Axis& axis = p.axis[0];
  if constexpr (!marches(kSlots)) {
    unit->for_planes<kShared, plane_step(kSlots)>(p, [&](int tap, int chunk, int end) {
      load(unit->axis(p, 0).first_input - tap * axis.input_step, chunk, end);
    });
  } else if (unit->loads) {
    const int first = p.first_plane + unit->begin;
    const int last = min(p.first_plane + unit->end, axis.input);
    for (int plane = max(first - (axis.kernel - 1) / axis.stride, 0); plane < last; ++plane) {
      load(plane, 0, p.chunks);
    }
  }
}

// One warp; in the consumers' order. A lane has every 32nd line of a tile; those of a plane that
// are box_lines or more come together, by the lanes of every box_lines-th of them: the last of
// these boxes begins earlier and brings some lines again. Measured: 512 -> 256 k4 s2 on 100 x 4^3
// in bfloat16 297 us with boxes of one line, 260 so.
template <int kSlots, bool kShared>
__device__ __forceinline__ void load_input(const Params& p, const Shared& shared,
                                           const Maps& maps) {
  constexpr bool kMarching = marches(kSlots);
  constexpr int kStep = plane_step(kSlots);
  const int lane = threadIdx.x % 32;
  Ring input;
  Walk<kMarching, kShared> walk(p, shared.units);
  Unit unit;
  for (int round = 0; walk.template next<false>(p, round, &unit); ++round) {
    const int first_line = unit.first / p.pitch;
    const int rows = p.warpgroups * kGroupRows;
    const Line mine(p, first_line + lane);
    const auto load = [&](int plane, int chunk, int end) {
      const Residue &of_d = unit.axis(p, 0), &of_h = unit.axis(p, 1);
      const int lines = (unit.first + rows - 1 + unit.shift) / p.pitch - first_line + 1;
      const int w = unit.strip * p.strip + unit.halo_w;
      const int h = of_h.first_input - (of_h.num_taps - 1) * p.axis[1].input_step;
      const int map = p.sum_residues > 1 ? unit.residue[2] : 0;
      for (; chunk < end; ++chunk) {
        sm90::barrier_wait(shared.input_empty + 8 * input.stage, input.parity ^ 1);
        const uint32_t full = shared.input_full + 8 * input.stage;
        const uint32_t stage = shared.input + input.stage * p.stage_bytes;
        int brought = 0;  // lines
#pragma unroll 1
        for (int first = 0; first < lines; first += 32) {
          int line = first + lane, box = 0;
          if (line < lines) {
            const Line at = first == 0 ? mine : Line(p, first_line + line);
            int at_h = at.h;
            // Of this plane's lines in the tile.
            const int before = min(line, at_h), after = min(lines - line, p.lines - at_h);
            const bool together = before + after >= p.box_lines;
            const int back = together ? max(p.box_lines - after, 0) : 0;
            if (!together || before % p.box_lines == 0) {
              box = together ? p.box_lines : 1;
              line -= back;
              at_h -= back;
              sm90::load_box(stage + line * p.pitch * kRowBytes,
                             together ? &maps.lines_of_w[map] : &maps.of_w[map], full,
                             chunk * p.chunk_channels, w,
                             of_h.input_offset + p.axis[1].input_stride * (h + at_h),
                             of_d.input_offset + p.axis[0].input_stride * (plane + kStep * at.d),
                             at.n);
            }
          }
          brought += __reduce_add_sync(~0u, box);
        }
        // No phase ends before this, whatever has landed.
        if (lane == 0) sm90::barrier_arrive_expect(full, brought * p.pitch * kRowBytes);
        input.next(p.input_stages);
      }
    };
    for_input_planes<kSlots, kShared>(p, &unit, load);
  }
}

// One lane; in the consumers' order.
template <int kSlots, bool kShared, int kFused, int kBlockBytes>
__device__ __forceinline__ void copy_weights(const Params& p, const Shared& shared,
                                             const Maps& maps) {
  constexpr bool kMarching = marches(kSlots);
  if (p.resident) {
    const int blocks = (kMarching ? 1 : p.axis[0].kernel) * p.axis[1].kernel * p.axis[2].kernel *
                       p.chunks * p.column_tiles;
    sm90::barrier_arrive_expect(shared.weight_full, blocks * kBlockBytes);
    sm90::bulk_copy(shared.weight, p.packed, blocks * kBlockBytes, shared.weight_full);
    return;
  }
  Ring weight;
  Walk<kMarching, kShared> walk(p, shared.units);
  Unit unit;
  for (int round = 0; walk.template next<false>(p, round, &unit); ++round) {
    const auto copy = [&](int tap, int chunk, int end) {
      for (; chunk < end; ++chunk) {
        for (int f = 0; f < kFused; ++f) {
          const Taps taps(p, unit, kMarching, f);
          const unsigned char* from =
              p.packed + int64_t{taps.block + (tap * p.chunks + chunk) * taps.count} * kBlockBytes;
          for (int left = taps.count; left > 0; left -= p.weight_group) {
            const uint32_t bytes = min(left, p.weight_group) * kBlockBytes;
            const uint32_t full = shared.weight_full + 8 * weight.stage;
            sm90::barrier_wait(shared.weight_empty + 8 * weight.stage, weight.parity ^ 1);
            sm90::barrier_arrive_expect(full, bytes);
            uint32_t to = shared.weight + weight.stage * (p.weight_group * kBlockBytes);
            if (kShared && p.weight_as_is) {
              for (int at = taps.count - left; at < taps.count - left + min(left, p.weight_group);
                   ++at, to += kBlockBytes) {
                sm90::load_box(
                    to, &maps.weight, full,
                    weight_tap(p, unit, taps, tap, at) * p.in_channels + chunk * p.chunk_channels,
                    0, 0, 0, unit.column_tile * p.tile_runs);
              }
            } else {
              sm90::bulk_copy(to, from, bytes, full);
              from += bytes;
            }
            weight.next(p.weight_stages);
          }
        }
      }
    };
    if constexpr (!kMarching) {
      unit.for_planes<kShared, plane_step(kSlots)>(p, copy);
    } else {
      const Axis& axis = p.axis[0];
      const int begin = p.first_plane + unit.begin;
      const int last = min(p.first_plane + unit.end, axis.input);
      for (int plane = max(begin - (axis.kernel - 1) / axis.stride, 0); plane < last; ++plane) {
        copy(0, 0, p.chunks);
      }
    }
  }
}

#endif

}  // namespace convt3d::cuda::halo_gemm
