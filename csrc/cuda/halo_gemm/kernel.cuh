// SPDX-License-Identifier: BSD-3-Clause
// Forward as an implicit GEMM whose two operands wgmma reads from shared memory:
//
//   output[n, co, s q + r] = bias[co] + sum over taps t of residue r, ci:
//                            input[n, ci, q + shift(t)] * weight[ci, co, t]
//
// M = flat positions: the q of a residue are numbered line by line, each line `pitch` long, each
// plane `lines` lines, which is as much as the input reaches beyond, so that the zeros behind one
// line are those in front of the next:
//
//      pitch                         a tile is 64 consecutive positions per warpgroup, across
//   +-----------------------+---+    lines, planes and batch items, and for every tap its rows
//   | input line h          | 0 |    of input are consecutive rows of shared memory: the tile
//   | input line h + 1      | 0 |    moved by shift(t). What is between the lines is multiplied
//   +-----------------------+---+    too, and not stored.
//
// A tile's input lines are brought once per input plane and chunk of channels, by TMA, zeros beyond
// the tensor included, and read by all taps of h and w through descriptors that start at any row.
// N = output channels; where the kernel has depth kSlots, N = kSlots x channels: the output planes
// that one input plane feeds. Then a block marches through the input planes; after each, the first
// `stride` slots are finished and stored, and the others move up. kFused residues of w have sums of
// their own and share the input.
//
// grad_input is this with other names (product.h); with a stride, a tile's sums go through all
// residues of its input, grad_output, one after another.
//
// Deep kernels of few channels have pairs of output planes: a position stands for planes 2 d and
// 2 d + 1, N = 2 x channels, and of the kernel + 1 input planes that either reads each but the
// first and the last feeds both, with neighbouring taps.
//
//   warpgroups 0 ..   consumers       64 rows each
//   then one warp     loads input     input_full: bytes of the boxes -> consumers
//                                     input_empty: all consumer warps -> this warp
//   and one           copies weights  weight_full: bytes of the copy -> consumers
//                                     weight_empty: all consumer warps -> the copying lane
//
// Weights that fit are copied once, else a residue's blocks stream through a ring. Taps of d that
// reach no input from any plane of a tile are left out. A consumer
// waits for its own wgmmas at the end of each group of blocks; the others have the tensor cores
// meanwhile. supports() guarantees groups = 1, positions below 2^30, and stages that fit; launch()
// rows of input that TMA can address. kLines: the output is NCDHW, or its channels are stored one
// by one.
#pragma once
#include "cuda/halo_gemm/epilogue.cuh"
#include "cuda/halo_gemm/fused_lines.cuh"
#include "cuda/halo_gemm/lines.cuh"
#include "cuda/halo_gemm/loads.cuh"
#include "cuda/halo_gemm/params.cuh"
#include "cuda/halo_gemm/walk.cuh"
#include "cuda/sm90/joined_sums.cuh"
#include "cuda/sm90/overlapping_launch.cuh"
#include "cuda/sm90/parked_sums.cuh"
#include "cuda/sm90/registers.cuh"
#include "cuda/sm90/wgmma.cuh"
#include "cuda/sm90/wgmma_shared.cuh"

namespace convt3d::cuda::halo_gemm {

using sm90::release;

struct RowsIn;  // where A is

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// multiply(b, group) for a residue's blocks of weights, `group` at a time, as they come. `b_start`
// describes the first block in shared memory, `block` is the residue's first one, where they are
// resident; multiply() returns when its wgmmas have read them.
template <int kBlock, typename Multiply>
__device__ __forceinline__ void for_weights(const Params& p, const Shared& shared, const Taps& taps,
                                            uint64_t b_start, int block, Ring* weight,
                                            const Multiply& multiply) {
  for (int left = taps.count; left > 0; left -= p.weight_group) {
    uint64_t b;
    if (p.resident) {
      b = b_start + (block + taps.count - left) * kBlock;
    } else {
      sm90::barrier_wait(shared.weight_full + 8 * weight->stage, weight->parity);
      b = b_start + weight->stage * (p.weight_group * kBlock);
    }
    multiply(b, min(left, p.weight_group));
    if (!p.resident) {
      release(shared.weight_empty, *weight);
      weight->next(p.weight_stages);
    }
  }
}

// The products of one residue, input plane and chunk. `a` describes a tile's first row.
template <typename T, int kColumns, int kSteps, bool kRows>
__device__ __forceinline__ void multiply(const Params& p, const Shared& shared, const Taps& taps,
                                         uint64_t a, int block, Ring* weight,
                                         float (&sum)[kColumns / 2]) {
  constexpr int kStep = kColumns * 32 >> 4, kBlock = kSteps * kStep;  // in a descriptor's units
  const int step_w = p.axis[2].input_step * kRowUnits;
  const int step_h = p.axis[1].input_step * p.pitch * kRowUnits - taps.w * step_w;
  a += taps.shift * kRowUnits;
  const bool rows = kRows && p.weight_rows;
  const uint64_t b_start =
      rows ? sm90::swizzled_descriptor(shared.weight) : sm90::b_descriptor(shared.weight);
  const int b_step = rows ? 32 >> 4 : kStep;
  int left_w = taps.w;
  for_weights<kBlock>(p, shared, taps, b_start, block, weight, [&](uint64_t b, int group) {
#pragma unroll 1
    do {
      sm90::wgmma_fence();
#pragma unroll
      for (int s = 0; s < kSteps; ++s) {
        sm90::WgmmaShared<T, kColumns>::run(sum, a + 2 * s, b + s * b_step);
      }
      b += kBlock;
      a -= step_w;
      if (--left_w == 0) {
        left_w = taps.w;
        a -= step_h;
      }
    } while (--group > 0);
    sm90::wgmma_commit();
    sm90::wgmma_wait<0>();
    sm90::pin(sum);
  });
}

// Where A is: rows of channels, as TMA brings them from NDHWC. The other way: lines_in.cuh.
struct RowsIn {
  template <int kSlots, bool kShared>
  static __device__ __forceinline__ void load(const Params& p, const Shared& shared,
                                              const Maps& maps) {
    load_input<kSlots, kShared>(p, shared, maps);
  }
  __device__ RowsIn(const Params& p, const Unit& unit, int group_row)
      : row_(unit.first % p.pitch + group_row) {}
  // Of the `fused`th residue of w. `block`: the first of its weights, where they are resident.
  template <typename T, int kColumns, int kSteps, bool kRows>
  __device__ __forceinline__ void multiply(const Params& p, const Shared& shared, const Unit&,
                                           const Taps& taps, int, int stage, int block,
                                           Ring* weight, float (&sum)[kColumns / 2]) const {
    const uint64_t a =
        sm90::swizzled_descriptor(shared.input + stage * p.stage_bytes) + row_ * kRowUnits;
    halo_gemm::multiply<T, kColumns, kSteps, kRows>(p, shared, taps, a, block, weight, sum);
  }

 private:
  const int row_;
};

template <typename T, int kSlots, int kChannels, int kFused, int kSteps, bool kLines, bool kShared,
          typename A>
__device__ __forceinline__ void consume(const Params& p, const Shared& shared) {
  constexpr int kColumns = kSlots * kChannels, kSums = kColumns / 2, kSlotSums = kChannels / 2;
  constexpr bool kMarching = marches(kSlots), kParks = parks(kFused * kColumns);
  constexpr int kStep = plane_step(kSlots);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int group_row = warp / 4 * kGroupRows;
  const bool stretches = can_stretch(kSlots, kChannels, kFused) && p.stretches;
  Ring input, weight;
  float sum[kFused][kSums];
  sm90::ParkedSums<2 * kGroupRows * max_warpgroups(kSlots)> parked(p.parking);
  const sm90::JoinedSums joined(p.joining);
  if (p.resident) sm90::barrier_wait(shared.weight_full, 0);
  Walk<kMarching, kShared> walk(p, shared.units);
  for (int round = 0;; ++round) {
    Unit unit;
    if (!walk.template next<kShared>(p, round, &unit)) break;
    // Not marching it is found when the sums are there: less lives beside them.
    const auto find_rows = [&] {
      const int first = group_row + warp % 4 * 16;
      if constexpr (kLines)
        return stretches ? stretch_place(p, unit, kMarching, group_row)
                         : position_place<T, kFused, kStep>(p, unit, kMarching, first);
      else
        return Rows(p, unit, kMarching, kStep, first + lane / 4);
    };
    const auto store_slot = [&]<int kSlot = 0>(const auto& rows, int64_t plane) {
      if constexpr (kLines) {
        if (stretches) {
          store_fused_lines<T, kChannels, kSlot>(p, shared.bias, unit.column_tile, rows, plane,
                                                 kFused == 1 && unit.axis(p, 2).first_output != 0,
                                                 shared.lines + warp / 4 * 4 * p.line_bytes, sum);
        } else {
          store_lines<T, kChannels, kSlot>(p, shared.bias, unit.column_tile, rows, plane,
                                           shared.lines + warp * p.line_bytes, sum);
        }
      } else {
#pragma unroll
        for (int f = 0; f < kFused; ++f) {
          store<T, kChannels, kSlot>(p, shared.bias, unit.column_tile, unit.axis(p, 2, f), rows,
                                     plane, sum[f]);
        }
      }
    };
    const A a(p, unit, group_row);
#pragma unroll
    for (int i = 0; i < kFused * kSums; ++i) sum[i / kSums][i % kSums] = 0;
    parked.start();
    int until_parking = p.parking_chunks;
    // One input plane, the `tap`th of d where not marching.
    const auto add_plane = [&](int tap, int chunk, int end) {
#pragma unroll 1
      for (; chunk < end; ++chunk) {
        if (kParks && p.parking_chunks != 0 && until_parking-- == 0) {
          parked.park(sum);
          until_parking = p.parking_chunks - 1;
        }
        sm90::barrier_wait(shared.input_full + 8 * input.stage, input.parity);
#pragma unroll
        for (int f = 0; f < kFused; ++f) {
          const Taps taps(p, unit, kMarching, f);
          a.template multiply<T, kColumns, kSteps, has_weight_rows(kSlots, kShared, kSteps)>(
              p, shared, unit, taps, f, input.stage,
              taps.block + (tap * p.chunks + chunk) * taps.count, &weight, sum[f]);
        }
        release(shared.input_empty, input);
        input.next(p.input_stages);
      }
    };
    if constexpr (!kMarching) {
      unit.for_planes<kShared, kStep>(p, add_plane);
      parked.collect(sum);
      if constexpr (kShared) {
        if (!joined.join(walk.part(round), sum)) continue;
      }
      store_slot(find_rows(), 0);
      if constexpr (kSlots == kPairSlots) {
#pragma unroll
        for (int i = 0; i < kSlotSums; ++i) sum[0][i] = sum[0][i + kSlotSums];
        unit.slot = 1;
        store_slot(find_rows(), 0);
      }
    } else {
      const auto rows = find_rows();
      // Planes before the first that is stored fill the slots.
      const Axis& axis = p.axis[0];
      const int first = p.first_plane + unit.begin, last = p.first_plane + unit.end;
      for (int plane = max(first - (axis.kernel - 1) / axis.stride, 0); plane < last; ++plane) {
        if (plane < axis.input && unit.loads) add_plane(0, 0, p.chunks);
        if (kParks) parked.collect(sum);
        if constexpr (kFused > 1) {
          // One or two planes (kMaxFusedStride), then one move: by a choice at run time, as code
          // for either spills.
          const bool two = axis.stride > 1;
          const int output = plane * axis.stride - p.padding;
          if (plane >= first && output >= 0 && output < p.outputs) {
            store_slot.template operator()<0>(rows, output * p.output_stride[2]);
          }
          if (two && plane >= first && output + 1 >= 0 && output + 1 < p.outputs) {
            store_slot.template operator()<1>(rows, (output + 1) * p.output_stride[2]);
          }
#pragma unroll
          for (int i = 0; i < kFused * kSums; ++i) {
            const int f = i / kSums, one = i % kSums + kSlotSums;
            const float next = one < kSums ? sum[f][one % kSums] : 0;
            const float second = one + kSlotSums < kSums ? sum[f][(one + kSlotSums) % kSums] : 0;
            sum[f][i % kSums] = two ? second : next;
          }
        } else {
#pragma unroll 1
          for (int r = 0; r < axis.stride; ++r) {
            const int output = plane * axis.stride + r - p.padding;
            if (plane >= first && output >= 0 && output < p.outputs) {
              store_slot(rows, output * p.output_stride[2]);
            }
#pragma unroll
            for (int i = 0; i < kFused * kSums; ++i) {
              const int f = i / kSums, from = i % kSums + kSlotSums;
              sum[f][i % kSums] = from < kSums ? sum[f][from % kSums] : 0;
            }
          }
        }
        if (kParks && p.parking_chunks != 0) {
          parked.park(sum);
          until_parking = p.parking_chunks;
        }
      }
    }
  }
}

#endif

// Registers of each role. Limits: 64 K of an SM, 96 or 128 a thread at the start, and multiples of
// 8; fewer spill.
template <int kSlots, bool kShared, int kFused = 1>
struct Roles {
  static constexpr bool kPlain = !marches(kSlots) && !kShared, kEven = kShared || kFused > 1;
  static constexpr int kThreads = (max_warpgroups(kSlots, kShared) + 1) * 128;
  static constexpr int kProducerRegisters = kPlain ? 64 : kEven ? 80 : 56;
  static constexpr int kConsumerRegisters = kPlain ? 104 : kEven ? 144 : 152;
};

template <typename T, int kSlots, int kChannels, int kFused, int kSteps, bool kLines, bool kShared,
          typename A = RowsIn>
__global__ void __launch_bounds__(Roles<kSlots, kShared, kFused>::kThreads, 1)
    halo_gemm_kernel(const __grid_constant__ Params p, const __grid_constant__ Maps maps) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  constexpr int kColumns = kSlots * kChannels;
  using Registers = Roles<kSlots, kShared, kFused>;
  extern __shared__ __align__(128) unsigned char memory[];
  const Shared shared(p, memory, p.weight_bytes, kChannels, kShared);
  const int consumers = p.warpgroups * 4, warp = threadIdx.x / 32;
  if (threadIdx.x == 0) {
    for (int s = 0; s < p.input_stages; ++s) {
      sm90::barrier_init(shared.input_full + 8 * s, 1);
      sm90::barrier_init(shared.input_empty + 8 * s, consumers);
    }
    // All resident weights come at once; `weight_stages` may then be more than barriers.
    for (int s = 0; s < (p.resident ? 1 : p.weight_stages); ++s) {
      sm90::barrier_init(shared.weight_full + 8 * s, 1);
      sm90::barrier_init(shared.weight_empty + 8 * s, consumers);
    }
    sm90::barrier_init_fence();
  }
  if (kShared && threadIdx.x == blockDim.x - 1) find_units(p, shared.units);
  for (int i = threadIdx.x; i < p.column_tiles * kChannels; i += blockDim.x) {
    const bool there = p.bias && i < p.out_channels;
    shared.bias[i] = there ? widen(static_cast<const T*>(p.bias)[i * p.bias_stride]) : 0.0f;
  }
  __syncthreads();
  if (warp < consumers) {
    sm90::more_registers<Registers::kConsumerRegisters>();
    consume<T, kSlots, kChannels, kFused, kSteps, kLines, kShared, A>(p, shared);
  } else {
    sm90::fewer_registers<Registers::kProducerRegisters>();
    if (warp == consumers) prefetch_maps(p, maps);
    // For the kernels that pack. Those began when all that is older had ended, so that an input
    // that they leave alone is there.
    if (warp != consumers || p.packed_input) sm90::wait_for_earlier_launch();
    if (warp == consumers) {
      A::template load<kSlots, kShared>(p, shared, maps);
    } else if (threadIdx.x == consumers * 32 + 32) {
      copy_weights<kSlots, kShared, kFused, kSteps * kColumns * 32>(p, shared, maps);
    }
  }
#endif
}

}  // namespace convt3d::cuda::halo_gemm
