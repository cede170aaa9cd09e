// SPDX-License-Identifier: BSD-3-Clause
// Where a shift is a tap of one residue of w only, paired_kernel.cuh multiplies the input of the
// other's outputs by zeros, and an infinity or NaN makes them NaN. Outputs that are not finite are
// computed once more here, by their formula.
#pragma once
#include "cuda/common/mma_sync.cuh"
#include "cuda/halo_gemm/paired_store.cuh"

namespace convt3d::cuda::halo_gemm {

// An operand as the tensor cores take it.
template <typename T>
__device__ __forceinline__ float rounded(T value) {
  if constexpr (sizeof(T) == 4) {
    return __uint_as_float(round_to_tf32(__float_as_uint(value)));
  } else {
    return widen(value);
  }
}

// Output of a channel: of position w of a line, in the residue of w that matrix rows `e` are.
template <typename T>
__device__ __forceinline__ float one_output(const Params& p, const PairedParams& q,
                                            const Unit& unit, unsigned position, int e, int channel,
                                            float bias) {
  unsigned rest = position;
  const int x = take(&rest, p.pitch), h = take(&rest, p.lines), d = take(&rest, p.planes);
  const int at[3] = {d, h, unit.strip * p.strip + x - (e == 0 ? q.lead : 0)};
  const Residue* const residue[3] = {&unit.axis(p, 0), &unit.axis(p, 1), &q.of_w[e]};
  const int step[3] = {p.axis[0].input_step, p.axis[1].input_step, q.step_w};
  const int tap_step[3] = {p.axis[0].tap_step, p.axis[1].tap_step, q.tap_step_w};
  const T* const input = static_cast<const T*>(q.input) + rest * q.input_stride[0];
  const T* const weight = static_cast<const T*>(q.weight) + channel * q.weight_stride[1];
  const int taps_h = residue[1]->num_taps, taps_w = residue[2]->num_taps;
  float sum = bias;
  for (int tap = 0; tap < residue[0]->num_taps * taps_h * taps_w; ++tap) {
    const int of[3] = {tap / taps_w / taps_h, tap / taps_w % taps_h, tap % taps_w};
    const T *from = input, *times = weight;
    bool there = true;
#pragma unroll
    for (int a = 0; a < 3; ++a) {
      const int i = residue[a]->first_input + at[a] - of[a] * step[a];
      there = there && i >= 0 && i < p.axis[a].input;
      from += i * q.input_stride[2 + a];
      times += (residue[a]->first_tap + of[a] * tap_step[a]) * q.weight_stride[2 + a];
    }
    for (int c = 0; there && c < p.in_channels; ++c) {
      sum += rounded(from[c * q.input_stride[1]]) * rounded(times[c * q.weight_stride[0]]);
    }
  }
  return sum;
}

// What a lane's positions have of a channel; the warp has stored them. Arguments as
// store_channel()'s.
template <typename T, int kColumns>
__device__ __forceinline__ void compute_again(const Params& p, const PairedParams& q,
                                              const Unit& unit, uint32_t table, char* output,
                                              int channel, float bias) {
  const int group = threadIdx.x / 128, quad = threadIdx.x % 4;
#pragma unroll 1
  for (int j = 0; j < kColumns / 8; ++j) {
    const uint32_t address = table + (4 * j + quad) * kPairedPlaceBytes;
    PairedPlace place(address);
    if (q.aligned) {
      uint32_t word[2];
      load_words(word, address);
      place.outputs = word[1] == PairedPlace::kNone ? 0 : 4;
      place.front = 0;
    }
    const unsigned position = unit.first + group * kColumns + 8 * j + 2 * quad;
    T* const to = reinterpret_cast<T*>(output + place.offset) - place.front;
#pragma unroll 1
    for (int i = place.front; i < place.outputs; ++i) {
      if (isfinite(widen(to[i]))) continue;
      to[i] = narrow<T>(one_output<T>(p, q, unit, position + i / 2, i % 2, channel, bias));
    }
  }
}

}  // namespace convt3d::cuda::halo_gemm
