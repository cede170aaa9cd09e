// SPDX-License-Identifier: BSD-3-Clause
// grad_weight of float32 tensors as a matrix product:
//
//   grad_weight[ci, co, t] = sum over n, i of  grad_output[n, co, s*i + d*t - p] * input[n, ci, i]
//
//   M = 64 rows of a unit: 32 (16) out_channels of 2 (4) taps, see halo_weight/taps.h
//   N = in_channels
//   K = input positions (n, i), 8 to an instruction
//
//   a stage: input            views of grad_output
//     [in_channels]             row = every s-th position
//     [32 positions] ...        [32 out_channels] ...
//        |                         |  16 bytes: 4 out_channels of one position; the tap moves the
//        row |                      registers: A, 4 rows of two units
//        +---> wgmma <-------------+
//
// wgmma wants 32-bit operands of shared memory with K contiguous. input is packed so, line by line;
// grad_output, with channels contiguous, goes through registers, whose rows may lie anywhere. Both
// are boxes that TMA writes and rounds, zeros beyond the tensor included. Where few jobs read the
// input, its rows of channels come as they are, and three warps bring them in line. In full float32
// nothing is rounded: a stage has lines of input's high parts and lines of its low ones, and the
// threads split what they gather.
//
//   warpgroups 0, 1   consumers   `kUnits` units each. While wgmma works on 16 positions, the next
//                                 16 are gathered
//   then one warp     loads       full: bytes of the boxes, and turning warps -> consumers
//                                 empty: all consumer warps -> this warp and the turning warps
//        three warps  turn        raw_full: bytes of input's rows -> these warps; raw_empty: back
//
// Boxes and jobs are cut into blocks, and sums put into pieces, as halo_weight has them; its
// reduce.cuh adds the pieces.
//
// supports() guarantees groups = 1 and extents within 32 bits; launch() rows that TMA can address.
#pragma once
#include <cuda.h>

#include "cuda/sm90/mbarrier.cuh"
#include "cuda/sm90/overlapping_launch.cuh"
#include "cuda/sm90/registers.cuh"
#include "cuda/sm90/ring.cuh"
#include "cuda/view_weight/load.cuh"
#include "cuda/view_weight/multiply.cuh"

namespace convt3d::cuda::view_weight {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// For each step of eight places of K and each quad of lanes, the bytes of the view's row of place
// `quad`, and of that 4 on. What fills up the last line meets zeros of the input.
__device__ __forceinline__ void fill_table(const Params& p, const Shared& shared) {
  for (int k = threadIdx.x; k < p.positions; k += blockDim.x) {
    int rest = k - k % sm90::kChunk + sm90::position_in_line(p.order, k % sm90::kChunk);
    int row = 0;
    if (rest < p.box_positions) {
      const int w = rest % p.box[3];
      rest /= p.box[3];
      const int h = rest % p.box[2];
      rest /= p.box[2];
      const int d = rest % p.box[1], n = rest / p.box[1];
      row = n * p.halo_pitch[0] + d * p.halo_pitch[1] + h * p.halo_pitch[2] + w;
    }
    const uint32_t at = shared.table + 4 * (k / 8 * 8 + k % 4 * 2 + k / 4 % 2);
    asm volatile("st.shared.b32 [%0], %1;" ::"r"(at), "r"(row * p.out_width * kElementBytes)
                 : "memory");
  }
}

// The rows of this thread, of a warpgroup's kUnits units: 2 * i + half from `first` on, of unit
// `unit`; of runs, `first` + half of each unit from there on. `set`: of the job's lanes.
template <int kUnits, bool kRuns>
struct Rows {
  static constexpr int kOfTap = kRuns ? 2 : 2 * kUnits;
  int unit, first, set;

  __device__ explicit Rows(const Params& p) {
    const int thread = threadIdx.x % 128, group = threadIdx.x / 128;
    const int row = thread / 32 * (8 * kOfTap) + thread % 32 / 4 * kOfTap;
    unit = group * kUnits + row / kUnitRows;
    first = row % kUnitRows;
    set = (kRuns ? group : unit) * p.lanes + first / p.out_width;
  }
  // From `first` of `unit` on.
  static __device__ constexpr int row(int i, int half) {
    return kRuns ? i * kUnitRows + half : 2 * i + half;
  }
};

// The sums to their piece: [unit][64 rows][in_channels]. `again`: added to what is there.
template <int kColumns, int kUnits, bool kRuns>
__device__ __forceinline__ void put(float* piece, bool again,
                                    const float (&sum)[kUnits][kColumns / 2]) {
#pragma unroll
  for (int u = 0; u < kUnits; ++u) {
#pragma unroll
    for (int i = 0; i < kColumns / 4; ++i) {
      const int row = Rows<kUnits, kRuns>::row(u, i % 2);
      float2* at = reinterpret_cast<float2*>(piece + row * kColumns + i / 2 * 8);
      float2 value{sum[u][2 * i], sum[u][2 * i + 1]};
      if (again) {
        const float2 before = *at;
        value.x += before.x;
        value.y += before.y;
      }
      *at = value;
    }
  }
}

// The sums of one tap, units from kFirst on, to the weight, whose out_channels are contiguous, from
// in_channel `channel` on. `again`: with those of the piece.
template <int kColumns, int kUnits, bool kRuns, int kFirst>
__device__ __forceinline__ void put_tap(const Params& p, const Rows<kUnits, kRuns>& rows,
                                        int first_unit, int channel, const float* piece, bool again,
                                        const float (&sum)[kUnits][kColumns / 2]) {
  const halo_weight::Target& t = p.target;
  constexpr int kOfTap = Rows<kUnits, kRuns>::kOfTap;
  const int unit = first_unit + rows.unit + kFirst;
  const int part = unit / p.work.part_units, of_part = unit - part * p.work.part_units;
  const int entry = of_part * p.lanes + rows.first / p.out_width;
  const int out = part * p.out_width + rows.first % p.out_width;
  if (unit >= p.work.units || p.lane[entry].view == halo_weight::kNoView) return;
  const int tap = p.tap[entry], line = tap / t.kernel[2], plane = line / t.kernel[1];
  float* const to = static_cast<float*>(t.data) + out + plane * t.stride[2] +
                    (line - plane * t.kernel[1]) * t.stride[3] +
                    (tap - line * t.kernel[2]) * t.stride[4];
  const int column = threadIdx.x % 4 * 2;
#pragma unroll
  for (int j = 0; j < kColumns / 4; ++j) {
    const int in = j / 2 * 8 + j % 2;  // from this thread's first column on
    if (channel + column + in >= t.in_channels) continue;
    float value[kOfTap];
#pragma unroll
    for (int r = 0; r < kOfTap; ++r) {
      value[r] = sum[kFirst + r / 2][j / 2 * 4 + r % 2 * 2 + j % 2];
      const int row = Rows<kUnits, kRuns>::row(kFirst + r / 2, r % 2);
      if (again) value[r] += piece[row * kColumns + in];
    }
    float* const at = to + (channel + column + in) * t.stride[0];
    if (t.whole_pieces && out + kOfTap <= t.out_channels) {
      if constexpr (kOfTap == 4) {
        *reinterpret_cast<float4*>(at) = make_float4(value[0], value[1], value[2], value[3]);
      } else {
        *reinterpret_cast<float2*>(at) = make_float2(value[0], value[1]);
      }
    } else {
#pragma unroll
      for (int r = 0; r < kOfTap; ++r) {
        if (out + r < t.out_channels) at[r] = value[r];
      }
    }
  }
}

template <int kColumns, int kUnits, bool kRuns, int kFirst = 0>
__device__ __forceinline__ void put_weight(const Params& p, const Rows<kUnits, kRuns>& rows,
                                           int first_unit, int channel, const float* piece,
                                           bool again, const float (&sum)[kUnits][kColumns / 2]) {
  put_tap<kColumns, kUnits, kRuns, kFirst>(p, rows, first_unit, channel, piece, again, sum);
  if constexpr (kRuns && kFirst + 1 < kUnits) {
    put_weight<kColumns, kUnits, kRuns, kFirst + 1>(p, rows, first_unit, channel, piece, again,
                                                    sum);
  }
}

template <Precision kPrecision, int kColumns, int kUnits, bool kRuns>
__device__ __forceinline__ void consume(const Params& p, const Shared& shared) {
  const Rows<kUnits, kRuns> of_thread(p);
  const uint32_t table = shared.table + threadIdx.x % 4 * 8;
  sm90::Ring ring;
  int box = p.work.first(blockIdx.x);
  const int end = p.work.first(blockIdx.x + 1);
  while (box < end) {
    const int job = box / p.work.boxes, job_end = min(end, (job + 1) * p.work.boxes);
    const int first_unit = job / p.work.in_tiles * p.work.job_units;
    // Lanes that are absent read the first view.
    uint32_t rows = shared.stages + p.input_bytes + of_thread.first % p.out_width * kElementBytes;
    uint32_t offset = 0;
    for_each_lane(p, first_unit, [&](int lane, int slot, int, int entry) {
      if (lane == of_thread.set) {
        offset = slot * p.view_bytes + p.lane[entry].shift * (p.out_width * kElementBytes);
      }
    });
    rows += offset;
    float* piece = p.work.partial + p.work.piece_at(blockIdx.x, job) +
                   (of_thread.unit * kUnitRows + of_thread.first) * kColumns + threadIdx.x % 4 * 2;
    for (bool again = false; box < job_end; again = true) {
      float sum[kUnits][kColumns / 2];
#pragma unroll
      for (int i = 0; i < kUnits * kColumns / 2; ++i)
        sum[i / (kColumns / 2)][i % (kColumns / 2)] = 0;
      for (const int stop = min(job_end, box + p.chain); box < stop; ++box) {
        sm90::barrier_wait(shared.full + 8 * ring.stage, ring.parity);
        const uint32_t stage = ring.stage * p.stage_bytes;
        using Products = Multiply<kPrecision, kColumns, kUnits>;
        if constexpr (kRuns) {
          Products::runs(p, sum, shared.stages + stage, rows + stage, table);
        } else {
          Products::box(p, sum, shared.stages + stage, rows + stage, table);
        }
        sm90::release(shared.empty, ring);
        ring.next(p.stages);
      }
      sm90::pin(sum);
      if (p.work.direct && box == job_end) {
        put_weight<kColumns, kUnits, kRuns>(p, of_thread, first_unit,
                                            job % p.work.in_tiles * kColumns, piece, again, sum);
      } else {
        put<kColumns, kUnits, kRuns>(piece, again, sum);
      }
    }
  }
}

#endif

template <Precision kPrecision, int kColumns, int kUnits, bool kRuns>
__global__ void __launch_bounds__(kThreads, 1)
    view_weight_kernel(const __grid_constant__ Params p,
                       const __grid_constant__ CUtensorMap input_map,
                       const __grid_constant__ CUtensorMap output_map) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ __align__(128) unsigned char memory[];
  const Shared shared(p, memory);
  constexpr int kConsumerWarps = 4 * kWarpgroups;
  const int warp = threadIdx.x / 32;
  if (threadIdx.x == 0) {
    sm90::prefetch_map(&input_map);
    sm90::prefetch_map(&output_map);
    for (int s = 0; s < p.stages; ++s) {
      sm90::barrier_init(shared.full + 8 * s, 1 + (p.turns_input ? kTurningWarps : 0));
      sm90::barrier_init(shared.empty + 8 * s, kConsumerWarps);
    }
    for (int s = 0; s < kRawBoxes; ++s) {
      sm90::barrier_init(shared.raw_full + 8 * s, 1);
      sm90::barrier_init(shared.raw_empty + 8 * s, kTurningWarps);
    }
    sm90::barrier_init_fence();
  }
  fill_table(p, shared);
  sm90::let_next_launch_start();  // the reduction, on SMs that are free
  __syncthreads();                // barriers and table are there
  if (warp < kConsumerWarps) {
    sm90::more_registers<kConsumerRegisters>();
    consume<kPrecision, kColumns, kUnits, kRuns>(p, shared);
  } else {
    sm90::fewer_registers<kProducerRegisters>();
    if (warp == kConsumerWarps) {
      load<kColumns>(p, shared, &input_map, &output_map);
    } else if (p.turns_input) {
      turn<kColumns>(p, shared, warp - kConsumerWarps - 1);
    }
  }
#endif
}

}  // namespace convt3d::cuda::view_weight
