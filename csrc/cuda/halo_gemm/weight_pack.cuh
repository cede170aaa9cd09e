// SPDX-License-Identifier: BSD-3-Clause
// The weight as blocks that one bulk copy brings into shared memory, ready for wgmma:
//
//   packed[column tile][residue][tap of d][chunk][tap of h, w][32-byte step]
//         [columns / 8][2][8 columns][16 bytes]
//
// Where the kernel marches there are no residues and taps of d: its taps kd are columns, slot kd.
// Where pairs of output planes share input planes, a plane's columns are its tap of the second
// output plane, behind that of the first, the tap before; of the first and last one is zeros.
// grad_input has, where items are shared, in a block, as TMA brings them (weight_boxes.h):
//
//         [columns][128 bytes of input channels], 16-byte piece i at i ^ (column % 8)
//
// which a block of threads writes in whole lines. Columns are permuted so that a thread's sums are
// channels that it can store at once (runs.cuh), or in order (fused_lines.cuh). Channels beyond the
// tensor are zeros. TF32 is rounded to nearest even.
//
// A unit is 16 bytes of input channels of one output channel and tap; where it goes is the sum of
// what the tap, the output channel and the input channels say. A thread makes, and has in flight,
//
//   forward, dense        16 bytes of each of those input channels, turned around in registers
//   reversed, channels    the units themselves
//   last
//   reversed, taps last   units from shared memory, where a block has put the taps of one output
//                         channel and some input channels as they lie
//   else                  units element by element
#pragma once
#include "cuda/common/element.cuh"
#include "cuda/common/mma_sync.cuh"
#include "cuda/halo_gemm/params.cuh"
#include "cuda/halo_gemm/runs.cuh"
#include "cuda/sm90/overlapping_launch.cuh"

namespace convt3d::cuda::halo_gemm {

inline constexpr int kPackThreads = 128;
inline constexpr int kPackUnits = 4;  // of a thread, where they are read as they are
// In shared memory: at least 16 bytes x all taps, and one.
inline constexpr int kPackedElements = 8 * (kMaxTaps + 1);

struct WeightPack {
  const void* weight;
  unsigned char* packed;
  int64_t stride[5];  // of input channels, output channels and taps; of the product
  WeightOrder order;
  bool reversed, rows;
  int in_channels, out_channels, kernel[3], steps;
  int slots, channels;  // of a column tile
  int pieces;           // of 16 bytes of input channels
  int outs;             // output channels, padded to whole column tiles
  int ins;              // input channels in shared memory
  int64_t tile_units;   // of a column tile
  unsigned* zeros;      // for the product (sm90/joined_sums.cuh)
  int num_zeros;
};

// Where units go, in units. kTaps is the most that there may be.
template <int kTaps>
struct PackPlaces {
  uint32_t tap[kTaps], chunk[kTaps];   // of the first chunk, and from one to the next
  uint32_t channel[kMaxTileChannels];  // of a column tile
};
inline constexpr int kFewTaps = 64;

template <typename T, int kTaps>
PackPlaces<kTaps> pack_places(const Params& p, int slots, int channels, bool in_order) {
  PackPlaces<kTaps> places{};
  const bool marching = marches(slots), pairs = slots == kPairSlots;
  const int kernel_d = p.axis[0].kernel - (pairs ? 1 : 0);
  const auto units = static_cast<uint32_t>(p.steps * slots * channels * 2);  // of a block
  int tap = 0;
  for (int d = 0; d < kernel_d; ++d) {
    for (int h = 0; h < p.axis[1].kernel; ++h) {
      for (int w = 0; w < p.axis[2].kernel; ++w, ++tap) {
        int at[3] = {d, h, w}, residue[3], step[3];
        for (int a = 0; a < 3; ++a) {
          const Axis& axis = p.axis[a];
          residue[a] = (at[a] * axis.dilation + axis.residues - axis.first_residue) % axis.residues;
          if (p.reversed) at[a] = (a == 0 ? kernel_d : axis.kernel) - 1 - at[a];
          step[a] = (at[a] - axis.residue[residue[a]].first_tap) / axis.tap_step;
        }
        Unit unit{};
        unit.set(p, residue[0], residue[1], residue[2]);
        const Taps taps(p, unit, marching, 0);
        const int block = taps.block + (marching ? 0 : step[0]) * p.chunks * taps.count +
                          step[1] * taps.w + step[2];
        places.tap[tap] = static_cast<uint32_t>(block) * units +
                          static_cast<uint32_t>(marching ? at[0] * channels * 2
                                                : pairs  ? channels * 2
                                                         : 0);
        places.chunk[tap] = static_cast<uint32_t>(taps.count) * units;
      }
    }
  }
  for (int c = 0; c < channels; ++c) {
    const int column = in_order ? c : column_of_channel<T>(c, channels);
    places.channel[c] =
        static_cast<uint32_t>(p.weight_rows ? column * 8 : column / 8 * 16 + column % 8);
  }
  return places;
}

// Rows of 16 bytes of input channels to units: unit i has element i of each row.
template <typename T>
__device__ __forceinline__ uint4 unit_of(const uint4 (&rows)[16 / sizeof(T)], int i) {
  const auto word = [&](int row, int at) {
    const uint4& r = rows[row];
    return at == 0 ? r.x : at == 1 ? r.y : at == 2 ? r.z : r.w;
  };
  if constexpr (sizeof(T) == 4) {
    return make_uint4(word(0, i), word(1, i), word(2, i), word(3, i));
  } else {
    const auto pair = [&](int row) {
      return __byte_perm(word(row, i / 2), word(row + 1, i / 2), i % 2 == 0 ? 0x5410 : 0x7632);
    };
    return make_uint4(pair(0), pair(2), pair(4), pair(6));
  }
}

// Where nothing is packed, what the product finds at zero.
static __global__ void __launch_bounds__(kPackThreads) zero_kernel(unsigned* zeros, int count) {
  sm90::let_next_launch_start();
  for (int i = threadIdx.x; i < count; i += kPackThreads) zeros[i] = 0;
}

template <typename T, int kTaps>
__global__ void __launch_bounds__(kPackThreads)
    pack_kernel(const __grid_constant__ WeightPack p,
                const __grid_constant__ PackPlaces<kTaps> places_of) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  sm90::let_next_launch_start();
  constexpr int kVector = 16 / sizeof(T);
  __shared__ PackPlaces<kTaps> places;
  __shared__ __align__(16) T elements[kPackedElements];
  const T* const source = static_cast<const T*>(p.weight);
  const int taps = p.kernel[0] * p.kernel[1] * p.kernel[2], columns = p.slots * p.channels;
  const auto copy_places = [&] {
    for (int i = threadIdx.x; i < taps; i += kPackThreads) {
      places.tap[i] = places_of.tap[i];
      places.chunk[i] = places_of.chunk[i];
    }
    for (int i = threadIdx.x; i < p.channels; i += kPackThreads) {
      places.channel[i] = places_of.channel[i];
    }
  };
  const auto put = [&](int piece, int out, int tap, uint4 unit) {
    if constexpr (sizeof(T) == 4) {
      unit = make_uint4(round_to_tf32(unit.x), round_to_tf32(unit.y), round_to_tf32(unit.z),
                        round_to_tf32(unit.w));
    }
    const int tile = out / p.channels, chunk = piece / 2 / p.steps;
    const uint32_t column = places.channel[out - tile * p.channels];
    const uint32_t in_block =
        p.rows ? column + ((piece ^ column / 8) & 7)
               : (piece / 2 - chunk * p.steps) * (columns * 2) + piece % 2 * 8 + column;
    const int64_t place =
        tile * p.tile_units + places.tap[tap] + chunk * int64_t{places.chunk[tap]} + in_block;
    uint4* const to = reinterpret_cast<uint4*>(p.packed) + place;
    *to = unit;
    if (p.slots == kPairSlots) {
      // As a tap of the first output plane, and what either has no tap of.
      const int d = tap / (p.kernel[1] * p.kernel[2]), slot = 2 * p.channels;
      uint4* const first = to + p.pieces / 2 / p.steps * int64_t{places.chunk[tap]} - slot;
      *first = unit;
      if (d == (p.reversed ? p.kernel[0] - 1 : 0)) to[-slot] = uint4{};
      if (d == (p.reversed ? 0 : p.kernel[0] - 1)) first[slot] = uint4{};
    }
  };
  if (blockIdx.x == 0 && blockIdx.y == 0) {
    for (int i = threadIdx.x; i < p.num_zeros; i += kPackThreads) p.zeros[i] = 0;
  }
  const int index = blockIdx.y * kPackThreads + threadIdx.x;  // of this thread in a piece
  if (!p.reversed && p.order != WeightOrder::strided) {
    const bool taps_last = p.order == WeightOrder::taps_last;
    const int piece = blockIdx.x, inner = taps_last ? taps : p.outs;
    int outer = index * kVector / inner, at = index * kVector - outer * inner;
    const int out = taps_last ? outer : at;
    // With taps last 16 bytes may be of several output channels, of which there are multiples of 8.
    const bool there = outer < (taps_last ? p.outs : taps);
    const int64_t offset =
        taps_last ? int64_t{index} * kVector : int64_t{outer} * p.out_channels + at;
    uint4 rows[kVector];
#pragma unroll
    for (int v = 0; v < kVector; ++v) {
      const int in = piece * kVector + v;
      const bool inside = there && in < p.in_channels && out < p.out_channels;
      rows[v] =
          inside ? *reinterpret_cast<const uint4*>(source + in * p.stride[0] + offset) : uint4{};
    }
    copy_places();
    __syncthreads();  // the places are there
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      const int of_out = taps_last ? outer : at, tap = taps_last ? at : outer;
      if (there) put(piece, of_out, tap, unit_of<T>(rows, i));
      if (++at == inner) at = 0, ++outer;
    }
    return;
  }
  copy_places();
  if (p.order == WeightOrder::taps_last) {
    const int out = blockIdx.x, first = blockIdx.y * p.ins;
    const int ins = min(p.ins, p.pieces * kVector - first);
    const T* const from = source + out * p.stride[1] + int64_t{first} * taps;
    const int there = out < p.out_channels ? min(ins, p.in_channels - first) * taps : 0;
    // From piece to piece an odd number of 16 bytes: eight of them lie in different banks.
    const int pitch = (taps | 1) * kVector;
#pragma unroll 4
    for (int i = threadIdx.x; i < ins / kVector * taps; i += kPackThreads) {
      const int piece = i / taps;
      *reinterpret_cast<uint4*>(elements + piece * pitch + (i - piece * taps) * kVector) =
          i * kVector < there ? *reinterpret_cast<const uint4*>(from + i * kVector) : uint4{};
    }
    __syncthreads();  // the elements and the places are there
    for (int i = threadIdx.x; i < (ins / kVector + 7) / 8 * 8 * taps; i += kPackThreads) {
      const int eight = i / 8 / taps, tap = i / 8 - eight * taps, piece = eight * 8 + i % 8;
      if (piece >= ins / kVector) continue;
      alignas(16) T unit[kVector];
#pragma unroll
      for (int v = 0; v < kVector; ++v) unit[v] = elements[piece * pitch + v * taps + tap];
      put(first / kVector + piece, out, tap, *reinterpret_cast<const uint4*>(unit));
    }
    return;
  }
  __syncthreads();  // the places are there
  // Pieces are the fastest where input channels are contiguous, else taps.
  const bool whole = p.order == WeightOrder::channels_last;
  const int first = (blockIdx.y * gridDim.x + blockIdx.x) * (kPackThreads * kPackUnits);
#pragma unroll
  for (int u = 0; u < kPackUnits; ++u) {
    unsigned rest = first + u * kPackThreads + threadIdx.x;
    int piece = whole ? take(&rest, p.pieces) : 0;
    const int tap = take(&rest, taps);
    const int out = take(&rest, p.outs);
    if (!whole) piece = static_cast<int>(rest);
    if (whole ? rest > 0 : piece >= p.pieces) continue;
    const int in = piece * kVector;
    uint4 unit{};
    if (whole) {
      if (out < p.out_channels && in < p.in_channels) {
        unit = *reinterpret_cast<const uint4*>(source + out * p.stride[1] +
                                               tap * int64_t{p.in_channels} + in);
      }
    } else {
      unsigned of_tap = tap;
      const int w = take(&of_tap, p.kernel[2]), h = take(&of_tap, p.kernel[1]);
      const T* const from =
          source + out * p.stride[1] + of_tap * p.stride[2] + h * p.stride[3] + w * p.stride[4];
      alignas(16) T values[kVector];
#pragma unroll
      for (int v = 0; v < kVector; ++v) {
        const bool there = out < p.out_channels && in + v < p.in_channels;
        values[v] = there ? from[(in + v) * p.stride[0]] : T();
      }
      unit = *reinterpret_cast<const uint4*>(values);
    }
    put(piece, out, tap, unit);
  }
#endif
}

}  // namespace convt3d::cuda::halo_gemm
