// SPDX-License-Identifier: BSD-3-Clause
// The sums' way into an output whose positions are contiguous (NCDHW). A thread has two positions
// of many channels, and storing them one by one writes parts of sectors: 21 to 31 clocks an
// instruction and SM. Instead a warp turns its 16 positions, of all residues of w that share the
// tile, around in its own piece of shared memory, 8 channels at a time:
//
//   staging[8 channels][16 positions x residues of w]      line_pitch(): for the banks
//
// and stores neighbours of a line. Where all lines start at even elements (p.line_pairs) a lane
// stores two at once, where lines and tiles start at pieces of 16 bytes (p.line_pieces) one of
// those, else an element. Odd lines of fused residues: fused_lines.cuh.
#pragma once
#include "cuda/common/element.cuh"
#include "cuda/common/shared_memory.cuh"
#include "cuda/common/shared_words.cuh"
#include "cuda/halo_gemm/params.cuh"
#include "cuda/halo_gemm/runs.cuh"

namespace convt3d::cuda::halo_gemm {

// What a lane stores: where in the output, in elements, without column tile; marching: of output
// plane 0. `extent` here is whether it does, as there is nothing to store between lines or planes.
struct LinePlace {
  int64_t offset;
  int extent;
};

// Lanes that have 16 positions of fused residues, 16 bytes each.
constexpr int piece_lanes(int element_bytes) { return 2 * element_bytes; }

// Pairs: 8 lanes have 16 positions, or 16 lanes those of both residues. One by one: position lane %
// 16, or lane / 2 where the residues are fused, whose residue is lane % 2.
template <typename T, int kFused, int kStep>
__device__ __forceinline__ LinePlace position_place(const Params& p, const Unit& unit,
                                                    bool marching, int first_row) {
  const int lane = threadIdx.x % 32;
  constexpr int kLanes = piece_lanes(sizeof(T));
  const int at = kFused > 1 && p.line_pieces ? lane % kLanes * (16 / kLanes)
                 : p.line_pairs              ? (kFused == 1 ? lane % 8 * 2 : lane % 16)
                                             : (kFused == 1 ? lane % 16 : lane / 2);
  const bool second = kFused > 1 && !p.line_pairs && lane % 2 != 0;
  const Residue &of_h = unit.axis(p, 1), &of_w = unit.axis(p, 2, second ? 1 : 0);
  unsigned rest = unit.first + first_row + at;
  const int x = take(&rest, p.pitch), h = take(&rest, p.lines);
  const int d = take(&rest, p.planes) * kStep + unit.slot;
  const int n = static_cast<int>(rest), w = unit.strip * p.strip + x;
  bool there = n < p.batch && h < of_h.num_outputs && x < p.strip && w < of_w.num_outputs;
  LinePlace place;
  place.offset = n * p.output_stride[0] +
                 (of_h.first_output + int64_t{h} * p.axis[1].stride) * p.output_stride[3] +
                 (of_w.first_output + int64_t{w} * p.axis[2].stride) * p.output_stride[4];
  if (!marching) {
    const Residue& of_d = unit.axis(p, 0);
    there = there && d < of_d.num_outputs;
    place.offset += (of_d.first_output + int64_t{d} * p.axis[0].stride) * p.output_stride[2];
  }
  place.extent = there;
  return place;
}

// Bytes from the staging's start. Rows of 32 bytes are without padding: their halves change places
// in the lower four.
template <typename T, int kFused>
__device__ __forceinline__ uint32_t staged(int row, int byte) {
  constexpr int kPitch = line_pitch(kFused, sizeof(T));
  return row * kPitch + (kPitch == 32 ? byte ^ (row / 4 * 16) : byte);
}

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
    return __uint_as_float(load_shared(address));
  } else {
    unsigned short bits;
    asm volatile("ld.shared.b16 %0, [%1];" : "=h"(bits) : "r"(address) : "memory");
    return *reinterpret_cast<const T*>(&bits);
  }
}

template <typename T>
__device__ __forceinline__ void store_shared_pair(uint32_t address, float low, float high) {
  if constexpr (sizeof(T) == 4) {
    asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(address), "f"(low), "f"(high) : "memory");
  } else {
    asm volatile("st.shared.b32 [%0], %1;" ::"r"(address), "r"(pack_pair<T>(low, high)) : "memory");
  }
}
// From shared memory to two elements of the output.
template <typename T>
__device__ __forceinline__ void copy_pair(T* output, uint32_t address, bool there) {
  if constexpr (sizeof(T) == 4) {
    float2 pair;
    asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];"
                 : "=f"(pair.x), "=f"(pair.y)
                 : "r"(address)
                 : "memory");
    if (there) *reinterpret_cast<float2*>(output) = pair;
  } else {
    const uint32_t pair = load_shared(address);
    if (there) *reinterpret_cast<uint32_t*>(output) = pair;
  }
}

template <typename T>
__device__ __forceinline__ void copy_piece(T* output, uint32_t address, bool there) {
  uint32_t word[4];
  load_words(word, address);
  if (there) *reinterpret_cast<uint4*>(output) = make_uint4(word[0], word[1], word[2], word[3]);
}

// 16 rows of 8 columns, as the sums hold them, as 8 rows of 16; lanes 0 .. 15 give their halves.
__device__ __forceinline__ void store_transposed(uint32_t half_row, uint32_t upper,
                                                 uint32_t lower) {
  asm volatile("stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%0], {%1, %2};" ::"r"(half_row),
               "r"(upper), "r"(lower)
               : "memory");
}

// One slot: kChannels / 2 of a thread's sums of each residue of w. `bias` and `staging`
// (of this warp) lie in shared memory.
template <typename T, int kChannels, int kSlot, int kFused, int kSums>
__device__ __forceinline__ void store_lines(const Params& p, const float* bias, int column_tile,
                                            const LinePlace& place, int64_t plane, uint32_t staging,
                                            const float (&sum)[kFused][kSums]) {
  static_assert(kFused <= 2);
  constexpr int kGroups = kChannels / 8, kSize = sizeof(T);
  constexpr int kPairLanes = 8 * kFused, kAtOnce = 32 / kPairLanes;  // of a channel, channels
  const int lane = threadIdx.x % 32, quad = lane % 4;
  T* const line = static_cast<T*>(p.output) + place.offset + plane;
#pragma unroll
  for (int j = 0; j < kGroups; ++j) {
    int start = 0;
    while (start + run_width<T>(start, kGroups) <= j) start += run_width<T>(start, kGroups);
    const int width = run_width<T>(start, kGroups);
    const int first = column_tile * kChannels + 8 * start + 2 * (j - start);
    // Row 2 quad + e of the staging is channel first + 2 width quad + e.
    const auto channel_of = [&](int at) { return first + at / 2 * 2 * width + at % 2; };
    const float add[2] = {bias[channel_of(2 * quad)], bias[channel_of(2 * quad + 1)]};
    const auto value = [&](int f, int i, int e) {
      return sum[f][kSlot * kChannels / 2 + 4 * j + 2 * i + e] + add[e];
    };
    if (p.line_pairs) {
      if constexpr (kFused == 1 && kSize == 2) {
        store_transposed(staging + staged<T, 1>(lane % 8, lane / 8 % 2 * 16),
                         pack_pair<T>(value(0, 0, 0), value(0, 0, 1)),
                         pack_pair<T>(value(0, 1, 0), value(0, 1, 1)));
      } else {
#pragma unroll
        for (int ei = 0; ei < 4; ++ei) {
          const int e = ei / 2, i = ei % 2, byte = (lane / 4 + 8 * i) * kFused * kSize;
          const uint32_t to = staging + staged<T, kFused>(2 * quad + e, byte);
          if constexpr (kFused == 1) {
            store_shared_element(to, narrow<T>(value(0, i, e)));
          } else {
            store_shared_pair<T>(to, value(0, i, e), value(kFused - 1, i, e));
          }
        }
      }
      __syncwarp();  // written -> read
      if (kFused > 1 && p.line_pieces) {
        constexpr int kLanes = piece_lanes(kSize);
#pragma unroll
        for (int s = 0; s < 8; s += 32 / kLanes) {
          const int at = s + lane / kLanes, channel = channel_of(at);
          copy_piece(line + channel * p.output_stride[1],
                     staging + staged<T, kFused>(at, lane % kLanes * 16),
                     place.extent != 0 && channel < p.out_channels);
        }
        __syncwarp();  // read -> written
        continue;
      }
#pragma unroll
      for (int s = 0; s < 8; s += kAtOnce) {
        const int at = s + lane / kPairLanes, channel = channel_of(at);
        copy_pair(line + channel * p.output_stride[1],
                  staging + staged<T, kFused>(at, lane % kPairLanes * 2 * kSize),
                  place.extent != 0 && channel < p.out_channels);
      }
    } else {
#pragma unroll
      for (int ei = 0; ei < 4; ++ei) {
        const int e = ei / 2, i = ei % 2;
#pragma unroll
        for (int f = 0; f < kFused; ++f) {
          const int byte = ((lane / 4 + 8 * i) * kFused + f) * kSize;
          store_shared_element(staging + staged<T, kFused>(2 * quad + e, byte),
                               narrow<T>(value(f, i, e)));
        }
      }
      __syncwarp();  // written -> read
      constexpr int kOneAtOnce = kFused == 1 ? 2 : 1;
#pragma unroll
      for (int s = 0; s < 8; s += kOneAtOnce) {
        const int at = s + (kFused == 1 ? lane / 16 : 0), channel = channel_of(at);
        const int byte = (kFused == 1 ? lane % 16 : lane) * kSize;
        const T element = load_shared_element<T>(staging + staged<T, kFused>(at, byte));
        if (place.extent != 0 && channel < p.out_channels)
          line[channel * p.output_stride[1]] = element;
      }
    }
    __syncwarp();  // read -> written
  }
}

}  // namespace convt3d::cuda::halo_gemm
