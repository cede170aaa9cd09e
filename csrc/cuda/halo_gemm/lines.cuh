// SPDX-License-Identifier: BSD-3-Clause
// The sums' way into an output whose positions are contiguous (NCDHW). A thread has two positions
// of many channels, and storing them one by one writes parts of sectors: 21 to 31 clocks an
// instruction and SM. Instead a warp turns its 16 positions, of all residues of w that share the
// tile, around in its own piece of shared memory, 8 channels at a time:
//
//   staging[8 channels][16 positions x residues of w]      pitch: 16 bytes more, for the banks
//
// and each store instruction writes 16 or 32 neighbouring elements of a line.
#pragma once
#include "cuda/common/element.cuh"
#include "cuda/halo_gemm/params.cuh"
#include "cuda/halo_gemm/runs.cuh"

namespace convt3d::cuda::halo_gemm {

// The output of a lane: position lane % 16 of the warp's, or lane / 2 where the residues of w are
// fused, whose residue is then lane % 2.
struct LineRow {
  int64_t offset;  // elements, without column tile; marching: of output plane 0
  bool there;      // not between lines or planes

  template <int kFused>
  static __device__ LineRow make(const Params& p, const Unit& unit, bool marching, int first_row) {
    const int lane = threadIdx.x % 32;
    const int place = kFused == 1 ? lane % 16 : lane / 2;
    const Residue& of_h = unit.axis(p, 1);
    const Residue& of_w = unit.axis(p, 2, kFused == 1 ? 0 : lane % 2);
    unsigned rest = unit.first + first_row + place;
    const int x = take(&rest, p.pitch), h = take(&rest, p.lines), d = take(&rest, p.planes);
    const int n = static_cast<int>(rest), w = unit.strip * p.strip + x;
    LineRow row;
    row.there = n < p.batch && h < of_h.num_outputs && x < p.strip && w < of_w.num_outputs;
    row.offset = n * p.output_stride[0] +
                 (of_h.first_output + int64_t{h} * p.axis[1].stride) * p.output_stride[3] +
                 (of_w.first_output + int64_t{w} * p.axis[2].stride) * p.output_stride[4];
    if (!marching) {
      const Residue& of_d = unit.axis(p, 0);
      row.there = row.there && d < of_d.num_outputs;
      row.offset += (of_d.first_output + int64_t{d} * p.axis[0].stride) * p.output_stride[2];
    }
    return row;
  }
};

template <typename T>
__device__ __forceinline__ void store_shared_element(uint32_t address, T value) {
  if constexpr (sizeof(T) == 4) {
    asm volatile("st.shared.f32 [%0], %1;" ::"r"(address), "f"(value) : "memory");
  } else {
    const auto bits = *reinterpret_cast<const unsigned short*>(&value);
    asm volatile("st.shared.b16 [%0], %1;" ::"r"(address), "h"(bits) : "memory");
  }
}
template <typename T>
__device__ __forceinline__ T load_shared_element(uint32_t address) {
  if constexpr (sizeof(T) == 4) {
    float value;
    asm volatile("ld.shared.f32 %0, [%1];" : "=f"(value) : "r"(address) : "memory");
    return value;
  } else {
    unsigned short bits;
    asm volatile("ld.shared.b16 %0, [%1];" : "=h"(bits) : "r"(address) : "memory");
    return *reinterpret_cast<const T*>(&bits);
  }
}

// One slot: the first kChannels / 2 of a thread's sums of each residue of w. `bias` and `staging`
// (of this warp) lie in shared memory.
template <typename T, int kChannels, int kFused, int kSums>
__device__ __forceinline__ void store_lines(const Params& p, const float* bias, int column_tile,
                                            const LineRow& row, int64_t plane, uint32_t staging,
                                            const float (&sum)[kFused][kSums]) {
  static_assert(kFused <= 2);
  constexpr int kGroups = kChannels / 8, kSize = sizeof(T), kPitch = line_pitch(kFused, kSize);
  const int lane = threadIdx.x % 32, quad = lane % 4;
  const uint32_t written = staging + 2 * quad * kPitch + lane / 4 * kFused * kSize;
  const int slot = kFused == 1 ? lane / 16 : 0;  // of the first store
  const uint32_t read = staging + slot * kPitch + (kFused == 1 ? lane % 16 : lane) * kSize;
  T* const line = static_cast<T*>(p.output) + row.offset + plane;
#pragma unroll
  for (int j = 0; j < kGroups; ++j) {
    int start = 0;
    while (start + run_width<T>(start, kGroups) <= j) start += run_width<T>(start, kGroups);
    const int width = run_width<T>(start, kGroups);
    const int first = column_tile * kChannels + 8 * start + 2 * (j - start);
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const float add = bias[first + quad * 2 * width + e];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
#pragma unroll
        for (int f = 0; f < kFused; ++f) {
          store_shared_element(written + e * kPitch + (8 * i * kFused + f) * kSize,
                               narrow<T>(sum[f][4 * j + 2 * i + e] + add));
        }
      }
    }
    __syncwarp();  // written -> read
#pragma unroll
    for (int s = 0; s < 8; s += kFused == 1 ? 2 : 1) {
      // Slot s + `slot`, which is odd or 0: the first of a quad's two channels, or the second.
      const int channel = first + s / 2 * 2 * width + s % 2 + slot;
      const T value = load_shared_element<T>(read + s * kPitch);
      if (row.there && channel < p.out_channels) line[channel * p.output_stride[1]] = value;
    }
    __syncwarp();  // read -> written
  }
}

}  // namespace convt3d::cuda::halo_gemm
