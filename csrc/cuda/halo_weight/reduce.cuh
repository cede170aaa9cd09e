// SPDX-License-Identifier: BSD-3-Clause
// The pieces of all blocks, added in their order, into the weight's own type and strides.
//
// A warp reads 32 in_channels of one (out_channel, tap) at a time, which are contiguous in a piece;
// a block turns 32 of them around in shared memory, because in the weight (out_channel, tap) or
// (tap, out_channel) are contiguous. Where there are many pieces, `parts` warps share one row's.
#pragma once
#include "cuda/common/element.cuh"
#include "cuda/halo_weight/params.h"

namespace convt3d::cuda::halo_weight {

inline constexpr int kReduceWarps = 32;

struct Reduce {
  Work work;
  void* result;
  int64_t stride[5];  // in, out, kd, kh, kw
  int kernel[3];
  int in_channels, out_channels, taps;
  int channels, out_width, lanes;  // of an instruction, of a row, of a unit
  int parts;                       // a power of two, at most kReduceWarps
  bool out_inner;                  // out_channels are contiguous, not taps
  uint16_t lane_of[kMaxTaps];      // unit * lanes + lane
};

template <typename T>
__global__ void __launch_bounds__(kReduceWarps * 32)
    reduce_kernel(const __grid_constant__ Reduce r) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  __shared__ double sums[kReduceWarps][33];  // 33: a column's rows lie in different banks
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int rows = kReduceWarps / r.parts, first_row = blockIdx.x * rows;
  const int first_channel = blockIdx.y * 32;
  const auto split = [&](int row, int* out, int* tap) {
    const int inner = r.out_inner ? r.out_channels : r.taps;
    *out = r.out_inner ? row % inner : row / inner;
    *tap = r.out_inner ? row / inner : row % inner;
  };
  const int all_rows = r.out_channels * r.taps;
  const int row = first_row + warp / r.parts, channel = first_channel + lane;
  double sum = 0;  // leaves one rounding
  if (row < all_rows && channel < r.in_channels) {
    int out, tap;
    split(row, &out, &tap);
    const int place = r.lane_of[tap];
    const int unit = out / r.out_width * r.work.part_units + place / r.lanes;
    const int in_tile = channel / r.channels;
    const int job = unit / r.work.job_units * r.work.in_tiles + in_tile;
    const int unit_row =
        unit % r.work.job_units * kGroupRows + place % r.lanes * r.out_width + out % r.out_width;
    const int64_t box = int64_t{job} * r.work.boxes;
    const int last = r.work.owner(box + r.work.boxes - 1);
    const float* at = r.work.partial + unit_row * r.channels + (channel - in_tile * r.channels);
#pragma unroll 4
    for (int block = r.work.owner(box) + warp % r.parts; block <= last; block += r.parts) {
      sum += at[(int64_t{block} + job) * r.work.piece];
    }
  }
  sums[warp][lane] = sum;
  __syncthreads();  // all warps have written what others add
  for (int i = threadIdx.x; i < rows * 32; i += kReduceWarps * 32) {
    const int my_row = i % rows, my_channel = i / rows;
    if (first_row + my_row >= all_rows || first_channel + my_channel >= r.in_channels) continue;
    double total = 0;
    for (int part = 0; part < r.parts; ++part) total += sums[my_row * r.parts + part][my_channel];
    int out, tap;
    split(first_row + my_row, &out, &tap);
    const int line = tap / r.kernel[2], plane = line / r.kernel[1];
    static_cast<T*>(r.result)[(first_channel + my_channel) * r.stride[0] + out * r.stride[1] +
                              plane * r.stride[2] + (line - plane * r.kernel[1]) * r.stride[3] +
                              (tap - line * r.kernel[2]) * r.stride[4]] =
        narrow<T>(static_cast<float>(total));
  }
#endif
}

}  // namespace convt3d::cuda::halo_weight
