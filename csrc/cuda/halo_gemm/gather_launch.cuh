// SPDX-License-Identifier: BSD-3-Clause
// From a call of gather_march.h to its launches; instances/ has one explicit instantiation per
// precision.
#pragma once
#include <algorithm>

#include "cuda/common/alignment.h"
#include "cuda/common/cuda_check.h"
#include "cuda/common/dynamic_shared.h"
#include "cuda/halo_gemm/gather_call.h"
#include "cuda/halo_gemm/gather_kernel.cuh"
#include "cuda/halo_gemm/tuning.h"
#include "cuda/sm90/tensor_map.h"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::halo_gemm {

// The weight as B: [block of columns][rank][chunk][tap of d][of h][step][8 columns][half of K]
// [column][16 bytes of K], K as gather_kernel.cuh gathers it. A rank's own columns come first.
struct GatherPack {
  const void* weight;
  uint4* packed;
  int64_t stride[5];
  int channels, sources, columns, chunks, ranks, units;
  bool aligned;
};

inline constexpr int kGatherPackThreads = 128;

template <typename T>
__global__ void __launch_bounds__(kGatherPackThreads)
    gather_pack_kernel(const __grid_constant__ GatherPack p) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  sm90::let_next_launch_start();
  constexpr int kVector = 16 / sizeof(T), kChannels = kGatherChunkBytes / sizeof(T);
  const int unit = blockIdx.x * kGatherPackThreads + threadIdx.x;
  if (unit >= p.units) return;
  const auto take = [](int* index, int radix) {
    const int rest = *index / radix, digit = *index - rest * radix;
    *index = rest;
    return digit;
  };
  int at = unit;
  const int in_eight = take(&at, 8), half = take(&at, 2), eight = take(&at, p.columns / 8);
  const int step = take(&at, kGatherSteps);
  const int tap_h = take(&at, kGatherKernel), tap_d = take(&at, kGatherKernel);
  const int chunk = take(&at, p.chunks), rank = take(&at, p.ranks);
  const int first = (rank * (p.columns / p.ranks) + eight * 8) % p.columns;
  const int channel = at * p.columns + first + in_eight;
  const T* const from = static_cast<const T*>(p.weight) + channel * p.stride[0] +
                        tap_d * p.stride[2] + tap_h * p.stride[3];
  alignas(16) T values[kVector];
#pragma unroll
  for (int v = 0; v < kVector; ++v) {
    const int k = half * kVector + v;
    int source = k, tap = 2;
    if (sizeof(T) == 4 && p.aligned) {
      tap = step;
    } else if (step < 2) {
      source = step * kChannels / 2 + k / 2;
      tap = k % 2;
    } else if (sizeof(T) == 2) {
      source = k / 2 + k % 2 * 8;
    }
    source += (rank * p.chunks + chunk) * kChannels;
    const bool there = channel < p.channels && source < p.sources;
    T value = there ? from[source * p.stride[1] + tap * p.stride[4]] : T();
    if constexpr (sizeof(T) == 4) value = round_to_tf32(value);
    values[v] = value;
  }
  p.packed[unit] = *reinterpret_cast<const uint4*>(values);
#endif
}

template <typename T>
void pack_gather_weight(const GatherCall& call, bool aligned) {
  const Problem& problem = call.description.problem;
  const TensorView& weight = call.operands.weight;
  GatherPack pack{};
  pack.weight = weight.data;
  pack.packed = static_cast<uint4*>(call.workspace);
  std::copy(weight.stride.begin(), weight.stride.end(), pack.stride);
  pack.channels = static_cast<int>(problem.in_channels);
  pack.sources = static_cast<int>(problem.out_channels);
  pack.columns = call.config.columns;
  pack.chunks = call.config.chunks;
  pack.ranks = call.config.ranks;
  pack.aligned = aligned;
  pack.units = static_cast<int>(gather_weight_bytes(call.config) / 16);
  const auto blocks = static_cast<unsigned>(ceil_div(pack.units, kGatherPackThreads));
  gather_pack_kernel<T><<<blocks, kGatherPackThreads, 0, call.stream>>>(pack);
  check(cudaGetLastError(), "halo_gemm gather_pack_kernel");
}

inline GatherParams make_gather_params(const GatherCall& call) {
  const Problem& problem = call.description.problem;
  const GatherConfig& config = call.config;
  const TensorView &source = call.operands.output, &result = call.operands.input;
  GatherParams p{};
  p.weights = static_cast<const unsigned char*>(call.workspace);
  p.source = static_cast<const unsigned char*>(source.data);
  p.result = result.data;
  std::copy(source.stride.begin(), source.stride.end(), p.source_stride);
  std::copy(result.stride.begin(), result.stride.end(), p.result_stride);
  // Those of an axis with one position may be anything.
  p.source_stride[3] = problem.output()[2];
  p.channels = static_cast<int>(problem.in_channels);
  p.sources = static_cast<int>(problem.out_channels);
  for (int a = 0; a < 3; ++a) {
    p.result_extent[a] = static_cast<int>(problem.input[a]);
    p.source_extent[a] = static_cast<int>(problem.output()[a]);
    p.padding[a] = static_cast<int>(problem.padding[a]);
  }
  p.lines = config.lines;
  p.tiles = config.tiles;
  p.runs = config.runs;
  const auto bytes = static_cast<int>(element_bytes(call.description.precision));
  p.aligned = config.aligned && is_aligned(source.data);
  p.pitch = p.aligned ? config.box_pitch : config.pitch;
  p.line_bytes = p.aligned ? config.line_bytes : p.source_extent[2] * bytes;
  p.slot_bytes = kGatherChunkBytes / bytes * p.pitch;
  p.chunks = config.chunks;
  p.slots = config.slots;
  p.weight_bytes = static_cast<int>(gather_block_bytes(config));
  p.units = static_cast<int>(problem.batch * config.tiles * problem.input[0]);
  p.blocks = config.blocks;
  p.ranks = config.ranks;
  p.mail_bytes = kGatherConsumers * gather_mail_bytes(config.columns, config.ranks);
  const int together = p.aligned ? 2 : 4;
  p.pairs = reinterpret_cast<uintptr_t>(result.data) % (together * bytes) == 0 &&
            problem.input[2] % together == 0;
  return p;
}

// Aligned lines of some channels.
inline CUtensorMap make_gather_map(const GatherCall& call, const GatherParams& p) {
  const TensorView& source = call.operands.output;
  const auto& s = source.stride;
  const auto bytes = static_cast<int>(element_bytes(call.description.precision));
  sm90::TensorBox box{
      static_cast<const unsigned char*>(source.data),
      call.description.precision,
      {p.source_extent[2], p.source_extent[1], p.sources, p.source_extent[0],
       call.description.problem.batch},
      {1, p.source_stride[3], s[1], s[2], s[0]},
      {p.line_bytes / bytes, kGatherStride * p.lines + 1, kGatherChunkBytes / bytes, 1, 1},
      {1, 1, 1, 1, 1}};
  box.swizzled = false;
  return sm90::encode(box);
}

template <typename T, int kColumns, int kRanks>
void launch_gather(const GatherCall& call, const GatherParams& p) {
  const auto kernel = p.aligned ? gather_kernel<T, kColumns, kRanks, true>
                                : gather_kernel<T, kColumns, kRanks, false>;
  allow_shared_memory(kernel, "halo_gemm gather_kernel");
  const int together = p.blocks * p.ranks;
  const auto blocks = static_cast<unsigned>(call.device.num_sms / together * together);
  sm90::launch_overlapping("halo_gemm gather_kernel", kernel,
                           {blocks, kGatherThreads, kSharedBytes, call.stream}, p,
                           p.aligned ? make_gather_map(call, p) : CUtensorMap{});
}

template <Precision kPrecision>
void run_gather(const GatherCall& call) {
  using T = ElementOf<kPrecision>;
  const GatherParams p = make_gather_params(call);
  pack_gather_weight<T>(call, p.aligned);
  if (call.config.ranks > 1) return launch_gather<T, kGatherSharedColumns, kGatherRanks>(call, p);
  if constexpr (sizeof(T) == 2) {
    if (call.config.columns == 64) return launch_gather<T, 64, 1>(call, p);
  }
  launch_gather<T, 32, 1>(call, p);
}

}  // namespace convt3d::cuda::halo_gemm
