// SPDX-License-Identifier: BSD-3-Clause
// The way of the sums into the tensor: one slot, channels innermost, straight from registers.
#pragma once
#include "cuda/common/element.cuh"
#include "cuda/halo_gemm/params.cuh"
#include "cuda/halo_gemm/runs.cuh"

namespace convt3d::cuda::halo_gemm {

// The two rows of sums that a thread has, as outputs of the unit's first residue of w.
struct Rows {
  int64_t offset[2];  // elements, without column tile and residue of w; marching: of output plane 0
  int w[2];           // or more than there are: a position between lines or planes

  Rows() = default;
  // `step`: output planes of a position.
  __device__ Rows(const Params& p, const Unit& unit, bool marching, int step, int row) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      unsigned rest = unit.first + row + 8 * i;
      const int x = take(&rest, p.pitch), h = take(&rest, p.lines);
      const int d = take(&rest, p.planes) * step + unit.slot, n = static_cast<int>(rest);
      bool there = n < p.batch && h < unit.axis(p, 1).num_outputs && x < p.strip;
      w[i] = unit.strip * p.strip + x;
      offset[i] =
          n * p.output_stride[0] +
          (unit.axis(p, 1).first_output + int64_t{h} * p.axis[1].stride) * p.output_stride[3] +
          int64_t{w[i]} * p.axis[2].stride * p.output_stride[4];
      if (!marching) {
        there = there && d < unit.axis(p, 0).num_outputs;
        offset[i] +=
            (unit.axis(p, 0).first_output + int64_t{d} * p.axis[0].stride) * p.output_stride[2];
      }
      if (!there) w[i] = INT32_MAX;
    }
  }
};

// `sum` are a thread's sums, kChannels / 2 in a slot; `bias` a table in shared memory.
template <typename T, int kChannels, int kSlot = 0, int kSums>
__device__ __forceinline__ void store(const Params& p, const float* bias, int column_tile,
                                      const Residue& of_w, const Rows& rows, int64_t plane,
                                      const float (&sum)[kSums]) {
  constexpr int kGroups = kChannels / 8;
  constexpr uint32_t kStarts = run_starts<T>(kGroups);
  const int quad = threadIdx.x % 4;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    if (rows.w[i] >= of_w.num_outputs) continue;
    T* const position =
        static_cast<T*>(p.output) + rows.offset[i] + plane + of_w.first_output * p.output_stride[4];
#pragma unroll
    for (int j = 0; j < kGroups; ++j) {
      // The compiler unrolls this over the runs: those j where none starts vanish. (Bits where it
      // marches: 192 columns spill; the loop where it does not: sums in local memory.)
      if constexpr (kSums == kChannels / 2) {
        if (!(kStarts >> j & 1)) continue;
      } else {
        int start = 0;
        while (start + run_width<T>(start, kGroups) <= j) start += run_width<T>(start, kGroups);
        if (start != j) continue;
      }
      const int width = run_width<T>(j, kGroups);
      const int channel = column_tile * kChannels + 8 * j + quad * 2 * width;
      if (channel >= p.out_channels) continue;
      const auto value = [&](int c) {
        return sum[kSlot * kChannels / 2 + 4 * (j + c / 2) + 2 * i + c % 2] + bias[channel + c];
      };
      T* const output = position + channel;
      if constexpr (sizeof(T) == 4) {
        if (width == 2) {
          *reinterpret_cast<float4*>(output) = make_float4(value(0), value(1), value(2), value(3));
        } else {
          *reinterpret_cast<float2*>(output) = make_float2(value(0), value(1));
        }
      } else if (width == 4) {
        *reinterpret_cast<uint4*>(output) =
            make_uint4(pack_pair<T>(value(0), value(1)), pack_pair<T>(value(2), value(3)),
                       pack_pair<T>(value(4), value(5)), pack_pair<T>(value(6), value(7)));
      } else if (width == 2) {
        *reinterpret_cast<uint2*>(output) =
            make_uint2(pack_pair<T>(value(0), value(1)), pack_pair<T>(value(2), value(3)));
      } else {
        *reinterpret_cast<uint32_t*>(output) = pack_pair<T>(value(0), value(1));
      }
      // The bias of the next run stays behind, or it would take registers.
      asm volatile("" ::: "memory");
    }
  }
}

}  // namespace convt3d::cuda::halo_gemm
