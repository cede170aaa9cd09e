// SPDX-License-Identifier: BSD-3-Clause
// grad_input with a stride of 2 along w, few channels of grad_output:
//
//   grad_input[n, ci, i] = sum over taps t, co: grad_output[n, co, s i + t - p] * weight[ci, co, t]
//
// M = 64 channels of grad_input, weights as A, all of them in shared memory; N = positions: `lines`
// whole lines of a plane, numbered line by line, `pitch` apart; K = channels of grad_output, 64
// bytes.
//
//   u = o + p = s i + t        a block marches through the planes u of grad_output, each loaded
//                              once, and each for at most two planes of grad_input: warpgroup 0
//   planes u   0 1 2 3 4 5 6   has the even ones, 1 the odd ones, and one stores while the other
//   plane 0    x x x           multiplies.
//   plane 1        x x x       A stage is a plane's lines of one residue of h (u % s), in a class
//   plane 2            x x x   of rows for each residue of w; a tap is a class, moved by whole
//   rows.
//
//   warpgroups 0, 1   consumers   full: the bytes of boxes -> consumers
//   one warp more     producer    empty: all consumer warps -> producer (plane_load.cuh); it copies
//                                 the weights, once: weights_full -> consumers
//
// TF32: two blocks of a cluster share the sums, each has 16 channels of grad_output and stores half
// of those of grad_input (plane_join.cuh). A stage has one residue of w, as there is room for few.
//
// A line's rows reach as far as its taps do; rows that two lines share are zeros of both. Columns
// between the lines are multiplied in vain, and not stored.
//
// supports() guarantees: groups and dilation 1, at most 2 planes of grad_input for one of
// grad_output, positions of a tile and stages that fit, chains of at most sm90/chain.h's length;
// launch(): rows of grad_output that TMA can address, and dense lines or aligned rows of
// grad_input.
#pragma once
#include "cuda/common/cluster.cuh"
#include "cuda/halo_gemm/plane_join.cuh"
#include "cuda/halo_gemm/plane_load.cuh"
#include "cuda/halo_gemm/plane_store.cuh"
#include "cuda/halo_gemm/plane_wgmma.cuh"
#include "cuda/sm90/overlapping_launch.cuh"
#include "cuda/sm90/registers.cuh"
#include "cuda/sm90/wgmma.cuh"

namespace convt3d::cuda::halo_gemm {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// The products of a stage, of residue `r` of h and (kSplit) `half` of w, for one plane of
// grad_input, whose tap of d is `tap_d`.
template <typename T, int kColumns, bool kSplit>
__device__ __forceinline__ void multiply_plane(const PlaneParams& p, uint64_t a, uint64_t b,
                                               int tap_d, int r, int half_w,
                                               float (&sum)[kColumns / 2]) {
  // In a descriptor's units, as all here.
  const int of_tap = p.weight_rows * kPlaneRowBytes >> 4, row = p.row_bytes >> 4;
  a += ((tap_d * p.kernel[1] + r) * p.kernel[2] + half_w) * of_tap;
  // Of a stage with one residue of w, every other tap.
  const int taps_w = kSplit ? p.taps(2, half_w) : p.kernel[2];
  const int to_tap = kSplit ? 2 * of_tap : of_tap;
  // From the last tap of w to the first of the next of h.
  const int to_weights = p.stride[1] * p.kernel[2] * of_tap - taps_w * to_tap;
  const int to_rows = p.pitch * row;
  const int to_other = kSplit ? row : p.class_bytes >> 4;
  const int from_other = kSplit ? row : row - to_other;
  // For ptxas only a shuffle makes this number of turns the same for all lanes; where it may not
  // be, wgmmas are serialised (C7520).
  int left = __shfl_sync(~0u, p.taps(1, r) * taps_w, 0);
  int left_w = taps_w, half = p.first_half, at = half * to_other;
#pragma unroll 1
  do {
    sm90::wgmma_fence();
#pragma unroll
    for (int s = 0; s < kPlaneSteps; ++s) {
      sm90::WgmmaShared<T, kColumns>::run(sum, a + 2 * s, b + at + 2 * s);
    }
    at += half == 0 ? to_other : from_other;
    half ^= 1;
    const bool last = --left_w == 0;
    a += to_tap + (last ? to_weights : 0);
    b += last ? to_rows : 0;
    half = last ? p.first_half : half;
    at = last ? p.first_half * to_other : at;
    left_w = last ? taps_w : left_w;
  } while (--left > 0);
  sm90::wgmma_commit();
  sm90::wgmma_wait<0>();
  sm90::pin(sum);
}

// kGroup, a constant: ptxas takes branches that depend on a thread's number for divergent, too.
template <typename T, int kColumns, int kRanks, int kGroup>
__device__ __forceinline__ void consume_planes(const PlaneParams& p, const PlaneShared& shared) {
  constexpr bool kSplit = kRanks > 1;
  sm90::Ring ring;
  uint32_t mail_parity = 0;
  sm90::barrier_wait(shared.weights_full, 0);
  float sum[kColumns / 2];
  const auto clear = [&] {
#pragma unroll
    for (int i = 0; i < kColumns / 2; ++i) sum[i] = 0;
  };
  clear();
  PlaneWalk walk(p);
  while (walk.next(p)) {
    const auto store = [&](int plane) {
      const int warp = thread_here() / 32;
      int channel = blockIdx.x / kRanks % p.blocks * kPlaneChannels + warp % 4 * 16;
      if (kRanks > 1) channel += blockIdx.x % kRanks * (16 / kRanks);
      const auto& stride = p.result_stride;
      T* const result = static_cast<T*>(p.result) + walk.item * stride[0] + channel * stride[1] +
                        plane * stride[2] + walk.first_line * stride[3];
      const int lines = min(p.lines, p.result_extent[1] - walk.first_line);
      if constexpr (kRanks == 1) {
        store_positions<T, kColumns>(p, result, p.channels - channel, lines, shared.places, sum);
      } else {
        join_and_store<kColumns, kRanks>(p, shared, result, p.channels - channel, lines,
                                         mail_parity, sum);
      }
    };
    for (int u = walk.first; u <= walk.last; ++u) {
      const int plane = walk.plane(p, u, kGroup), tap_d = u - p.stride[0] * plane;
      if (walk.loads(p, u)) {
#pragma unroll 1
        for (int r = 0; r < p.stride[1] && p.taps(1, r) > 0; ++r) {
#pragma unroll 1
          for (int half = 0; half < (kSplit ? 2 : 1); ++half) {
            sm90::barrier_wait(shared.full + 8 * ring.stage, ring.parity);
            if (plane >= 0) {
              multiply_plane<T, kColumns, kSplit>(
                  p, plane_descriptor(shared.weights, kPlaneRowBytes),
                  plane_descriptor(shared.slots + ring.stage * p.slot_bytes, p.row_bytes), tap_d, r,
                  half, sum);
            }
            sm90::release(shared.empty, ring);
            ring.next(p.slots);
          }
        }
      }
      if (plane >= 0 && tap_d == p.kernel[0] - 1) {
        store(plane);
        clear();
      }
    }
  }
}

#endif

template <typename T, int kColumns, int kRanks>
__global__ void CONVT3D_CLUSTER(kRanks) __launch_bounds__(kPlaneThreads, 1)
    plane_kernel(const __grid_constant__ PlaneParams p, const __grid_constant__ PlaneMaps maps) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ __align__(128) unsigned char memory[];
  constexpr int kConsumers = kPlaneGroups * 4;  // warps
  const int warp = threadIdx.x / 32;
  const PlaneShared shared(p, shared_address(memory));
  if (threadIdx.x == 0) {
    sm90::prefetch_map(&maps.of[0][0]);
    sm90::barrier_init(shared.weights_full, 1);
    for (int s = 0; s < p.slots; ++s) {
      sm90::barrier_init(shared.full + 8 * s, 1);
      sm90::barrier_init(shared.empty + 8 * s, kConsumers);
    }
    if constexpr (kRanks > 1) init_mail<kRanks>(shared.mail, kConsumers);
    sm90::barrier_init_fence();
  }
  find_places<kColumns>(p, shared.places);
  __syncthreads();
  if constexpr (kRanks > 1) cluster_barrier();
  if (warp < kConsumers) {
    sm90::more_registers<kPlaneConsumerRegisters>();
    if (warp < 4) {
      consume_planes<T, kColumns, kRanks, 0>(p, shared);
    } else {
      consume_planes<T, kColumns, kRanks, 1>(p, shared);
    }
  } else {
    sm90::fewer_registers<kPlaneProducerRegisters>();
    if (warp == kConsumers) {
      sm90::wait_for_earlier_launch();  // the kernels that pack
      if (threadIdx.x % 32 == 0) {
        sm90::barrier_arrive_expect(shared.weights_full, p.weight_bytes);
        sm90::bulk_copy(shared.weights,
                        p.weights + int64_t{blockIdx.x % (p.blocks * kRanks)} * p.weight_bytes,
                        p.weight_bytes, shared.weights_full);
      }
      __syncwarp();
      load_boxes(p, shared, maps);
    }
  }
  if constexpr (kRanks > 1) {  // the others write to this block no more
    __syncwarp();
    cluster_barrier();
  }
#endif
}

}  // namespace convt3d::cuda::halo_gemm
