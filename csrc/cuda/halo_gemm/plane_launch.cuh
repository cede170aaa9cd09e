// SPDX-License-Identifier: BSD-3-Clause
// From a call of plane_march.h to its launches; instances/ has one explicit instantiation per
// precision.
#pragma once
#include <algorithm>

#include "cuda/common/cuda_check.h"
#include "cuda/common/dynamic_shared.h"
#include "cuda/common/element.cuh"
#include "cuda/common/mma_sync.cuh"
#include "cuda/halo_gemm/plane_call.h"
#include "cuda/halo_gemm/plane_kernel.cuh"
#include "cuda/halo_gemm/tuning.h"
#include "cuda/sm90/tensor_map.h"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::halo_gemm {

// The weight as A, in the order of its taps: [block of 64 channels][rank][tap][row][64 bytes],
// 16-byte pieces where the swizzle has them. Of 16 rows a rank's own channels come first.
struct PlanePack {
  const void* weight;
  uint4* packed;
  int64_t stride[5];
  int kernel[3], channels, sources, ranks, rank_sources, rows, units;
};

inline constexpr int kPlanePackThreads = 128;

template <typename T>
__global__ void __launch_bounds__(kPlanePackThreads)
    plane_pack_kernel(const __grid_constant__ PlanePack p) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  sm90::let_next_launch_start();
  constexpr int kVector = 16 / sizeof(T);
  const int unit = blockIdx.x * kPlanePackThreads + threadIdx.x;
  if (unit >= p.units) return;
  const auto take = [](int* index, int radix) {
    const int rest = *index / radix, digit = *index - rest * radix;
    *index = rest;
    return digit;
  };
  int at = unit;
  const int place = take(&at, 4), row = take(&at, p.rows);
  const int w = take(&at, p.kernel[2]), h = take(&at, p.kernel[1]), d = take(&at, p.kernel[0]);
  const int rank = take(&at, p.ranks);
  const int piece = place ^ (row / 2 % 4), half = row / 8 % 2;
  const int in_16 = sizeof(T) == 2 ? plane_channel(half, row % 8) : (half ^ rank) * 8 + row % 8;
  const int channel = at * kPlaneChannels + row / 16 * 16 + in_16;
  const T* const from = static_cast<const T*>(p.weight) + channel * p.stride[0] + d * p.stride[2] +
                        h * p.stride[3] + w * p.stride[4];
  alignas(16) T values[kVector];
#pragma unroll
  for (int v = 0; v < kVector; ++v) {
    const int source = rank * p.rank_sources + piece * kVector + v;
    const bool there = channel < p.channels && source < p.sources;
    T value = there ? from[source * p.stride[1]] : T();
    if constexpr (sizeof(T) == 4) value = round_to_tf32(value);
    values[v] = value;
  }
  p.packed[unit] = *reinterpret_cast<const uint4*>(values);
#endif
}

template <typename T>
void pack_plane_weight(const PlaneCall& call) {
  const Problem& problem = call.description.problem;
  const PlaneConfig& config = call.config;
  const TensorView& weight = call.operands.weight;
  PlanePack pack{};
  pack.weight = weight.data;
  pack.packed = static_cast<uint4*>(call.workspace);
  std::copy(weight.stride.begin(), weight.stride.end(), pack.stride);
  for (int a = 0; a < 3; ++a) pack.kernel[a] = static_cast<int>(problem.kernel[a]);
  pack.channels = static_cast<int>(problem.in_channels);
  pack.sources = static_cast<int>(problem.out_channels);
  pack.ranks = config.ranks;
  pack.rank_sources = kPlaneRowBytes / static_cast<int>(sizeof(T));
  pack.rows = config.weight_rows;
  pack.units = static_cast<int>(plane_weight_bytes(call.description, config) / 16);
  const auto blocks = static_cast<unsigned>(ceil_div(pack.units, kPlanePackThreads));
  plane_pack_kernel<T><<<blocks, kPlanePackThreads, 0, call.stream>>>(pack);
  check(cudaGetLastError(), "halo_gemm plane_pack_kernel");
}

inline PlaneParams make_plane_params(const PlaneCall& call) {
  const Problem& problem = call.description.problem;
  const PlaneConfig& config = call.config;
  const TensorView& result = call.operands.input;
  PlaneParams p{};
  p.weights = static_cast<const unsigned char*>(call.workspace);
  p.result = result.data;
  std::copy(result.stride.begin(), result.stride.end(), p.result_stride);
  // That of an axis with one position may be anything.
  p.result_stride[3] = problem.input[2] * p.result_stride[4];
  p.channels = static_cast<int>(problem.in_channels);
  for (int a = 0; a < 3; ++a) {
    p.result_extent[a] = static_cast<int>(problem.input[a]);
    p.source_extent[a] = static_cast<int>(problem.output()[a]);
    p.padding[a] = static_cast<int>(problem.padding[a]);
    p.kernel[a] = static_cast<int>(problem.kernel[a]);
    p.stride[a] = static_cast<int>(problem.stride[a]);
  }
  p.lines = config.lines;
  p.tiles = config.tiles;
  p.pitch = config.pitch;
  p.extra = config.extra;
  p.slot_bytes = config.slot_bytes;
  p.paired = config.paired;
  p.row_bytes = config.paired ? 2 * kPlaneRowBytes : kPlaneRowBytes;
  p.split = config.split;
  p.class_bytes = config.paired ? kPlaneRowBytes : config.slot_bytes / 2;
  p.first_half = config.paired ? p.padding[2] % 2 : 0;
  p.slots = config.slots;
  p.weight_rows = config.weight_rows;
  p.weight_bytes = static_cast<int>(plane_block_bytes(call.description, config));
  p.units = static_cast<int>(problem.batch * config.tiles * problem.input[0]);
  p.blocks = config.blocks;
  p.ranks = config.ranks;
  p.rank_sources = kPlaneRowBytes / static_cast<int>(element_bytes(call.description.precision));
  p.mail_bytes = kPlaneGroups * 4 * plane_mail_bytes(config.columns, config.ranks);
  return p;
}

inline PlaneMaps make_plane_maps(const PlaneCall& call, const PlaneParams& p) {
  PlaneMaps maps{};
  const int64_t bytes = element_bytes(call.description.precision);
  const Problem& problem = call.description.problem;
  const TensorView& source = call.operands.output;
  const auto& s = source.stride;
  for (int w = 0; w < (p.paired ? 1 : 2); ++w) {
    const int offset = p.paired ? 0 : (w + p.padding[2]) % 2;  // of the residue's positions
    maps.first[w] = p.paired ? -(p.padding[2] + 1) / 2 : (w - p.padding[2] - offset) / 2;
    for (int h = 0; h < p.stride[1]; ++h) {
      if (p.taps(1, h) == 0) continue;
      const sm90::TensorBox box{
          static_cast<const unsigned char*>(source.data) + offset * s[4] * bytes,
          call.description.precision,
          {problem.out_channels * (p.paired ? 2 : 1), (p.source_extent[2] - offset + 1) / 2,
           p.source_extent[1], p.source_extent[0], problem.batch},
          {1, 2 * s[4], s[3], s[2], s[0]},
          {static_cast<int>(p.row_bytes / bytes), p.pitch, p.lines + p.taps(1, h) - 1, 1, 1},
          {1, 1, p.stride[1], 1, 1}};
      maps.of[h][w] = sm90::encode(box);
    }
  }
  return maps;
}

template <Precision kPrecision>
void run_planes(const PlaneCall& call) {
  using T = ElementOf<kPrecision>;
  const int columns = call.config.columns;
  constexpr int kRanks = plane_ranks(sizeof(T));
  const auto kernel = columns == 192   ? plane_kernel<T, 192, kRanks>
                      : columns == 224 ? plane_kernel<T, 224, kRanks>
                                       : plane_kernel<T, 256, kRanks>;
  allow_shared_memory(kernel, "halo_gemm shared memory");
  pack_plane_weight<T>(call);
  const PlaneParams p = make_plane_params(call);
  const PlaneMaps maps = make_plane_maps(call, p);
  const auto blocks =
      static_cast<unsigned>(call.device.num_sms / (p.blocks * kRanks) * (p.blocks * kRanks));
  sm90::launch_overlapping("halo_gemm plane_kernel", kernel,
                           {blocks, kPlaneThreads, kSharedBytes, call.stream}, p, maps);
}

}  // namespace convt3d::cuda::halo_gemm
