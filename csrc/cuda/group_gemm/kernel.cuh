// SPDX-License-Identifier: BSD-3-Clause
// Forward of groups with few channels, on the tensor cores.
//
//   output[n, co, s*q + r - p] = bias[co] + sum over ci, t of input[n, ci, q - d*t / s] *
//                                weight[ci, co, t],   t with d*t mod s = r         (per axis)
//
// "Cell" q of an axis holds the s outputs from s*q - p on. A block has whole lines of cells, the
// input that their taps read, and up to eight out channels (a *part*; NDHWC: two or three parts):
//
//        input, [place][16 bytes of channels]   M: 16 cells     N: 8 out channels
//        +--+--+--+--+--+--+--+                 K: two slices of 8 in channels (float32: 4). A
//        slice
//   line |  |  |##|##|##|##|  | <- ldmatrix        is a tap on d and h, and a shift on w
//        +--+--+--+--+--+--+--+    takes 16     A of a slice = the cells' places less one offset
//        |  |  |  |  |  |  |  |    cells for    B: zeros where in and out channel are of different
//        +--+--+--+--+--+--+--+    any slice       groups, or a residue has no tap at that shift
//
//   for each plane of outputs: multiply into the staging area | barrier | store whole lines
//
// Groups of less than eight channels share an instruction: depthwise uses an eighth of it, and is
// bound by memory all the same. Zeros of B would turn a NaN or Inf of one group into NaN of others:
// a block that sees one computes every such output again, from its own channels (special.cuh).
// float32 is split into two TF32 numbers as it is read, and multiplied in three products.
//
// supports() guarantees: 32-bit counts, 16-bit coordinates of cells, no sum of more instructions
// than sm90::max_chain, all regions within kMaxShared.
#pragma once
#include <cstdint>

#include "cuda/common/mma_sync.cuh"
#include "cuda/common/tf32_split.cuh"
#include "cuda/group_gemm/load.cuh"
#include "cuda/group_gemm/params.cuh"
#include "cuda/group_gemm/prologue.cuh"
#include "cuda/group_gemm/special.cuh"
#include "cuda/group_gemm/store.cuh"

namespace convt3d::cuda::group_gemm {

// d = c + a * b, for the first product of a sum: c is of this lane's columns.
template <typename T>
__device__ __forceinline__ void mma_start(float (&d)[4], const uint32_t (&a)[4],
                                          const uint32_t (&b)[2], const float2& c) {
#define CONVT3D_MMA_START(KIND)                                                  \
  asm("mma.sync.aligned." KIND                                                   \
      ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %11, %10, %11};" \
      : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])                           \
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c.x), "f"(c.y))
  if constexpr (std::is_same_v<T, __half>) {
    CONVT3D_MMA_START("m16n8k16.row.col.f32.f16.f16");
  } else if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    CONVT3D_MMA_START("m16n8k16.row.col.f32.bf16.bf16");
  } else {
    CONVT3D_MMA_START("m16n8k8.row.col.f32.tf32.tf32");
  }
#undef CONVT3D_MMA_START
}

// This lane's part of B, for the residues on w of a pair of slices.
template <int kWidth>
__device__ __forceinline__ void read_factors(uint32_t (&b)[kWidth][2], const uint2* factors) {
  if constexpr (kWidth == 2) {
    const uint4 own = *reinterpret_cast<const uint4*>(factors);
    b[0][0] = own.x, b[0][1] = own.y, b[1][0] = own.z, b[1][1] = own.w;
  } else {
    b[0][0] = factors->x, b[0][1] = factors->y;
  }
}

// float32, a pair of slices, for the first kResidues residues on w. The tensor cores truncate as
// they add, so each such sum starts from zero, the small products come first, and the sums are
// added up with rounding. What split_operand() cannot split is special (load.cuh). Two pairs in one
// such sum would spill registers.
template <int kResidues, int kWidth>
__device__ __forceinline__ void add_split(const uint2* factors, uint32_t shift,
                                          const uint32_t (&base)[kRowTiles],
                                          float (&sum)[kRowTiles][kWidth][4]) {
  uint32_t b[kWidth][2], high_b[kResidues][2], low_b[kResidues][2];
  read_factors<kWidth>(b, factors);
#pragma unroll
  for (int r = 0; r < kResidues; ++r) split_operand(b[r], high_b[r], low_b[r]);
#pragma unroll
  for (int tile = 0; tile < kRowTiles; ++tile) {
    uint32_t a[4], high_a[4], low_a[4];
    load_matrices(a, base[tile] + shift);
    split_operand(a, high_a, low_a);
    float part[kResidues][4];
#pragma unroll
    for (int r = 0; r < kResidues; ++r) {
      mma_start<float>(part[r], low_a, high_b[r], make_float2(0, 0));
    }
#pragma unroll
    for (int r = 0; r < kResidues; ++r) mma_sync<float>(part[r], high_a, low_b[r]);
#pragma unroll
    for (int r = 0; r < kResidues; ++r) {
      mma_sync<float>(part[r], high_a, high_b[r]);
#pragma unroll
      for (int i = 0; i < 4; ++i) sum[tile][r][i] += part[r][i];
    }
  }
}

// A pair of slices, for the first kResidues residues on w; kStart: the first of a sum, which starts
// from the bias of this lane's columns.
template <Precision kPrecision, int kResidues, bool kStart, int kWidth>
__device__ __forceinline__ void add_pair(const uint2* factors, uint32_t shift, const float2& bias,
                                         const uint32_t (&base)[kRowTiles],
                                         float (&sum)[kRowTiles][kWidth][4]) {
  if constexpr (kPrecision == Precision::fp32) {
    add_split<kResidues>(factors, shift, base, sum);
  } else {
    using T = ElementOf<kPrecision>;
    uint32_t b[kWidth][2], a[kRowTiles][4];
    read_factors<kWidth>(b, factors);
#pragma unroll
    for (int tile = 0; tile < kRowTiles; ++tile) {
      load_matrices(a[tile], base[tile] + shift);
      if constexpr (kPrecision == Precision::tf32) {
#pragma unroll
        for (uint32_t& value : a[tile]) value = round_to_tf32(value);
      }
    }
#pragma unroll
    for (int tile = 0; tile < kRowTiles; ++tile) {
#pragma unroll
      for (int r = 0; r < kResidues; ++r) {
        if constexpr (kStart) {
          mma_start<T>(sum[tile][r], a[tile], b[r], bias);
        } else {
          mma_sync<T>(sum[tile][r], a[tile], b[r]);
        }
      }
    }
  }
}

// `base`: this lane's rows of A, for the first part and the first plane of cells.
template <Precision kPrecision, int kWidth>
__device__ __forceinline__ void multiply(const GroupGemm& p, const Regions& at, const Plane& plane,
                                         const Unit& unit, const uint32_t (&base)[kRowTiles],
                                         float (&sum)[kRowTiles][kWidth][4]) {
  const int lane = threadIdx.x % 32;
  const int first = (unit.part * p.in_chunks * p.plane + plane.cell * p.halo[1] * p.halo[2]) * 16;
  const int list = (plane.residue * p.stride[1] + unit.residue_h) * p.width_blocks + unit.block;
  const int begin = p.taps.list_first[list], end = p.taps.list_first[list + 1];
  const uint2* factors = at.factors + ((unit.part * p.pairs + begin) * 32 + lane) * kWidth;
  const int* offset = at.offsets + 2 * begin + lane / 16;
  const float2 bias =
      *reinterpret_cast<const float2*>(at.bias + unit.part * kColumns + lane % 4 * 2);
  // In 32 bits the products of the second residue are left out where it has no tap; in 16 bits they
  // cost less than to start sums otherwise than by their first product.
  constexpr bool kSkips = sizeof(ElementOf<kPrecision>) == 4;
  if (kSkips || begin == end) {  // the latter: residues without taps
#pragma unroll
    for (int i = 0; i < kRowTiles * kWidth * 4; ++i) {
      sum[i / (4 * kWidth)][i / 4 % kWidth][i % 4] = i % 2 == 0 ? bias.x : bias.y;
    }
    if (begin == end) return;
  }
  int pair = begin;
  if constexpr (kSkips) {
    const int all = begin + p.taps.list_all[list];
#pragma unroll 1
    for (; pair < all; ++pair, factors += 32 * kWidth, offset += 2) {
      add_pair<kPrecision, kWidth, false>(factors, *offset + first, bias, base, sum);
    }
#pragma unroll 1
    for (; pair < end; ++pair, factors += 32 * kWidth, offset += 2) {
      add_pair<kPrecision, 1, false>(factors, *offset + first, bias, base, sum);
    }
  } else {
    add_pair<kPrecision, kWidth, true>(factors, *offset + first, bias, base, sum);
#pragma unroll 1
    while (++pair < end) {
      factors += 32 * kWidth;
      offset += 2;
      add_pair<kPrecision, kWidth, false>(factors, *offset + first, bias, base, sum);
    }
  }
}

// NCDHW: where this lane's columns wait, in elements.
template <typename T>
__device__ __forceinline__ void find_channels(const GroupGemm& p, const Plane& plane,
                                              int first_part, int (&channel)[2]) {
  const int first_out = find_part(p, first_part).first_out;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int column = threadIdx.x % 4 * 2 + i;
    const int skew = skew_of<T>(p, first_element(p, plane, first_out + column));
    channel[i] = staged_at<T, true>(p, 0, 0, column, skew);
  }
}

// NCDHW. Lane: cells lane / 4 and 8 more of each tile, columns 2 * (lane % 4) and the next, which
// wait at `channel`, in elements.
template <typename T, int kWidth>
__device__ __forceinline__ void stage_planes(const Regions& at, int first_row, const Lines& lines,
                                             int block, const int (&channel)[2],
                                             const float (&sum)[kRowTiles][kWidth][4]) {
  auto* const stage = reinterpret_cast<Bits<T>*>(at.stage);
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int tile = 0; tile < kRowTiles; ++tile) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int packed = at.rows[first_row + tile * 16 + half * 8 + lane / 4].packed;
      const int position = lines.origin + (packed >> kInsideBits);
      bool inside[kWidth];
#pragma unroll
      for (int r = 0; r < kWidth; ++r) {
        inside[r] = is_inside(packed, lines, block * kWidth + r, position + r);
      }
      const float(&own)[kWidth][4] = sum[tile];
      if constexpr (sizeof(T) == 4) {
#pragma unroll
        for (int i = 0; i < 2 * kWidth; ++i) {
          Bits<T>* const target = stage + channel[i % 2] + position + i / 2;
          if (inside[i / 2]) *target = __float_as_uint(own[i / 2][half * 2 + i % 2]);
        }
      } else if constexpr (kWidth == 2) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const unsigned two = pack_pair<T>(own[0][half * 2 + i], own[1][half * 2 + i]);
          unsigned short* const target = stage + channel[i] + position;
          if (inside[0]) target[0] = static_cast<unsigned short>(two);
          if (inside[1]) target[1] = static_cast<unsigned short>(two >> 16);
        }
      } else {
        const unsigned two = pack_pair<T>(own[0][half * 2], own[0][half * 2 + 1]);
        if (inside[0]) {
          stage[channel[0] + position] = static_cast<unsigned short>(two);
          stage[channel[1] + position] = static_cast<unsigned short>(two >> 16);
        }
      }
    }
  }
}

// NDHWC, float32: a lane has two columns, half a chunk.
template <int kWidth>
__device__ __forceinline__ void stage_row_halves(const GroupGemm& p, const Regions& at,
                                                 int first_row, const Lines& lines,
                                                 const Unit& unit,
                                                 const float (&sum)[kRowTiles][kWidth][4]) {
  auto* const stage = reinterpret_cast<float*>(at.stage);
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int tile = 0; tile < kRowTiles; ++tile) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int packed = at.rows[first_row + tile * 16 + half * 8 + lane / 4].packed;
      const int position = lines.origin + (packed >> kInsideBits);
#pragma unroll
      for (int r = 0; r < kWidth; ++r) {
        if (!is_inside(packed, lines, unit.block * kWidth + r, position + r)) continue;
        const int target = staged_at<float, false>(p, position + r, unit.part, lane % 4 * 2, 0);
        const float* const own = sum[tile][r] + half * 2;
        *reinterpret_cast<float2*>(stage + target) = make_float2(own[0], own[1]);
      }
    }
  }
}

// NDHWC, 16 bits: a cell's columns are a chunk. Matrices of eight cells are stored at once, a chunk
// address from each lane; those outside go behind the staging area.
template <typename T, int kWidth>
__device__ __forceinline__ void stage_rows(const GroupGemm& p, const Regions& at, int first_row,
                                           const Lines& lines, const Unit& unit,
                                           const float (&sum)[kRowTiles][kWidth][4]) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int tile = 0; tile < kRowTiles; tile += 2) {
    const int packed = at.rows[first_row + tile * 16 + lane].packed;
    const int position = lines.origin + (packed >> kInsideBits);
#pragma unroll
    for (int r = 0; r < kWidth; ++r) {
      const bool inside = is_inside(packed, lines, unit.block * kWidth + r, position + r);
      const int chunk = (position + r) * p.block_parts + unit.part;
      const uint32_t target =
          shared_address(at.stage + (inside ? chunk ^ (chunk >> 3 & 7) : p.spare_chunk));
      uint32_t parts[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float(&own)[4] = sum[tile + i / 2][r];
        parts[i] = pack_pair<T>(own[i % 2 * 2], own[i % 2 * 2 + 1]);
      }
      store_matrices(target, parts);
    }
  }
}

#if defined(__CUDA_ARCH__)
constexpr int kArch = __CUDA_ARCH__ / 10;
#else
constexpr int kArch = 90;
#endif

template <Precision kPrecision, bool kPlanes, int kWidth>
__global__ __launch_bounds__(kThreads, resident(kArch, kPrecision)) void group_gemm_kernel(
    const __grid_constant__ GroupGemm p) {
  using T = ElementOf<kPrecision>;
  extern __shared__ uint4 shared[];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  Regions at;
  at.halo = shared;
  at.stage = shared + p.region[0];
  at.factors = reinterpret_cast<uint2*>(shared + p.region[1]);
  at.rows = reinterpret_cast<Row*>(shared + p.region[2]);
  at.bias = reinterpret_cast<float*>(shared + p.region[3]);
  at.offsets = reinterpret_cast<int*>(shared + p.region[4]);

  const int first_part = blockIdx.x % p.part_tiles * p.block_parts;
  int index = blockIdx.x / p.part_tiles;
  Box box{};
  Plane plane{};
  int next_plane = 0, end_plane = 0;
  bool has_special = false;
  unsigned of_weights = 0;

  // A turn stores the plane of the turn before, under which the loads of a new box run, and
  // multiplies the next one.
#pragma unroll 1
  for (bool staged = false;; staged = true) {
    const bool loads = next_plane == end_plane && index < p.boxes;
    unsigned bits = 0;
    if (loads) {
      box = find_box(p, index);
      bits = load_box<kPrecision>(p, box, first_part, at.halo);
    }
    if (!staged) {
      of_weights = prepare<kPrecision, kWidth>(p, at, first_part);
    } else {
      if constexpr (kPlanes) {
        store_planes<T>(p, plane, find_part(p, first_part), at.stage);
      } else {
        store_rows<T>(p, plane, first_part, at.stage);
      }
    }
    if (loads) {
      index += p.splits;
      const int top = box.first[0] * p.stride[0] - p.padding[0];
      next_plane = max(0, -top);
      end_plane = min(p.tile[0] * p.stride[0], p.output_extent[0] - top);
      if (p.load == Load::rows) {
        copies_wait<0>();
        __syncthreads();  // the box is there, to be looked through
        bits = see_special<kPrecision>(p, at.halo);
      }
      // As below; the box and, the first time, the tables are there.
      has_special = __syncthreads_or(((bits | of_weights) & kSigns) != 0) != 0;
    } else {
      if (next_plane == end_plane) break;
      __syncthreads();  // the staging area is free
    }
    plane = find_plane(p, box, next_plane++);
    int channel[2] = {};
    // float32 has no registers to keep them beside the products.
    constexpr bool kKeeps = kPlanes && sizeof(T) == 2;
    if constexpr (kKeeps) find_channels<T>(p, plane, first_part, channel);
    // Warps side by side on groups of 64 cells; the others have other units of the same cells.
    int first_unit = warp;
    const int first_row_unit = divide(&first_unit, p.by_row_step);
#pragma unroll 1
    for (int row_unit = first_row_unit; row_unit < p.row_units; row_unit += p.row_step) {
      const int first_row = row_unit * kUnitRows;
      uint32_t base[kRowTiles];
#pragma unroll
      for (int i = 0; i < kRowTiles; ++i) {
        base[i] = shared_address(at.halo + at.rows[first_row + i * 16 + lane % 16].place);
      }
#pragma unroll 1
      for (int number = first_unit; number < p.units; number += p.unit_step) {
        const Unit unit = find_unit<kPlanes, kWidth>(p, number);
        if (first_unit >= p.unit_step || first_part + unit.part >= p.parts) break;
        float sum[kRowTiles][kWidth][4];
        multiply<kPrecision, kWidth>(p, at, plane, unit, base, sum);
        const Lines lines = find_lines(p, plane, unit, kWidth);
        if constexpr (kPlanes) {
          if constexpr (!kKeeps) find_channels<T>(p, plane, first_part, channel);
          stage_planes<T, kWidth>(at, first_row, lines, unit.block, channel, sum);
        } else if constexpr (sizeof(T) == 4) {
          stage_row_halves<kWidth>(p, at, first_row, lines, unit, sum);
        } else {
          stage_rows<T, kWidth>(p, at, first_row, lines, unit, sum);
        }
      }
    }
    __syncthreads();  // the plane is staged; after the last one, the halo is read
    if (has_special) {
      repair_plane<kPrecision, kPlanes, kWidth>(p, at, plane, first_part);
      __syncthreads();  // the plane is repaired, the halo read
    }
  }
}

}  // namespace convt3d::cuda::group_gemm
