// SPDX-License-Identifier: BSD-3-Clause
// What the kernel is told: one call in numbers, all divisions prepared.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>

namespace convt3d::cuda::shuffle_gemm {

// Division of 0 <= n < 2**31 by a constant: with s = ceil(log2(d)) the quotient is
// n * (2**(31 + s) / d + 1) >> (31 + s) (Granlund and Montgomery).
struct Divider {
  uint32_t divisor = 1, multiplier = 0, shift = 0;

  Divider() = default;
  explicit Divider(int64_t by) : divisor(static_cast<uint32_t>(by)) {
    int log = 0;
    while ((int64_t{1} << log) < by) ++log;
    shift = 31 + log;
    multiplier = static_cast<uint32_t>((uint64_t{1} << shift) / divisor + 1);
  }
  __host__ __device__ uint32_t divide(uint32_t n) const {
    return static_cast<uint32_t>((uint64_t{n} * multiplier) >> shift);
  }
  // *n becomes the rest; returns the quotient.
  __host__ __device__ int take(int* n) const {
    const int quotient = static_cast<int>(divide(static_cast<uint32_t>(*n)));
    *n -= quotient * static_cast<int>(divisor);
    return quotient;
  }
};

// Where an index of up to four digits leads, innermost digit first.
struct Digits {
  Divider size[3];  // of all but the outermost
  int64_t stride[4] = {};
  int count = 1;

  __host__ __device__ int64_t offset(int index) const {
    int64_t offset = 0;
    for (int i = 0; i < 3; ++i) {
      if (i + 1 >= count) return offset + index * stride[i];
      const auto outer = static_cast<int>(size[i].divide(index));
      offset += (index - outer * static_cast<int>(size[i].divisor)) * stride[i];
      index = outer;
    }
    return offset + index * stride[3];
  }
};

// The source is read, the result written: input and output, or grad_output and grad_input.
struct Params {
  const void* source;
  const void* weight;
  const void* bias;  // may be null
  void* result;
  int64_t bias_stride;

  int depth;      // K: in_channels, or out_channels x taps
  int columns;    // N: out_channels x taps, or in_channels
  int positions;  // M: batch x input volume
  int chunks;     // of K
  int tiles, slices, walkers;
  int splits;  // of K, one for each block of a cluster
  bool resident;

  // A position is (n, d, h, w); axes whose blocks lie in one line of the output are merged into w.
  Divider image, plane, line;  // positions of one
  int64_t source_position[4];  // from one position to the next in n, d, h, w
  int64_t result_position[4];
  int64_t source_stride[5];  // n, c, d, h, w
  int64_t result_stride[5];  // n, c, d, h, w
  int kernel[3];

  // Pairs of channel and tap are in the order (channel, tap), or (tap, channel) where channels are
  // innermost in the output: columns of forward, K of grad_input.
  bool taps_inner;
  int out_channels;
  int64_t weight_stride[5];  // in, out, kd, kh, kw

  // grad_input: K in source and weight. Taps of kw that are neighbours are loaded and kept together
  // for each position, 2**group_log bytes of them; `lines` such groups make up K.
  Digits depth_source, depth_weight;
  int group_log, lines;

  // Bytes of one access, the same for a whole tensor: 16 down to one element.
  int source_access, weight_access, result_access;
  // The result is written along positions, `run` columns of one of them being neighbours, or along
  // columns.
  bool along_positions;
  int run;

  // Outputs behind the last block of an axis get the bias.
  int covered[3], extent[3];
  int64_t batch;
  bool has_border;
};

}  // namespace convt3d::cuda::shuffle_gemm
