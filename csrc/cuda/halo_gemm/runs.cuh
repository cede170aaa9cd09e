// SPDX-License-Identifier: BSD-3-Clause
// Which output channel a column of the product is. Thread c of a quad holds columns 8 j + 2 c +
// {0, 1} of every j; so that it can store 16 bytes at once, 16 / sizeof(T) / 2 neighbouring j make
// a run, in which it owns contiguous channels. What is left of a slot makes shorter runs.
#pragma once
#include <cstdint>

namespace convt3d::cuda::halo_gemm {

// Of the run that starts at j, in groups of 8 columns.
template <typename T>
__host__ __device__ constexpr int run_width(int j, int groups) {
  int width = 16 / static_cast<int>(sizeof(T)) / 2;
  while (width > groups - j) width /= 2;
  return width;
}

// A bit for each group where a run starts.
template <typename T>
__host__ __device__ constexpr uint32_t run_starts(int groups) {
  uint32_t starts = 0;
  for (int j = 0; j < groups; j += run_width<T>(j, groups)) starts |= 1u << j;
  return starts;
}

template <typename T>
__host__ __device__ constexpr int column_of_channel(int channel, int channels) {
  int j = 0;
  while (channel >= 8 * (j + run_width<T>(j, channels / 8))) j += run_width<T>(j, channels / 8);
  const int owned = 2 * run_width<T>(j, channels / 8), rest = channel - 8 * j;
  return 8 * (j + rest % owned / 2) + rest / owned * 2 + rest % 2;
}

}  // namespace convt3d::cuda::halo_gemm
