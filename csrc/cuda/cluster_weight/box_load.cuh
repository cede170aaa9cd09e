// SPDX-License-Identifier: BSD-3-Clause
// A box to a stage, and from there to the operands of wgmma.
#pragma once
#include "cuda/cluster_weight/box_tile.cuh"
#include "cuda/cluster_weight/load.cuh"
#include "cuda/cluster_weight/three_products.cuh"
#include "cuda/common/mma_sync.cuh"
#include "cuda/common/shared_memory.cuh"
#include "cuda/common/shared_words.cuh"
#include "cuda/sm90/mbarrier.cuh"
#include "cuda/sm90/tma.cuh"

namespace convt3d::cuda::cluster_weight {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// By one thread.
template <typename Tile>
__device__ __forceinline__ void copy_box(const BoxParams& p, const BoxJob& job, int box,
                                         uint32_t stage, uint32_t full) {
  using T = typename Tile::T;
  int n = box;
  const int of_image = divide(&n, p.image_boxes);
  int channel = job.first_column;
  if (p.taps > 1) channel /= p.taps;
  if constexpr (Tile::kTurned) {
    const int row_bytes = p.image_positions * Tile::kElement;
    const int packed = min(Tile::kRows, p.in_channels - job.first_in) * row_bytes;
    sm90::barrier_arrive_expect(full, p.images * (p.output_bytes + packed));
    for (int i = 0; i < p.images; ++i) {
      const int image = n * p.images + i;
      const int64_t row = int64_t{image} * p.in_channels + job.first_in;
      sm90::bulk_copy(stage + p.packed_at + i * Tile::kRows * row_bytes,
                      static_cast<const T*>(p.positions) + row * p.image_positions, packed, full);
      sm90::load_box(stage + p.output_at + i * p.output_bytes, &p.output, full, 0, 0, channel,
                     image, 0);
    }
    return;
  } else {
    sm90::barrier_arrive_expect(full, p.output_bytes + p.groups * Tile::kRows * kPanelRow);
    for (int panel = 0; panel < p.groups; ++panel) {
      sm90::load_box(stage + panel * (Tile::kRows * kPanelRow), &p.input, full,
                     panel * (kPanelRow / Tile::kElement), of_image, job.first_in, n, 0);
    }
  }
  if (p.whole) {
    sm90::load_box(stage + p.output_at, &p.output, full, 0, of_image * p.run_rows, channel, n, 0);
  } else {
    int depth = of_image;
    const int run = divide(&depth, p.plane_boxes);
    sm90::load_box(stage + p.output_at, &p.output, full, 0, run * p.run_rows, depth * p.plane_rows,
                   channel, n);
  }
}

inline constexpr uint32_t kNoPosition = 0xFFFF;

// Where a box's positions lie in a channel of the stage, in the order in which lanes want them: of
// 32 bytes of K, four positions of each quad's lane in 16 bits, two in TF32.
template <typename Tile>
__device__ __forceinline__ void fill_table(const BoxParams& p, uint32_t table) {
  const int steps = p.groups * Tile::kSteps;
  for (int i = static_cast<int>(threadIdx.x); i < steps * 4; i += kSumThreads) {
    const int first = i / 4 * Tile::kStepPositions, quad = i % 4;
    const auto place = [&](int position) -> uint32_t {
      if (position >= p.box_positions) return kNoPosition;
      int rest = position;
      const int w = divide(&rest, p.width), h = divide(&rest, p.lines);
      const int place = h * p.step[1] + w * p.step[2];
      if constexpr (Tile::kTurned) {  // others have one image
        const int d = divide(&rest, p.planes);
        return static_cast<uint32_t>(place + d * p.step[0] + rest * p.output_bytes);
      }
      return static_cast<uint32_t>(place + rest * p.step[0]);
    };
    if constexpr (Tile::kElement == 2) {
      const int at = first + 2 * quad;
      const uint32_t low = place(at) | place(at + 1) << 16;
      const uint32_t high = place(at + 8) | place(at + 9) << 16;
      asm volatile("st.shared.v2.b32 [%0], {%1, %2};" ::"r"(table + 8 * i), "r"(low), "r"(high)
                   : "memory");
    } else {
      const int at = first + quad;
      asm volatile("st.shared.b32 [%0], %1;" ::"r"(table + 4 * i),
                   "r"(place(at) | place(at + 4) << 16)
                   : "memory");
    }
  }
}

// prmt, which the compiler leaves ahead of the fence of the wgmmas that read its result.
template <int kSelector>
__device__ __forceinline__ uint32_t select_bytes(uint32_t low, uint32_t high) {
  uint32_t word;
  asm volatile("prmt.b32 %0, %1, %2, %3;" : "=r"(word) : "r"(low), "r"(high), "n"(kSelector));
  return word;
}

// The word, or 0, by an instruction that stays ahead of the fence too.
__device__ __forceinline__ uint32_t masked(uint32_t word, bool there) {
  uint32_t value;
  asm volatile("and.b32 %0, %1, %2;" : "=r"(value) : "r"(word), "r"(there ? ~0u : 0u));
  return value;
}

// A of a group: a lane's pair of columns, at `own`, of all its positions.
template <typename Tile>
__device__ __forceinline__ void pick_words(const BoxParams& p, uint32_t own, uint32_t table,
                                           uint32_t (&a)[Tile::kSteps][4]) {
  const int quad = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
  for (int step = 0; step < Tile::kSteps; ++step) {
    if constexpr (Tile::kElement == 2) {
      uint32_t place[2];
      load_words(place, table + (4 * step + quad) * 8);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const uint32_t first = place[half] & 0xFFFF, second = place[half] >> 16;
        const bool has_first = first != kNoPosition, has_second = second != kNoPosition;
        uint32_t word[2];
        if (p.joined) {
          load_words(word, own + (has_first ? first : 0));
        } else {
          word[0] = load_shared(own + (has_first ? first : 0));
          word[1] = load_shared(own + (has_second ? second : 0));
        }
        word[0] = has_first ? word[0] : 0;
        word[1] = has_second ? word[1] : 0;
        a[step][2 * half] = select_bytes<0x5410>(word[0], word[1]);
        a[step][2 * half + 1] = select_bytes<0x7632>(word[0], word[1]);
      }
    } else {
      const uint32_t place = load_shared(table + (4 * step + quad) * 4);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const uint32_t at = half ? place >> 16 : place & 0xFFFF;
        const bool there = at != kNoPosition;
        uint32_t word[2];
        load_words(word, own + (there ? at : 0));
        a[step][2 * half] = masked(word[0], there);
        a[step][2 * half + 1] = masked(word[1], there);
      }
    }
  }
}

// Rows of input from what lies behind one another, image by image; zeros behind the box. A lane has
// a row, so that neighbours read and write other banks. float32: their parts; of boxes that are not
// turned around, from rows that are there.
template <typename Tile>
__device__ __forceinline__ void write_rows(const BoxParams& p, uint32_t stage) {
  constexpr int kElement = Tile::kElement, kPiece = 16 / kElement;
  const uint32_t row_bytes = p.image_positions * kElement;
  const uint32_t to_next_image = (Tile::kRows - 1) * row_bytes;
  const int pieces = p.groups * (kPanelRow / 16);
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < Tile::kRows * pieces; i += kSumThreads) {
    const int piece = i / Tile::kRows, row = i - piece * Tile::kRows, first = piece * kPiece;
    const uint32_t panel = stage + piece / 8 * (Tile::kRows * kPanelRow);
    const uint32_t to = panel + row * kPanelRow + (piece % 8 ^ row % 8) * 16;
    uint32_t value[kPiece];
    if constexpr (Tile::kTurned) {
      int image = first;
      int left = p.image_positions - divide(&image, p.of_image);  // of this image
      uint32_t at =
          stage + p.packed_at + row * row_bytes + first * kElement + image * to_next_image;
#pragma unroll
      for (int e = 0; e < kPiece; ++e) {
        const bool there = first + e < p.box_positions;
        const uint32_t from = there ? at : stage;
        if constexpr (kElement == 4) {
          value[e] = load_shared(from);
        } else {
          unsigned short half;
          asm volatile("ld.shared.u16 %0, [%1];" : "=h"(half) : "r"(from) : "memory");
          value[e] = half;
        }
        value[e] = there ? value[e] : 0;
        at += kElement;
        if (--left == 0) at += to_next_image, left = p.image_positions;
      }
    } else {
      load_words(value, to);
    }
    if constexpr (Tile::kThree) {
      store_parts(panel, panel + p.groups * (Tile::kRows * kPanelRow), row, piece % 8, value);
    } else {
      uint32_t word[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        if constexpr (kElement == 4) {
          word[j] = round_to_tf32(value[j]);
        } else {
          word[j] = value[2 * j] | value[2 * j + 1] << 16;
        }
      }
      asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(word[0]), "r"(word[1]),
                   "r"(word[2]), "r"(word[3])
                   : "memory");
    }
  }
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");  // rows -> wgmma
  sync_threads<kSumBarrier, kSumThreads>();                     // the rows are there
}

#endif

}  // namespace convt3d::cuda::cluster_weight
