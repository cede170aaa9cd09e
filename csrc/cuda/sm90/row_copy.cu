// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/sm90/row_copy.h"

#include <algorithm>
#include <stdexcept>

#include "cuda/common/cuda_check.h"
#include "cuda/common/divisor.cuh"
#include "cuda/common/shared_memory.cuh"
#include "cuda/sm90/overlapping_launch.cuh"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::sm90 {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kBlockBytes = 16 * 1024;  // of rows, where they are not too long for it

struct Params {
  const char* source;
  char* target;
  int64_t rows;
  int from, to, channels, block_rows;
  Divisor by_to;
  bool first;
};

template <typename T>
__global__ void __launch_bounds__(kThreads) row_copy_kernel(const __grid_constant__ Params p) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  constexpr int kElements = 8 / sizeof(T), kSize = sizeof(T);
  extern __shared__ uint4 span[];
  if (p.first) let_next_launch_start();
  const int64_t begin = blockIdx.x * int64_t{p.block_rows};
  const int rows = static_cast<int>(min(p.rows - begin, int64_t{p.block_rows}));
  const char* const start = p.source + begin * p.from * kSize;
  const auto shift = static_cast<int>(reinterpret_cast<uintptr_t>(start) % 16);
  const int bytes = shift + ((rows - 1) * p.from + p.channels) * kSize;
  for (int at = threadIdx.x * 16; at < bytes; at += kThreads * 16) {
    copy_async<16>(shared_address(span) + at, start - shift + at, min(16, bytes - at));
  }
  copies_commit();
  copies_wait<0>();
  __syncthreads();  // all threads' copies have arrived
  const T* const source = reinterpret_cast<const T*>(reinterpret_cast<const char*>(span) + shift);
  T* const target = reinterpret_cast<T*>(p.target) + begin * p.to;
  const int count = rows * p.to;
  for (int i = threadIdx.x * kElements; i < count; i += kThreads * kElements) {
    int row = i;
    int channel = divide(&row, p.by_to);
    int at = row * p.from + channel;
    alignas(8) T value[kElements];
#pragma unroll
    for (int v = 0; v < kElements; ++v) {
      value[v] = channel < p.channels && i + v < count ? source[at] : T();
      ++at;
      if (++channel == p.to) {
        channel = 0;
        at += p.from - p.to;
      }
    }
    if (i + kElements <= count) {
      *reinterpret_cast<uint2*>(target + i) = *reinterpret_cast<const uint2*>(value);
    } else {
#pragma unroll
      for (int v = 0; v < kElements; ++v) {
        if (i + v < count) target[i + v] = value[v];
      }
    }
  }
  wait_for_earlier_launch();
#endif
}

}  // namespace

void copy_rows(const RowCopy& copy, cudaStream_t stream) {
  const int64_t elements = 8 / copy.element_bytes;
  const int64_t row_bytes = std::max(copy.from, copy.to) * copy.element_bytes;
  Params p{};
  p.source = static_cast<const char*>(copy.source);
  p.target = static_cast<char*>(copy.target);
  p.rows = copy.rows;
  p.from = static_cast<int>(copy.from);
  p.to = static_cast<int>(copy.to);
  p.channels = static_cast<int>(copy.channels);
  p.by_to = make_divisor(copy.to);
  p.first = copy.first;
  // So many that each block's target begins on 8 bytes.
  p.block_rows =
      static_cast<int>(std::max<int64_t>(1, kBlockBytes / (row_bytes * elements)) * elements);
  const int64_t blocks = ceil_div(p.rows, p.block_rows);
  if (blocks > INT32_MAX) throw std::runtime_error("convt3d: too many rows of channels to copy");
  const dim3 grid(static_cast<unsigned>(blocks));
  // Before the first row, and behind the last, the rest of 16 bytes.
  const auto bytes = static_cast<int>(p.block_rows * copy.from * copy.element_bytes + 32);
  // As bits: zero is zero in every type.
  const auto kernel =
      copy.element_bytes == 2 ? row_copy_kernel<uint16_t> : row_copy_kernel<uint32_t>;
  if (copy.overlapping) {
    launch_overlapping("copying rows of channels", kernel, {grid, kThreads, bytes, stream}, p);
  } else {
    kernel<<<grid, kThreads, bytes, stream>>>(p);
    check(cudaGetLastError(), "copying rows of channels");
  }
}

}  // namespace convt3d::cuda::sm90
