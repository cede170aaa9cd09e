// SPDX-License-Identifier: BSD-3-Clause
// From a call of turn_march.h to its launches; instances/ has one explicit instantiation per
// precision.
#pragma once
#include <algorithm>

#include "cuda/common/cuda_check.h"
#include "cuda/common/dynamic_shared.h"
#include "cuda/halo_gemm/tuning.h"
#include "cuda/halo_gemm/turn_call.h"
#include "cuda/halo_gemm/turn_kernel.cuh"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::halo_gemm {

// The weight as A, in the order of use: [block of 128 channels][tap of d][chunk][tap of h][of w]
// [row][32 bytes], 16-byte pieces where the swizzle has them.
struct TurnPack {
  const void* weight;
  uint4* packed;
  int64_t stride[5];
  int channels, sources, chunks, units;
};

inline constexpr int kTurnPackThreads = 128;

template <typename T>
__global__ void __launch_bounds__(kTurnPackThreads)
    turn_pack_kernel(const __grid_constant__ TurnPack p) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  sm90::let_next_launch_start();
  constexpr int kVector = 16 / sizeof(T);
  const int unit = blockIdx.x * kTurnPackThreads + threadIdx.x;
  if (unit >= p.units) return;
  const auto take = [](int* index, int radix) {
    const int rest = *index / radix, digit = *index - rest * radix;
    *index = rest;
    return digit;
  };
  int at = unit;
  const int place = take(&at, kTurnPieces), row = take(&at, kTurnChannels);
  const int w = take(&at, kTurnKernel), h = take(&at, kTurnKernel);
  const int chunk = take(&at, p.chunks), d = take(&at, kTurnKernel);
  const int piece = place ^ (row / 4 % 2), channel = at * kTurnChannels + row;
  const T* const from = static_cast<const T*>(p.weight) + channel * p.stride[0] + d * p.stride[2] +
                        h * p.stride[3] + w * p.stride[4];
  alignas(16) T values[kVector];
#pragma unroll
  for (int v = 0; v < kVector; ++v) {
    const int source = (chunk * kTurnPieces + piece) * kVector + v;
    const bool there = channel < p.channels && source < p.sources;
    T value = there ? from[source * p.stride[1]] : T();
    if constexpr (sizeof(T) == 4) value = round_to_tf32(value);
    values[v] = value;
  }
  p.packed[unit] = *reinterpret_cast<const uint4*>(values);
#endif
}

template <typename T>
void pack_turn_weight(const TurnCall& call) {
  const Problem& problem = call.description.problem;
  const TensorView& weight = call.operands.weight;
  TurnPack pack{};
  pack.weight = weight.data;
  pack.packed = static_cast<uint4*>(call.workspace);
  std::copy(weight.stride.begin(), weight.stride.end(), pack.stride);
  pack.channels = static_cast<int>(problem.in_channels);
  pack.sources = static_cast<int>(problem.out_channels);
  pack.chunks = call.config.chunks;
  pack.units = static_cast<int>(turn_weight_bytes(call.config) / 16);
  const auto blocks = static_cast<unsigned>(ceil_div(pack.units, kTurnPackThreads));
  turn_pack_kernel<T><<<blocks, kTurnPackThreads, 0, call.stream>>>(pack);
  check(cudaGetLastError(), "halo_gemm turn_pack_kernel");
}

inline TurnParams make_turn_params(const TurnCall& call) {
  const Problem& problem = call.description.problem;
  const TurnConfig& config = call.config;
  const TensorView &source = call.operands.output, &result = call.operands.input;
  TurnParams p{};
  p.weights = static_cast<const unsigned char*>(call.workspace);
  p.source = static_cast<const unsigned char*>(source.data);
  p.result = result.data;
  std::copy(source.stride.begin(), source.stride.end(), p.source_stride);
  std::copy(result.stride.begin(), result.stride.end(), p.result_stride);
  // Those of an axis with one position may be anything.
  p.source_stride[3] = problem.output()[2];
  p.result_stride[3] = problem.input[2];
  p.channels = static_cast<int>(problem.in_channels);
  p.sources = static_cast<int>(problem.out_channels);
  for (int a = 0; a < 3; ++a) {
    p.result_extent[a] = static_cast<int>(problem.input[a]);
    p.source_extent[a] = static_cast<int>(problem.output()[a]);
    p.padding[a] = static_cast<int>(problem.padding[a]);
  }
  p.lines = config.lines;
  p.tiles = config.tiles;
  p.pitch = config.pitch;
  std::copy(std::begin(config.class_bytes), std::end(config.class_bytes), p.class_bytes);
  p.slot_bytes = config.slot_bytes;
  p.slots = config.slots;
  p.elements = (kTurnStride * config.lines + 1) * p.source_extent[2];
  p.raw_pitch = config.raw_pitch;
  p.raw_slots = config.raw_slots;
  p.weight_slots = config.weight_slots;
  p.chunks = config.chunks;
  p.units = static_cast<int>(problem.batch * config.tiles * problem.input[0]);
  p.blocks = config.blocks;
  const int64_t bytes = element_bytes(call.description.precision);
  const auto stored_by = [&](int64_t elements) {
    bool whole = reinterpret_cast<uintptr_t>(result.data) % (elements * bytes) == 0 &&
                 problem.input[2] % elements == 0 && config.pitch % elements == 0;
    for (int dim : {0, 1, 2}) whole = whole && result.stride[dim] % elements == 0;
    return whole;
  };
  p.whole = stored_by(8);
  p.pairs = stored_by(2);
  return p;
}

template <Precision kPrecision>
void run_turn(const TurnCall& call) {
  using T = ElementOf<kPrecision>;
  const int columns = call.config.columns;
  const auto kernel = columns == 192   ? turn_kernel<T, 192>
                      : columns == 224 ? turn_kernel<T, 224>
                      : columns == 240 ? turn_kernel<T, 240>
                                       : turn_kernel<T, 256>;
  allow_shared_memory(kernel, "halo_gemm turn_kernel");
  pack_turn_weight<T>(call);
  const TurnParams p = make_turn_params(call);
  const auto blocks = static_cast<unsigned>(call.device.num_sms / p.blocks * p.blocks);
  sm90::launch_overlapping("halo_gemm turn_kernel", kernel,
                           {blocks, kTurnThreads, kSharedBytes, call.stream}, p);
}

}  // namespace convt3d::cuda::halo_gemm
