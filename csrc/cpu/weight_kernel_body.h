// SPDX-License-Identifier: BSD-3-Clause
// The body of weight_kernel.cpp, compiled there once per instruction set (instruction_set.h).
#pragma once
#include <algorithm>
#include <bit>
#include <cstring>

#include "cpu/element.h"
#include "cpu/instruction_set.h"
#include "cpu/weight_kernel.h"
#include "geometry/ceil_div.h"

namespace convt3d::cpu {

// ---- multiply -----------------------------------------------------------------------------------

// Positions added one by one, and such pieces added up before they join the sum of the item: error
// grows with the length of a sum. Pieces of 64 had 2.1 times torch's error at 120 positions, pieces
// of 32 in one chain 2.3 times at 11880.
constexpr int64_t kLongestRun = 32;
constexpr int64_t kMostPieces = 16;

// Where one tap reads the two panels.
struct Runs {
  int64_t count[3];                     // samples, depth, height
  int64_t vector_step[3], row_step[3];  // between them
  int64_t length;                       // of a run
  int64_t vector_stride, row_stride;    // between its positions
};

// A vector times one value of a row, the same of bfloat16 pairs, or times a vector of the row side.
enum class Product { broadcast, pairs, vectors };

// sum += vector * *row: a multiply-add, or of bfloat16 pairs the sum of both products. The products
// are exact; vdpbf16ps takes subnormal operands for zero.
template <Product PRODUCT, class C, class Vector>
CONVT3D_INLINE void multiply_add(Vector& sum, const Vector& vector, const C* row) {
  if constexpr (PRODUCT == Product::vectors) {
    sum += vector * *reinterpret_cast<const Vector*>(row);
  } else if constexpr (PRODUCT == Product::pairs) {
    asm("vdpbf16ps %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(vector), "m"(*row));
  } else {
    sum += vector * *row;
  }
}

// sums[r, x] += sum over positions of row[r] * vector[x]. Accumulators stay in registers for a
// piece.
template <class C, int LANES, int ROWS, int VECTORS, Product PRODUCT>
CONVT3D_INLINE void accumulate(const C* vector, const C* row, const Runs& runs, C* sums,
                               int64_t pitch) {
  typedef C Vector __attribute__((vector_size(LANES * sizeof(C)), aligned(alignof(C)), may_alias));
  Vector sum[ROWS][VECTORS] = {}, part[ROWS][VECTORS] = {};
  int64_t pieces = 0;  // in part
  const auto add_piece = [&]() __attribute__((always_inline)) {
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; ++r) {
#pragma GCC unroll 16
      for (int v = 0; v < VECTORS; ++v) {
        part[r][v] += sum[r][v];
        sum[r][v] = Vector{};
      }
    }
    ++pieces;
  };
  const auto add_part = [&]() __attribute__((always_inline)) {
    for (int r = 0; r < ROWS; ++r) {
      for (int v = 0; v < VECTORS; ++v) {
        *reinterpret_cast<Vector*>(sums + r * pitch + v * LANES) += part[r][v];
        part[r][v] = Vector{};
      }
    }
    pieces = 0;
  };
  int64_t left = kLongestRun;
  for (int64_t n = 0; n < runs.count[0]; ++n) {
    for (int64_t d = 0; d < runs.count[1]; ++d) {
      const C* vector_line = vector + n * runs.vector_step[0] + d * runs.vector_step[1];
      const C* row_line = row + n * runs.row_step[0] + d * runs.row_step[1];
      for (int64_t h = 0; h < runs.count[2]; ++h) {
        const C *from = vector_line, *by = row_line;
        for (int64_t rest = runs.length; rest > 0;) {
          const int64_t piece = std::min(left, rest);
          for (int64_t i = 0; i < piece; ++i) {
            Vector value[VECTORS];
#pragma GCC unroll 16
            for (int v = 0; v < VECTORS; ++v) {
              value[v] = *reinterpret_cast<const Vector*>(from + v * LANES);
            }
#pragma GCC unroll 16
            for (int r = 0; r < ROWS; ++r) {
#pragma GCC unroll 16
              for (int v = 0; v < VECTORS; ++v) {
                multiply_add<PRODUCT>(sum[r][v], value[v],
                                      by + (PRODUCT == Product::vectors ? v * LANES : r));
              }
            }
            from += runs.vector_stride;
            by += runs.row_stride;
          }
          rest -= piece;
          left -= piece;
          if (left == 0) {
            add_piece();
            if (pieces == kMostPieces) add_part();
            left = kLongestRun;
          }
        }
        vector_line += runs.vector_step[2];
        row_line += runs.row_step[2];
      }
    }
  }
  if (left < kLongestRun) add_piece();
  if (pieces > 0) add_part();
}

// ROWS rows of a block, as many at a time as the registers hold. WIDE: 32 of them instead of 16.
template <class C, int LANES, bool WIDE, Product PRODUCT, int ROWS>
CONVT3D_INLINE void accumulate_rows(int64_t width, const C* vector, const C* row, const Runs& runs,
                                    C* sums) {
  if (width == LANES) {
    accumulate<C, LANES, ROWS, 1, PRODUCT>(vector, row, runs, sums, width);
    return;
  }
  constexpr int rows = WIDE || ROWS < 4 ? ROWS : 4;
  for (int r = 0; r < ROWS; r += rows) {
    accumulate<C, LANES, rows, 2, PRODUCT>(vector, row + r, runs, sums + r * width, width);
  }
}

template <class C, int LANES, bool WIDE, Product PRODUCT>
CONVT3D_INLINE void accumulate_block(int64_t rows, int64_t width, const C* vector, const C* row,
                                     const Runs& runs, C* sums) {
  switch (rows) {
    case 8:
      return accumulate_rows<C, LANES, WIDE, PRODUCT, 8>(width, vector, row, runs, sums);
    case 4:
      return accumulate_rows<C, LANES, WIDE, PRODUCT, 4>(width, vector, row, runs, sums);
    case 2:
      return accumulate_rows<C, LANES, WIDE, PRODUCT, 2>(width, vector, row, runs, sums);
    default:
      return accumulate_rows<C, LANES, WIDE, PRODUCT, 1>(width, vector, row, runs, sums);
  }
}

CONVT3D_INLINE Runs runs_of(const WeightRows& rows, const TapRuns& view, int64_t width,
                            int64_t row_count) {
  const bool swapped = !rows.output_is_vector;
  Runs runs{};
  const int64_t input_width = swapped ? width : row_count;
  const int64_t output_width = swapped ? row_count : width;
  for (int a = 0; a < 3; ++a) {
    runs.count[a] = view.count[a];
    const int64_t input = view.input_step[a] * input_width;
    const int64_t output = view.output_step[a] * output_width;
    runs.vector_step[a] = swapped ? input : output;
    runs.row_step[a] = swapped ? output : input;
  }
  runs.length = view.length;
  const int64_t output_stride = rows.position_step() * output_width;
  runs.vector_stride = swapped ? input_width : output_stride;
  runs.row_stride = swapped ? output_stride : input_width;
  return runs;
}

// ---- pack ---------------------------------------------------------------------------------------

template <bool PAIRS, class C, class T>
CONVT3D_INLINE C unit(const T* first, const T* second) {
  if constexpr (PAIRS) {
    const uint32_t low = first ? first->bits : 0, high = second ? second->bits : 0;
    return std::bit_cast<float>(low | high << 16);
  } else {
    return load_element(*first);
  }
}

// One row of a block of channels: to[u, c] = the unit that begins at position first + step * u of
// `positions`, which lie `stride` elements apart.
template <class T, class C, bool PAIRS>
CONVT3D_INLINE void pack_line(const T* from, int64_t channel_stride, int64_t channels,
                              int64_t stride, int64_t positions, int64_t first, int64_t step,
                              int64_t units, int64_t width, C* to) {
  const auto edge = [&](int64_t u) {
    const int64_t at = first + step * u;
    for (int64_t c = 0; c < channels; ++c) {
      const T* low = from + c * channel_stride + at * stride;
      const bool has_low = at >= 0 && at < positions, has_high = at + 1 >= 0 && at + 1 < positions;
      to[u * width + c] =
          !has_low && !(PAIRS && has_high)
              ? C(0)
              : unit<PAIRS, C, T>(has_low ? low : nullptr, has_high ? low + stride : nullptr);
    }
  };
  // Units that lie inside.
  const int64_t last = positions - (PAIRS ? 1 : 0) - first;  // of position `last + first - 1`
  const int64_t begin = std::min(units, first < 0 ? ceil_div(-first, step) : 0);
  const int64_t end = std::clamp(last <= 0 ? 0 : ceil_div(last, step), begin, units);
  for (int64_t u = 0; u < begin; ++u) edge(u);
  from += first * stride;
  const int64_t unit_stride = step * stride;
  if (channel_stride == 1) {
    for (int64_t u = begin; u < end; ++u) {
      const T* at = from + u * unit_stride;
      C* out = to + u * width;
      for (int64_t c = 0; c < channels; ++c) out[c] = unit<PAIRS, C, T>(at + c, at + c + stride);
    }
  } else {
    // Eight channels at a time, whose lines stay in L1 for a whole row.
    int64_t c = 0;
    for (; c + 8 <= channels; c += 8) {
      const T* base = from + c * channel_stride;
      for (int64_t u = begin; u < end; ++u) {
        const T* at = base + u * unit_stride;
        C* out = to + u * width + c;
#pragma GCC unroll 8
        for (int64_t i = 0; i < 8; ++i) {
          out[i] = unit<PAIRS, C, T>(at + i * channel_stride, at + i * channel_stride + stride);
        }
      }
    }
    for (; c < channels; ++c) {
      for (int64_t u = begin; u < end; ++u) {
        const T* at = from + c * channel_stride + u * unit_stride;
        to[u * width + c] = unit<PAIRS, C, T>(at, at + stride);
      }
    }
  }
  from -= first * stride;
  for (int64_t u = end; u < units; ++u) edge(u);
  if (channels < width) {
    for (int64_t u = 0; u < units; ++u)
      std::fill(to + u * width + channels, to + (u + 1) * width, C(0));
  }
}

// Channels of the block that begins at `channel`: whole or half vectors' pairs, or 8, 4, 2, 1 rows.
CONVT3D_INLINE int64_t block_width(const WeightRows& rows, bool vector, int64_t channel) {
  if (vector) {
    return std::min(rows.vector_block(), rows.vector_side().padded_channels - channel);
  }
  int64_t count = kRowBlock;
  while (channel + count > rows.row_side().channels) count /= 2;
  return count;
}

// Row `item` of the slab. An output row is cut into remainders.
template <class T, class C, bool PAIRS>
CONVT3D_INLINE void pack_row(const WeightJob& job, bool output, int64_t item) {
  const WeightRows& rows = job.rows;
  const Problem& p = rows.problem;
  const WeightPanel& panel = output ? rows.output : rows.input;
  const TensorView& tensor = output ? job.output : job.input;
  const Extent3& first = output ? job.slab.output_first : job.slab.input_first;
  const Extent3& count = output ? job.slab.output_count : job.slab.input_count;
  const int64_t h = item % count[2], d = item / count[2] % count[1], n = item / count[2] / count[1];
  const T* source = static_cast<const T*>(tensor.data) + (first[0] + n) * tensor.stride[0] +
                    (first[1] + d) * tensor.stride[2] + (first[2] + h) * tensor.stride[3];
  C* destination = static_cast<C*>(output ? job.output_panel : job.input_panel);
  const int64_t line = ((n * panel.rows[1] + d) * panel.rows[2] + h) * panel.row;
  const int64_t extent = output ? p.output()[2] : p.input[2];
  const int64_t remainders = output ? p.stride[2] : 1,
                units = output ? rows.output_units : panel.row;
  // A block of `width` lanes: of `count` channels, `step` apart.
  const auto pack = [&](int64_t lane, int64_t width, int64_t channel, int64_t step,
                        int64_t count) __attribute__((always_inline)) {
    C* to = destination + lane * panel.channel_elements() + line * width;
    const T* from = source + channel * tensor.stride[1];
    for (int64_t remainder = 0; remainder < remainders; ++remainder) {
      const int64_t positions = remainder < extent ? ceil_div(extent - remainder, remainders) : 0;
      pack_line<T, C, PAIRS>(from + remainder * tensor.stride[4], step * tensor.stride[1], count,
                             remainders * tensor.stride[4], positions, PAIRS && output ? -1 : 0,
                             PAIRS && !output ? 2 : 1, units, width,
                             to + remainder * units * width);
    }
  };
  if (rows.group_vectors) {
    for (int64_t group = 0, width; group < panel.padded_groups; group += width) {
      width = std::min(rows.vector_block(), panel.padded_groups - group);
      for (int64_t c = 0; c < panel.channels; ++c) {
        const int64_t first = group * panel.channels;
        pack(first + c * width, width, first + c, panel.channels,
             std::min(width, p.groups - group));
      }
    }
    return;
  }
  const bool vector = output == rows.output_is_vector;
  for (int64_t group = 0; group < p.groups; ++group) {
    for (int64_t c = 0, width; c < panel.channels; c += width) {
      width = block_width(rows, vector, c);
      pack(group * panel.padded_channels + c, width, group * panel.channels + c, 1,
           std::min(width, panel.channels - c));
    }
  }
}

template <class T, bool PAIRS>
CONVT3D_INLINE void pack_rows(const WeightJob& job, bool output, int64_t begin, int64_t end) {
  for (int64_t item = begin; item < end; ++item) {
    pack_row<T, Compute<T>, PAIRS>(job, output, item);
  }
}

// ---- item ---------------------------------------------------------------------------------------

// One row of sums, [tap][lane] with `pitch` between taps. Overwrites them.
template <int LANES, class T, class C>
CONVT3D_INLINE void store_row(C* sums, int64_t pitch, int64_t taps, int64_t lanes, T* to,
                              int64_t tap_stride, int64_t lane_stride) {
  if (lane_stride == 1 && tap_stride != 1) {
    for (int64_t t = 0; t < taps; ++t) {
      for (int64_t v = 0; v < lanes; ++v)
        store_element(sums[t * pitch + v], to + t * tap_stride + v);
    }
    return;
  }
  // Rounded where they lie, by vectors, and then turned.
  for (int64_t t = 0; t < taps && sizeof(T) != sizeof(C); ++t) {
    for (int64_t v = 0; v < lanes; v += LANES) {
      T rounded[LANES];
      for (int64_t i = 0; i < LANES; ++i) store_element(sums[t * pitch + v + i], rounded + i);
      std::memcpy(reinterpret_cast<T*>(sums + t * pitch) + v, rounded, sizeof(rounded));
    }
  }
  for (int64_t v = 0; v < lanes; ++v) {
    const char* from = reinterpret_cast<const char*>(sums) + v * sizeof(T);
    T* own = to + v * lane_stride;
    for (int64_t t = 0; t < taps; ++t) {
      std::memcpy(own + t * tap_stride, from + t * pitch * sizeof(C), sizeof(T));
    }
  }
}

// What an item computes: taps [first_tap, first_tap + taps) of a block of rows and one of vectors.
struct Item {
  int64_t row_block, first_lane, first_tap, taps, group;
};

CONVT3D_INLINE Item item_at(const WeightRows& rows, int64_t index) {
  Item item{};
  // Blocks of rows change fastest: they share the vectors in the L2 cache.
  item.row_block = index % rows.row_blocks();
  index /= rows.row_blocks();
  item.first_lane = index % rows.vector_blocks() * rows.vector_block();
  index /= rows.vector_blocks();
  item.first_tap = index % rows.tap_parts() * rows.item_taps();
  item.taps = std::min(rows.item_taps(), volume(rows.problem.kernel) - item.first_tap);
  item.group = index / rows.tap_parts();
  return item;
}

// One pair of channels of many groups.
template <class T, class C, int LANES, bool WIDE>
CONVT3D_INLINE void run_groups(const WeightJob& job, const Item& item, C* sums) {
  const WeightRows& rows = job.rows;
  const int64_t input = item.row_block / rows.output.channels;
  const int64_t output = item.row_block % rows.output.channels;
  const int64_t width = std::min(rows.vector_block(), rows.input.padded_groups - item.first_lane);
  const auto panel = [&](const WeightPanel& side, const void* data, int64_t channel) {
    return static_cast<const C*>(data) +
           (item.first_lane * side.channels + channel * width) * side.channel_elements();
  };
  const C* vectors = panel(rows.output, job.output_panel, output);
  const C* others = panel(rows.input, job.input_panel, input);
  for (int64_t t = 0; t < item.taps; ++t) {
    const TapRuns& tap = job.taps[item.first_tap + t];
    if (tap.length == 0) continue;
    accumulate_rows<C, LANES, WIDE, Product::vectors, 1>(
        width, vectors + tap.output * width, others + tap.input * width,
        runs_of(rows, tap, width, width), sums + t * width);
  }
  if (!job.last_slab) return;
  const auto& stride = job.weight.stride;  // dense: taps are neighbours, stride[4] apart
  T* weight = static_cast<T*>(job.weight.data) +
              (item.first_lane * rows.input.channels + input) * stride[0] + output * stride[1] +
              item.first_tap * stride[4];
  store_row<LANES>(sums, width, item.taps, std::min(width, rows.problem.groups - item.first_lane),
                   weight, stride[4], rows.input.channels * stride[0]);
}

// A block of one side's channels by one of the other's.
template <class T, class C, int LANES, bool WIDE, bool PAIRS>
CONVT3D_INLINE void run_channels(const WeightJob& job, const Item& item, C* sums) {
  const WeightRows& rows = job.rows;
  const WeightPanel &vector_side = rows.vector_side(), &row_side = rows.row_side();
  constexpr Product product = PAIRS ? Product::pairs : Product::broadcast;
  const int64_t width = block_width(rows, true, item.first_lane);
  const int64_t row_begin = item.row_block * kRowBlock;
  const int64_t row_end = std::min(row_begin + kRowBlock, row_side.channels);
  const int64_t tap_elements = (row_end - row_begin) * width;
  const auto panel = [&](const WeightPanel& side, const void* data, int64_t channel) {
    return static_cast<const C*>(data) +
           (item.group * side.padded_channels + channel) * side.channel_elements();
  };
  const void* vector_data = rows.output_is_vector ? job.output_panel : job.input_panel;
  const void* row_data = rows.output_is_vector ? job.input_panel : job.output_panel;
  const C* vectors = panel(vector_side, vector_data, item.first_lane);
  for (int64_t t = 0; t < item.taps; ++t) {
    const TapRuns& tap = job.taps[item.first_tap + t];
    if (tap.length == 0) continue;
    const int64_t vector_at = rows.output_is_vector ? tap.output : tap.input;
    const int64_t row_at = rows.output_is_vector ? tap.input : tap.output;
    for (int64_t row = row_begin, count; row < row_end; row += count) {
      count = block_width(rows, false, row);
      accumulate_block<C, LANES, WIDE, product>(
          count, width, vectors + vector_at * width,
          panel(row_side, row_data, row) + row_at * count, runs_of(rows, tap, width, count),
          sums + t * tap_elements + (row - row_begin) * width);
    }
  }
  if (!job.last_slab) return;
  const auto& stride = job.weight.stride;  // dense: taps are neighbours, stride[4] apart
  const int64_t vector_stride = stride[rows.output_is_vector ? 1 : 0];
  const int64_t row_stride = stride[rows.output_is_vector ? 0 : 1];
  T* weight = static_cast<T*>(job.weight.data) + item.group * rows.input.channels * stride[0] +
              item.first_lane * vector_stride + item.first_tap * stride[4];
  for (int64_t row = row_begin; row < row_end; ++row) {
    store_row<LANES>(sums + (row - row_begin) * width, tap_elements, item.taps,
                     std::min(width, vector_side.channels - item.first_lane),
                     weight + row * row_stride, stride[4], vector_stride);
  }
}

template <class T, class C, int LANES, bool WIDE, bool PAIRS>
CONVT3D_INLINE void run_item(const WeightJob& job, int64_t index, C* own_sums) {
  const WeightRows& rows = job.rows;
  C* sums = job.sums ? static_cast<C*>(job.sums) + index * rows.item_elements() : own_sums;
  if (job.first_slab) std::fill(sums, sums + rows.item_elements(), C(0));
  const Item item = item_at(rows, index);
  if constexpr (!PAIRS) {
    if (rows.group_vectors) return run_groups<T, C, LANES, WIDE>(job, item, sums);
  }
  run_channels<T, C, LANES, WIDE, PAIRS>(job, item, sums);
}

template <class T, int BYTES, bool WIDE, bool PAIRS>
CONVT3D_INLINE void run_items(const WeightJob& job, int64_t begin, int64_t end, void* own_sums) {
  using C = Compute<T>;
  for (int64_t item = begin; item < end; ++item) {
    run_item<T, C, BYTES / static_cast<int>(sizeof(C)), WIDE, PAIRS>(job, item,
                                                                     static_cast<C*>(own_sums));
  }
}

}  // namespace convt3d::cpu
