// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/common/bias_fill.h"

#include <algorithm>
#include <cstdint>
#include <stdexcept>

#include "cuda/common/alignment.h"
#include "cuda/common/cuda_check.h"
#include "geometry/ceil_div.h"

namespace convt3d::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kBlockBytes = 32 * 1024;  // that a block writes

struct Fill {
  void* output;
  const void* bias;  // may be null
  int64_t bias_stride, count, block_count, blocks_of_plane;
  int channels;
};

// As bits: zero is zero in every type.
template <typename T>
__device__ T bias_of(const Fill& p, int channel) {
  return p.bias ? static_cast<const T*>(p.bias)[channel * p.bias_stride] : T();
}

// NCDHW: a plane is the `count` outputs of one channel; a block has `block_count` of them.
template <typename T>
__global__ void __launch_bounds__(kThreads) planes_kernel(const __grid_constant__ Fill p) {
  constexpr int kVector = 16 / sizeof(T);
  const int64_t plane = blockIdx.x / p.blocks_of_plane;
  const int64_t begin = (blockIdx.x - plane * p.blocks_of_plane) * p.block_count;
  const int count = static_cast<int>(min(p.count - begin, p.block_count));
  T* const output = static_cast<T*>(p.output) + plane * p.count + begin;
  const T value = bias_of<T>(p, static_cast<int>(plane % p.channels));
  const auto past = static_cast<int>(reinterpret_cast<uintptr_t>(output) % 16 / sizeof(T));
  const int head = min(past == 0 ? 0 : kVector - past, count);
  const int vectors = (count - head) / kVector;
  alignas(16) T values[kVector];
#pragma unroll
  for (T& each : values) each = value;
  auto* const aligned = reinterpret_cast<uint4*>(output + head);
  for (int i = threadIdx.x; i < vectors; i += kThreads) {
    aligned[i] = *reinterpret_cast<const uint4*>(values);
  }
  for (int i = threadIdx.x; i < count - vectors * kVector; i += kThreads) {
    output[i < head ? i : i + vectors * kVector] = value;
  }
}

// NDHWC: rows of all channels, in pieces of kVector of them; a block has `block_count` rows.
// Threads keep their piece where a row has no more pieces than there are threads.
template <typename T, int kVector>
__global__ void __launch_bounds__(kThreads) rows_kernel(const __grid_constant__ Fill p) {
  struct alignas(kVector * sizeof(T)) Piece {
    T value[kVector];
  };
  const int pieces = p.channels / kVector;
  const int threads = pieces <= kThreads ? kThreads / pieces * pieces : kThreads;
  if (static_cast<int>(threadIdx.x) >= threads) return;
  const int64_t begin = blockIdx.x * p.block_count;
  const int64_t count = min(p.count - begin, p.block_count) * pieces;
  Piece* const output = static_cast<Piece*>(p.output) + begin * pieces;
  Piece piece;
  for (int64_t i = threadIdx.x; i < count; i += threads) {
    if (i == threadIdx.x || pieces > kThreads) {
      const int channel = static_cast<int>(i % pieces) * kVector;
#pragma unroll
      for (int v = 0; v < kVector; ++v) piece.value[v] = bias_of<T>(p, channel + v);
    }
    output[i] = piece;
  }
}

template <typename T>
void launch(const Description& description, Fill p, cudaStream_t stream) {
  constexpr int kVector = 16 / sizeof(T);
  const Problem& problem = description.problem;
  const int64_t positions = volume(problem.output());
  void (*kernel)(Fill) = planes_kernel<T>;
  int64_t blocks = 0;
  if (description.output == Layout::ncdhw) {
    p.count = positions;
    p.block_count = kBlockBytes / sizeof(T);
    p.blocks_of_plane = ceil_div(p.count, p.block_count);
    blocks = problem.batch * problem.out_channels * p.blocks_of_plane;
  } else {
    const bool whole = p.channels % kVector == 0 && is_aligned(p.output);
    kernel = whole ? rows_kernel<T, kVector> : rows_kernel<T, 1>;
    p.count = problem.batch * positions;
    const int64_t row_bytes = p.channels * static_cast<int64_t>(sizeof(T));
    p.block_count = std::max<int64_t>(1, kBlockBytes / row_bytes);
    blocks = ceil_div(p.count, p.block_count);
  }
  if (blocks > INT32_MAX) throw std::runtime_error("convt3d: too many outputs to fill with bias");
  kernel<<<static_cast<unsigned>(blocks), kThreads, 0, stream>>>(p);
  check(cudaGetLastError(), "filling with bias");
}

}  // namespace

void fill_with_bias(const Description& description, const Operands& operands, void* stream) {
  Fill p{};
  p.output = operands.output.data;
  p.bias = operands.bias;
  p.bias_stride = operands.bias_stride;
  p.channels = static_cast<int>(description.problem.out_channels);
  if (element_bytes(description.precision) == 2) {
    launch<uint16_t>(description, p, static_cast<cudaStream_t>(stream));
  } else {
    launch<uint32_t>(description, p, static_cast<cudaStream_t>(stream));
  }
}

}  // namespace convt3d::cuda
