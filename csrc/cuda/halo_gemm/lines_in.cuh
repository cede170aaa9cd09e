// SPDX-License-Identifier: BSD-3-Clause
// TF32, NCDHW: input as it lies, A in registers.
//
//   stage[line][channel of the chunk][what the taps of the line read]     from TMA, rounded
//
// A thread's elements of A are words of it: of its two positions, channels lane % 4 and 4 more. A
// tap of h or w is an offset that all threads add, and so nothing is packed before. Between lines
// are no positions, as each thread knows its own: Params::pitch is a line's outputs. While wgmmas
// of half of a tap's steps run, the words of the next half are loaded.
#pragma once
#include "cuda/halo_gemm/kernel.cuh"
#include "cuda/halo_gemm/lines_in_limits.h"
#include "cuda/sm90/wgmma.cuh"

namespace convt3d::cuda::halo_gemm {

class LinesIn;

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

class LinesIn {
 public:
  // One warp; in the consumers' order. A lane has every 32nd line of a tile.
  template <int kSlots, bool kShared>
  static __device__ __forceinline__ void load(const Params& p, const Shared& shared,
                                              const Maps& maps) {
    constexpr bool kMarching = marches(kSlots);
    constexpr int kStep = plane_step(kSlots);
    const int lane = threadIdx.x % 32, line_bytes = 4 * line_words(p);
    Ring input;
    Walk<kMarching, kShared> walk(p, shared.units);
    Unit unit;
    for (int round = 0; walk.template next<false>(p, round, &unit); ++round) {
      const int first_line = slot_of(p, unit.first / p.pitch);
      const int last_line = slot_of(p, (unit.first + p.warpgroups * kGroupRows - 1) / p.pitch);
      const auto load = [&](int plane, int chunk, int end) {
        const Residue& of_h = unit.axis(p, 1);
        const int span = (of_h.num_taps - 1) * p.axis[1].input_step;
        const int lines = last_line + span - first_line + 1;
        const int w = first_word(p, unit), h = of_h.first_input - span;
        for (; chunk < end; ++chunk) {
          sm90::barrier_wait(shared.input_empty + 8 * input.stage, input.parity ^ 1);
          const uint32_t full = shared.input_full + 8 * input.stage;
          const uint32_t stage = shared.input + input.stage * p.stage_bytes;
          if (lane == 0) sm90::barrier_arrive_expect(full, lines * line_bytes);
          __syncwarp();  // no phase ends before this
#pragma unroll 1
          for (int line = lane; line < lines; line += 32) {
            unsigned rest = first_line + line;
            const int at_h = take(&rest, slots(p)), at_d = take(&rest, p.planes);
            sm90::load_box(stage + line * line_bytes, &maps.of_w[0], full, w - ahead(w),
                           chunk * p.chunk_channels, h + at_h, plane + kStep * at_d,
                           static_cast<int>(rest));
          }
          input.next(p.input_stages);
        }
      };
      for_input_planes<kSlots, kShared>(p, &unit, load);
    }
  }

  __device__ LinesIn(const Params& p, const Unit& unit, int group_row) {
    const int lane = threadIdx.x % 32, first_line = slot_of(p, unit.first / p.pitch);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      unsigned line = unit.first + group_row + threadIdx.x / 32 % 4 * 16 + lane / 4 + 8 * i;
      const int x = take(&line, p.pitch);
      at_[i] = 4 * ((slot_of(p, line) - first_line) * line_words(p) + lane % 4 * width(p) + x +
                    ahead(first_word(p, unit)));
    }
  }

  template <typename T, int kColumns, int kSteps, bool kRows>
  __device__ __forceinline__ void multiply(const Params& p, const Shared& shared, const Unit& unit,
                                           const Taps& taps, int fused, int stage, int block,
                                           Ring* weight, float (&sum)[kColumns / 2]) const {
    static_assert(sizeof(T) == 4 && kSteps == kLinesInSteps && !kRows);
    using Product = sm90::Wgmma<T, kColumns>;
    constexpr int kStep = kColumns * 32 >> 4, kBlock = kSteps * kStep;  // in a descriptor's units
    constexpr int kHalf = (kSteps + 1) / 2;
    const int four = 16 * width(p);  // bytes of four channels
    const int step_w = 4 * p.axis[2].input_step;
    const int line = 4 * line_words(p) * p.axis[1].input_step, step_h = line - taps.w * step_w;
    // Of tap 0, the last one.
    int tap = max(unit.axis(p, 1).num_taps - 1, 0) * line +
              4 * (unit.axis(p, 2, fused).first_input - unit.halo_w);
    const uint32_t from = shared.input + stage * p.stage_bytes;
    uint32_t even[kHalf][4] = {}, odd[kSteps - kHalf][4] = {};
    const auto settle = [](auto& a) {
#pragma unroll
      for (auto& of_step : a) {
#pragma unroll
        for (uint32_t& word : of_step) asm volatile("" : "+r"(word));
      }
    };
    const auto fetch = [&](auto& a, int step) {
      const uint32_t of_tap = from + max(tap, 0) + step * 2 * four;
#pragma unroll
      for (auto& of_step : a) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          of_step[i] = load_shared(of_tap + at_[i % 2] + (&of_step - a) * 2 * four + i / 2 * four);
        }
      }
    };
    const auto run = [&](auto& a, uint64_t b) {
      sm90::wgmma_fence();
#pragma unroll
      for (auto& of_step : a) Product::run(sum, of_step, b + (&of_step - a) * kStep, 1);
      sm90::wgmma_commit();
    };
    const uint64_t b_start = sm90::b_descriptor(shared.weight);
    int left_w = taps.w;
    fetch(even, 0);
    for_weights<kBlock>(p, shared, taps, b_start, block, weight, [&](uint64_t b, int group) {
#pragma unroll 1
      do {
        run(even, b);
        sm90::wgmma_wait<1>();  // those before have read `odd`
        settle(odd);
        fetch(odd, kHalf);
        run(odd, b + kHalf * kStep);
        b += kBlock;
        tap -= step_w;
        if (--left_w == 0) {
          left_w = taps.w;
          tap -= step_h;
        }
        sm90::wgmma_wait<1>();
        settle(even);
        fetch(even, 0);  // of the next tap; behind the last one of whatever is there
      } while (--group > 0);
      sm90::wgmma_wait<0>();
      settle(even);
      settle(odd);
      sm90::pin(sum);
    });
  }

 private:
  // Of a line, what position 0 of the strip reads first; and how much of the box comes before it.
  static __device__ int first_word(const Params& p, const Unit& unit) {
    return unit.strip * p.strip + unit.halo_w;
  }
  static __device__ int ahead(int word) { return word & (kBoxWords - 1); }
  // Lines of a plane in shared memory, with those that only taps reach.
  static __device__ int slots(const Params& p) { return p.lines + p.axis[1].halo_span; }
  static __device__ int slot_of(const Params& p, int line) {
    return line + line / p.lines * p.axis[1].halo_span;
  }
  static __device__ int width(const Params& p) { return line_width(p.strip + p.axis[2].halo_span); }
  static __device__ int line_words(const Params& p) { return p.chunk_channels * width(p); }

  int at_[2];
};

#endif

}  // namespace convt3d::cuda::halo_gemm
