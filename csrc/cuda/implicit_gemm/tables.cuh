// SPDX-License-Identifier: BSD-3-Clause
// Shared memory, and the tables in it that spare every tile its divisions.
#pragma once
#include <cstdint>

#include "cuda/common/shared_memory.cuh"
#include "cuda/implicit_gemm/params.cuh"

namespace convt3d::cuda::implicit_gemm {

// Coordinates {n, d, h, w} within a tile or its halo, in 5, 7, 8 and 8 bits, each with a bit above
// that is zero.
struct Coordinates {
  static constexpr uint32_t kGuards = 1u << 31 | 1u << 25 | 1u << 17 | 1u << 8;
  uint32_t packed;

  __device__ Coordinates(int index, const int (&extent)[4]) {
    const int line = index / extent[3], plane = line / extent[2], n = plane / extent[1];
    packed = pack(n, plane - n * extent[1], line - plane * extent[2], index - line * extent[3]);
  }
  // Of a halo's row, which axes may split (params.cuh).
  __device__ Coordinates(int index, const int (&extent)[4], const Axis (&axis)[3])
      : Coordinates(index, extent) {
    int at[3];
    for (int a = 0; a < 3; ++a) {
      const int each = extent[1 + a] / axis[a].split, place = (*this)[1 + a];
      at[a] = place % each * axis[a].split + place / each;
    }
    packed = pack((*this)[0], at[0], at[1], at[2]);
  }
  static __device__ uint32_t pack(int n, int d, int h, int w) {
    return (n << 26) + (d << 18) + (h << 9) + w;
  }
  // 0: n, 1: d, 2: h, 3: w.
  __device__ int operator[](int i) const {
    return packed >> (i == 0 ? 26 : 27 - 9 * i) & (i == 0 ? 31 : i == 1 ? 127 : 255);
  }
  __device__ int64_t offset(const int64_t (&stride)[5]) const {
    return (*this)[0] * stride[0] + (*this)[1] * stride[2] + (*this)[2] * stride[3] +
           (*this)[3] * stride[4];
  }
};

// What lies where: barriers, tables, stages. What consumers need is at offsets that do not depend
// on the call, and so in none of their registers.
struct Shared {
  uint32_t input_full, input_empty, weight_full, weight_empty;  // barriers
  int64_t* row_offset;            // [rows] elements of the output from the tile's first
  Coordinates* row_coordinates;   // [rows]
  int* shift;                     // [taps + 1], residue by residue: bytes it shifts a tile by
  int64_t* halo_offset;           // [halo_rows] elements from the halo's first row
  Coordinates* halo_coordinates;  // [halo_rows]
  uint32_t weight, input;         // stages

  __device__ Shared(const Params& p, unsigned char* start, uint32_t weight_bytes, int rows) {
    const uint32_t base = shared_address(start);
    uint32_t next = 0;
    const auto place = [&](uint32_t bytes) {
      const uint32_t here = next;
      next += (bytes + 7) / 8 * 8;
      return here;
    };
    input_full = base + place(8 * kMaxInputStages);
    input_empty = base + place(8 * kMaxInputStages);
    weight_full = base + place(8 * kMaxWeightStages);
    weight_empty = base + place(8 * kMaxWeightStages);
    row_offset = reinterpret_cast<int64_t*>(start + place(8 * rows));
    row_coordinates = reinterpret_cast<Coordinates*>(start + place(4 * rows));
    shift = reinterpret_cast<int*>(start + place(4 * (p.taps + 1)));
    halo_offset = reinterpret_cast<int64_t*>(start + place(8 * p.halo_rows));
    halo_coordinates = reinterpret_cast<Coordinates*>(start + place(4 * p.halo_rows));
    weight = base + (next + kStageAlignment - 1) / kStageAlignment * kStageAlignment;
    input = weight + p.weight_stages * weight_bytes;
  }

  // By all threads of the block; a barrier follows. `pitch`: bytes of a halo row.
  __device__ void fill_tables(const Params& p, int rows, int pitch) {
    if (threadIdx.x == 0) shift[p.taps] = 0;  // loaded, not used
    for (int i = threadIdx.x; i < p.taps; i += blockDim.x) {
      const Tap tap(p, i);
      shift[tap.set.first_tap + tap.rank] = tap.shift(p) * pitch;
    }
    const int halo[4] = {p.box[0], p.axis[0].halo, p.axis[1].halo, p.axis[2].halo};
    for (int i = threadIdx.x; i < p.halo_rows; i += blockDim.x) {
      halo_coordinates[i] = Coordinates(i, halo, p.axis);
      halo_offset[i] = halo_coordinates[i].offset(p.input_stride);
    }
    for (int i = threadIdx.x; i < rows; i += blockDim.x) {
      // Rows beyond the box read its first row, and lie outside every tensor.
      const bool beyond = i >= p.box[0] * p.box[1] * p.box[2] * p.box[3];
      row_coordinates[i] = Coordinates(beyond ? 0 : i, p.box);
      row_offset[i] = beyond ? -1 : row_coordinates[i].offset(p.output_stride);
    }
  }

  __device__ int halo_row(const Params& p, int row) const {
    const Coordinates at = row_coordinates[row];
    return ((at[0] * p.axis[0].halo + at[1]) * p.axis[1].halo + at[2]) * p.axis[2].halo + at[3];
  }
};

}  // namespace convt3d::cuda::implicit_gemm
