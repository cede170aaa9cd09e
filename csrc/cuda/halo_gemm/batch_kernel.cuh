// SPDX-License-Identifier: BSD-3-Clause
// The product of kernel.cuh where there are many batch items of few positions: between the lines of
// 4 x 4 x 4 positions lie 25 / 16 of what counts. Here
//
//   M = batch items of one position, one position for each warpgroup, neighbours along w
//
//     w - 1     w       w + 1    ..       a stage: a line of input, one chunk of channels, and the
//   +--------+--------+--------+--+       weights of the taps of w that read it. A tap is another
//   | items  | items  | items  |  |       position, that is batch_rows rows further on. What lies
//   +--------+--------+--------+--+       outside is neither loaded nor multiplied.
//      |        |
//      +--------+--- warpgroup w - 1, w, ..
//
//   warpgroups 0 ..   consumers    64 rows each, of which batch_rows are there
//   then one lane     producer     full: bytes of the boxes and copies -> consumers
//                                  empty: all consumer warps -> this lane
//
// Who does which lines: batch_rows.h. Sums, weights and residues are as in kernel.cuh, the
// guarantees too; choose_batch_rows() sees to it that stages fit.
#pragma once
#include "cuda/halo_gemm/kernel.cuh"
#include "cuda/sm90/registers.cuh"

namespace convt3d::cuda::halo_gemm {

// BatchDeal's: (residue * planes + d) * lines + h.
struct LineOrder {
  unsigned short line[kMaxBatchLines];
};
inline constexpr unsigned short kNoLine = 0xFFFF;

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// A line of outputs, of one residue or of all.
struct BatchUnit {
  Unit unit;
  int d, h;  // among the residue's outputs

  __device__ bool set(const Params& p, const LineOrder& order, int round) {
    unsigned index = round * gridDim.x + blockIdx.x;
    if (index >= p.items) return false;
    unit.column_tile = take(&index, p.column_tiles);
    unit.first = take(&index, p.tiles) * p.batch_rows;  // batch item
    unit.strip = take(&index, p.strips);
    unsigned residue = order.line[index];
    if (residue == kNoLine) return false;
    h = take(&residue, p.lines);
    d = take(&residue, p.planes);
    const int of_w = take(&residue, p.axis[2].stride), of_h = take(&residue, p.axis[1].stride);
    unit.set(p, static_cast<int>(residue), of_h, of_w);
    return true;
  }
  // Calls `each(tap of d, tap of h, their input of d, of h)` for all that read any input.
  template <typename Each>
  __device__ __forceinline__ void for_lines(const Params& p, const Each& each) {
    for (int left = p.sum_residues;;) {
      for (int of_d = 0; unit.loads && of_d < unit.axis(p, 0).num_taps; ++of_d) {
        const int input_d = input(p, 0, d, of_d);
        if (input_d < 0 || input_d >= p.axis[0].input) continue;
        for (int of_h = 0; of_h < unit.axis(p, 1).num_taps; ++of_h) {
          const int input_h = input(p, 1, h, of_h);
          if (input_h < 0 || input_h >= p.axis[1].input) continue;
          each(of_d, of_h, input_d, input_h);
        }
      }
      if (--left == 0) break;
      unit.next(p);
    }
  }
  // What a tap reads for the output `at`.
  __device__ int input(const Params& p, int a, int at, int tap) const {
    const Residue& of = unit.axis(p, a);
    return of.input_offset +
           p.axis[a].input_stride * (at + of.first_input - tap * p.axis[a].input_step);
  }
};

template <typename T, int kChannels>
__device__ __forceinline__ void consume_batch(const Params& p, const LineOrder& order,
                                              const Shared& shared) {
  constexpr int kStep = kChannels * 32 >> 4, kBlock = kMaxSteps * kStep;  // in descriptors' units
  const int lane = threadIdx.x % 32;
  const int warp = __shfl_sync(~0u, threadIdx.x / 32, 0);  // the compiler sees that it is one
  const int group = warp / 4;
  const uint64_t b_start =
      p.weight_rows ? sm90::swizzled_descriptor(shared.weight) : sm90::b_descriptor(shared.weight);
  const int b_step = p.weight_rows ? 32 >> 4 : kStep;
  const int a_step = p.axis[2].input_step * p.batch_rows * kRowUnits;
  Ring ring;
  float sum[1][kChannels / 2];
  sm90::ParkedSums<2 * kGroupRows * max_warpgroups(1)> parked(p.parking);
  BatchUnit at;
  for (int round = 0; at.set(p, order, round); ++round) {
    const Unit& unit = at.unit;
    const int w = unit.strip * p.strip + group;
#pragma unroll
    for (int i = 0; i < kChannels / 2; ++i) sum[0][i] = 0;
    parked.start();
    int until_parking = p.parking_chunks;
    at.for_lines(p, [&](int, int, int, int) {
      // Taps of w that read any input, or one that reads zeros: else there are paths without a
      // wgmma, which ptxas serialises (C7515).
      const int taps = unit.axis(p, 2).num_taps;
      int first = 0, last = taps;
      while (first < taps - 1 && at.input(p, 2, w, first) >= p.axis[2].input) ++first;
      while (last > first + 1 && at.input(p, 2, w, last - 1) < 0) --last;
      const int position = group + (taps - 1 - first) * p.axis[2].input_step;
#pragma unroll 1
      for (int chunk = 0; chunk < p.chunks; ++chunk) {
        if (p.parking_chunks != 0 && until_parking-- == 0) {
          parked.park(sum);
          until_parking = p.parking_chunks - 1;
        }
        sm90::barrier_wait(shared.input_full + 8 * ring.stage, ring.parity);
        const uint32_t stage = ring.stage * p.stage_bytes;
        uint64_t a =
            sm90::swizzled_descriptor(shared.input + stage) + position * p.batch_rows * kRowUnits;
        uint64_t b = b_start + (stage >> 4) + first * kBlock;
        int left = last - first;
#pragma unroll 1
        do {
          sm90::wgmma_fence();
#pragma unroll
          for (int s = 0; s < kMaxSteps; ++s) {
            sm90::WgmmaShared<T, kChannels>::run(sum[0], a + 2 * s, b + s * b_step);
          }
          a -= a_step;
          b += kBlock;
        } while (--left > 0);
        sm90::wgmma_commit();
        sm90::wgmma_wait<0>();
        sm90::pin(sum[0]);
        release(shared.input_empty, ring);
        ring.next(p.input_stages);
      }
    });
    parked.collect(sum);
    Rows rows;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int row = warp % 4 * 16 + lane / 4 + 8 * i, n = unit.first + row;
      const Residue &of_d = unit.axis(p, 0), &of_h = unit.axis(p, 1);
      rows.w[i] = row < p.batch_rows && n < p.batch ? w : INT32_MAX;
      rows.offset[i] = n * p.output_stride[0] +
                       (of_d.first_output + int64_t{at.d} * p.axis[0].stride) * p.output_stride[2] +
                       (of_h.first_output + int64_t{at.h} * p.axis[1].stride) * p.output_stride[3] +
                       int64_t{w} * p.axis[2].stride * p.output_stride[4];
    }
    store<T, kChannels>(p, shared.bias, unit.column_tile, unit.axis(p, 2), rows, 0, sum[0]);
  }
}

// One lane.
template <int kBlockBytes>
__device__ __forceinline__ void produce_batch(const Params& p, const LineOrder& order,
                                              const Maps& maps, const Shared& shared) {
  Ring ring;
  BatchUnit at;
  for (int round = 0; at.set(p, order, round); ++round) {
    const Unit& unit = at.unit;
    at.for_lines(p, [&](int of_d, int of_h, int input_d, int input_h) {
      const Taps taps(p, unit, false, 0);
      const int map = p.sum_residues > 1 ? unit.residue[2] : 0;
      const int w = unit.strip * p.strip + unit.halo_w;
      const uint32_t input_bytes = p.pitch * p.batch_rows * kRowBytes;
      const uint32_t weight_bytes = taps.w * kBlockBytes;
      for (int chunk = 0; chunk < p.chunks; ++chunk) {
        const uint32_t full = shared.input_full + 8 * ring.stage;
        const uint32_t stage = ring.stage * p.stage_bytes;
        sm90::barrier_wait(shared.input_empty + 8 * ring.stage, ring.parity ^ 1);
        sm90::barrier_arrive_expect(full, input_bytes + weight_bytes);
        // The map's axes: channels, batch items, w, h, d.
        sm90::load_box(shared.input + stage, &maps.of_w[map], full, chunk * p.chunk_channels,
                       unit.first, w, input_h, input_d);
        uint32_t to = shared.weight + stage;
        if (p.weight_as_is) {
          for (int tap = 0; tap < taps.w; ++tap, to += kBlockBytes) {
            sm90::load_box(to, &maps.weight, full,
                           weight_tap(p, unit, taps, of_d, of_h * taps.w + tap) * p.in_channels +
                               chunk * p.chunk_channels,
                           0, 0, 0, unit.column_tile * p.tile_runs);
          }
        } else {
          const int block = taps.block + (of_d * p.chunks + chunk) * taps.count + of_h * taps.w;
          sm90::bulk_copy(to, p.packed + int64_t{block} * kBlockBytes, weight_bytes, full);
        }
        ring.next(p.input_stages);
      }
    });
  }
}

#endif

template <typename T, int kChannels>
__global__ void __launch_bounds__(Roles<1, false>::kThreads, 1)
    batch_kernel(const __grid_constant__ Params p, const __grid_constant__ Maps maps,
                 const __grid_constant__ LineOrder order) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  constexpr int kBlockBytes = kRowBytes * kChannels;
  extern __shared__ __align__(128) unsigned char memory[];
  // Stages of input, each with its weights behind it.
  Shared shared(p, memory, 0, kChannels, false);
  shared.weight = shared.input + p.stage_bytes - p.weight_group * kBlockBytes;
  const int consumers = p.warpgroups * 4, warp = threadIdx.x / 32;
  if (threadIdx.x == 0) {
    for (int s = 0; s < p.input_stages; ++s) {
      sm90::barrier_init(shared.input_full + 8 * s, 1);
      sm90::barrier_init(shared.input_empty + 8 * s, consumers);
    }
    sm90::barrier_init_fence();
  }
  for (int i = threadIdx.x; i < p.column_tiles * kChannels; i += blockDim.x) {
    const bool there = p.bias && i < p.out_channels;
    shared.bias[i] = there ? widen(static_cast<const T*>(p.bias)[i * p.bias_stride]) : 0.0f;
  }
  __syncthreads();  // barriers and bias are there
  if (warp < consumers) {
    sm90::more_registers<Roles<1, false>::kConsumerRegisters>();
    consume_batch<T, kChannels>(p, order, shared);
  } else {
    sm90::fewer_registers<Roles<1, false>::kProducerRegisters>();
    if (warp == consumers) prefetch_maps(p, maps);
    sm90::wait_for_earlier_launch();  // the kernels that pack
    if (threadIdx.x == consumers * 32) produce_batch<kBlockBytes>(p, order, maps, shared);
  }
#endif
}

}  // namespace convt3d::cuda::halo_gemm
