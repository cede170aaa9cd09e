// SPDX-License-Identifier: BSD-3-Clause
// The body of tile_kernel.cpp, compiled there once per instruction set (instruction_set.h).
#pragma once
#include <algorithm>

#include "cpu/element.h"
#include "cpu/instruction_set.h"
#include "cpu/tile_kernel.h"

namespace convt3d::cpu {

// ---- multiply -----------------------------------------------------------------------------------

// Products added one by one; longer sums are added up in pieces of this length, as error grows with
// it: one piece had 1.9 times the error of torch at 2048 products, and 2.2 times at 136 in pieces
// of 256. Pieces of 64 cost 2%.
constexpr int64_t kLongestSum = 64;

// out[r, x] = sum over taps, channels of weight[tap, channel, r] * panel[channel, shift(tap) + x]
// for r in [0, ROWS), x in [0, LANES * VECTORS). Accumulators stay in registers for one piece.
template <class C, int LANES, int ROWS, int VECTORS>
CONVT3D_INLINE void multiply(const C* weight, int64_t weight_step, const C* panel, int64_t pitch,
                             const ClassTaps& taps, int64_t channels, C* out, int64_t out_pitch) {
  typedef C Vector __attribute__((vector_size(LANES * sizeof(C)), aligned(alignof(C)), may_alias));
  const int64_t num_taps = static_cast<int64_t>(taps.shifts.size());
  int64_t tap = 0, channel = 0;
  bool first_piece = true;
  do {
    Vector sum[ROWS][VECTORS] = {};
    for (int64_t left = kLongestSum; left > 0 && tap < num_taps;) {
      const C* from = panel + taps.shifts[tap] + channel * pitch;
      const int64_t run = std::min(left, channels - channel);
      for (int64_t i = 0; i < run; ++i) {
        Vector value[VECTORS];
#pragma GCC unroll 16
        for (int v = 0; v < VECTORS; ++v) {
          value[v] = *reinterpret_cast<const Vector*>(from + v * LANES);
        }
#pragma GCC unroll 16
        for (int r = 0; r < ROWS; ++r) {
#pragma GCC unroll 16
          for (int v = 0; v < VECTORS; ++v) sum[r][v] += value[v] * weight[r];
        }
        weight += weight_step;
        from += pitch;
      }
      left -= run;
      channel += run;
      if (channel == channels) {
        channel = 0;
        ++tap;
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; ++r) {
#pragma GCC unroll 16
      for (int v = 0; v < VECTORS; ++v) {
        Vector* to = reinterpret_cast<Vector*>(out + r * out_pitch + v * LANES);
        *to = first_piece ? sum[r][v] : *to + sum[r][v];
      }
    }
    first_piece = false;
  } while (tap < num_taps);
}

// WIDTH positions. WIDE: 32 vector registers instead of 16.
template <class C, int LANES, bool WIDE, int ROWS, int WIDTH>
CONVT3D_INLINE void multiply_block(const C* weight, const C* panel, int64_t pitch,
                                   const ClassTaps& taps, int64_t channels, C* out,
                                   int64_t out_pitch) {
  // 16 or 8 independent sums hide the latency of the multiply-add and fit the registers.
  constexpr int rows = WIDE || ROWS < 4 ? ROWS : 4;
  constexpr int wanted = rows == 8 ? 2 : rows == 4 ? (WIDE ? 4 : 2) : 4;
  constexpr int vectors = wanted * LANES < WIDTH ? wanted : WIDTH / LANES;
  for (int64_t x = 0; x < WIDTH; x += LANES * vectors) {
    for (int64_t r = 0; r < ROWS; r += rows) {
      multiply<C, LANES, rows, vectors>(weight + r, ROWS, panel + x, pitch, taps, channels,
                                        out + r * out_pitch + x, out_pitch);
    }
  }
}

// positions: a multiple of kPositionBlock.
template <class C, int LANES, bool WIDE, int ROWS>
CONVT3D_INLINE void multiply_rows(const C* weight, const C* panel, int64_t pitch,
                                  const ClassTaps& taps, int64_t channels, C* out,
                                  int64_t out_pitch, int64_t positions) {
  constexpr int64_t two = 2 * kPositionBlock;
  int64_t p = 0;
  for (; p + two <= positions; p += two) {
    multiply_block<C, LANES, WIDE, ROWS, two>(weight, panel + p, pitch, taps, channels, out + p,
                                              out_pitch);
  }
  if (p < positions) {
    multiply_block<C, LANES, WIDE, ROWS, kPositionBlock>(weight, panel + p, pitch, taps, channels,
                                                         out + p, out_pitch);
  }
}

template <class C, int LANES, bool WIDE>
CONVT3D_INLINE void multiply_strip(int64_t rows, const C* weight, const C* panel, int64_t pitch,
                                   const ClassTaps& taps, int64_t channels, C* out,
                                   int64_t out_pitch, int64_t positions) {
  switch (rows) {
    case 8:
      return multiply_rows<C, LANES, WIDE, 8>(weight, panel, pitch, taps, channels, out, out_pitch,
                                              positions);
    case 4:
      return multiply_rows<C, LANES, WIDE, 4>(weight, panel, pitch, taps, channels, out, out_pitch,
                                              positions);
    case 2:
      return multiply_rows<C, LANES, WIDE, 2>(weight, panel, pitch, taps, channels, out, out_pitch,
                                              positions);
    default:
      return multiply_rows<C, LANES, WIDE, 1>(weight, panel, pitch, taps, channels, out, out_pitch,
                                              positions);
  }
}

// ---- pack ---------------------------------------------------------------------------------------

// The box coordinates [begin, end) of one axis that lie inside the source; the rest is zero.
struct Inside {
  int64_t begin, end;
};
CONVT3D_INLINE Inside inside(const Axis& axis, int64_t first, int64_t box) {
  // source position of coordinate x: first + source_step * x
  const int64_t step = axis.source_step;
  const int64_t begin = first >= 0 ? 0 : (-first + step - 1) / step;
  const int64_t end = first >= axis.source_extent ? 0 : (axis.source_extent - 1 - first) / step + 1;
  const int64_t clamped = std::min(begin, box);
  return {clamped, std::clamp(end, clamped, box)};
}

template <class T, class C>
CONVT3D_INLINE void copy_strided(const T* from, int64_t step, C* to, int64_t count) {
  switch (step) {  // constant steps vectorise
    case 1:
      for (int64_t x = 0; x < count; ++x) to[x] = load_element(from[x]);
      return;
    case 2:
      for (int64_t x = 0; x < count; ++x) to[x] = load_element(from[2 * x]);
      return;
    default:
      for (int64_t x = 0; x < count; ++x) to[x] = load_element(from[step * x]);
  }
}

// One row (d, h) of the box of one remainder, for all channels.
template <class T, class C>
CONVT3D_INLINE void pack_row(const T* from, int64_t channel_stride, int64_t w_stride,
                             const Inside& w, int64_t box_w, int64_t channels, int64_t pitch,
                             C* to) {
  if (channel_stride == 1 && w_stride != 1) {
    // channels_last: sixteen positions at a time, so that their lines stay in L1 for all channels.
    for (int64_t begin = w.begin; begin < w.end; begin += 16) {
      const int64_t end = std::min(begin + 16, w.end);
      for (int64_t c = 0; c < channels; ++c) {
        for (int64_t x = begin; x < end; ++x) {
          to[c * pitch + x] = load_element(from[c + x * w_stride]);
        }
      }
    }
  } else {
    for (int64_t c = 0; c < channels; ++c) {
      copy_strided(from + c * channel_stride + w.begin * w_stride, w_stride,
                   to + c * pitch + w.begin, w.end - w.begin);
    }
  }
  for (int64_t c = 0; c < channels; ++c) {
    std::fill(to + c * pitch, to + c * pitch + w.begin, C(0));
    std::fill(to + c * pitch + w.end, to + c * pitch + box_w, C(0));
  }
}

template <class T, class C>
CONVT3D_INLINE void pack_remainder(const TileJob& job, const T* source, const Extent3& q,
                                   const Extent3& remainder, C* panel) {
  const FlatConvolution& f = job.flat;
  const auto& stride = job.source.stride;
  const int64_t channels = f.panel_channels();
  int64_t first[3], step[3];
  Inside in[3];
  for (int a = 0; a < 3; ++a) {
    step[a] = f.axis[a].source_step;
    first[a] = (q[a] + f.axis[a].origin) * step[a] + remainder[a];
    in[a] = inside(f.axis[a], first[a], f.box[a]);
  }
  for (int64_t d = 0; d < f.box[0]; ++d) {
    for (int64_t h = 0; h < f.box[1]; ++h) {
      C* to = panel + (d * f.box[1] + h) * f.box[2];
      if (d < in[0].begin || d >= in[0].end || h < in[1].begin || h >= in[1].end) {
        for (int64_t c = 0; c < channels; ++c) {
          std::fill(to + c * f.pitch, to + c * f.pitch + f.box[2], C(0));
        }
        continue;
      }
      const T* from = source + (first[0] + d * step[0]) * stride[2] +
                      (first[1] + h * step[1]) * stride[3] + first[2] * stride[4];
      pack_row(from, stride[1], step[2] * stride[4], in[2], f.box[2], channels, f.pitch, to);
    }
  }
  // Read by positions that are thrown away; zero so that no stale NaN or subnormal slows them down.
  const int64_t used = volume(f.box);
  for (int64_t c = 0; c < channels; ++c) {
    std::fill(panel + c * f.pitch + used, panel + (c + 1) * f.pitch, C(0));
  }
}

// ---- store --------------------------------------------------------------------------------------

template <class T, class C>
CONVT3D_INLINE void store_strided(const C* from, C bias, T* to, int64_t step, int64_t count) {
  if (step == 1) {
    for (int64_t x = 0; x < count; ++x) store_element(from[x] + bias, to + x);
  } else {
    for (int64_t x = 0; x < count; ++x) store_element(from[x] + bias, to + step * x);
  }
}

// One destination row of one channel: the classes along w, interleaved. strip: class-major.
template <class T, class C>
CONVT3D_INLINE void store_row(const Axis& axis, int64_t q, int64_t tile, const C* strip,
                              int64_t class_pitch, C bias, T* to, int64_t w_stride) {
  const int64_t step = axis.destination_step;
  const auto& classes = axis.classes;
  int64_t stored = 0;  // common to all classes
  if (step == 2 && w_stride == 1 && classes.size() == 2) {
    stored = std::clamp<int64_t>(std::min(classes[0].count, classes[1].count) - q, 0, tile);
    const C *even = strip, *odd = strip + class_pitch;
    T* pair = to + 2 * q;
    for (int64_t x = 0; x < stored; ++x) {
      store_element(even[x] + bias, pair + 2 * x);
      store_element(odd[x] + bias, pair + 2 * x + 1);
    }
  }
  for (const AxisClass& c : classes) {
    const int64_t count = std::clamp<int64_t>(c.count - q, 0, tile) - stored;
    store_strided(strip + stored, bias, to + (c.first + step * (q + stored)) * w_stride,
                  step * w_stride, count);
    strip += class_pitch;
  }
}

// channels_last: the rows of the block are neighbours in memory.
template <class T, class C>
CONVT3D_INLINE void store_row_channels(const Axis& axis, int64_t q, int64_t tile, const C* strip,
                                       int64_t class_pitch, int64_t rows, int64_t row_pitch,
                                       const C* bias, T* to, int64_t w_stride) {
  for (const AxisClass& c : axis.classes) {
    const int64_t count = std::clamp<int64_t>(c.count - q, 0, tile);
    T* first = to + (c.first + axis.destination_step * q) * w_stride;
    const int64_t step = axis.destination_step * w_stride;
    if (rows == kChannelBlock) {
      for (int64_t x = 0; x < count; ++x) {
        for (int64_t r = 0; r < kChannelBlock; ++r) {
          store_element(strip[r * row_pitch + x] + bias[r], first + x * step + r);
        }
      }
    } else {
      for (int64_t x = 0; x < count; ++x) {
        for (int64_t r = 0; r < rows; ++r) {
          store_element(strip[r * row_pitch + x] + bias[r], first + x * step + r);
        }
      }
    }
    strip += class_pitch;
  }
}

// The rows of a (d, h) pair of classes, for one block of channels.
template <class T, class C>
CONVT3D_INLINE void store_strip(const TileJob& job, const AxisClass& d_class,
                                const AxisClass& h_class, const Extent3& q, int64_t rows,
                                const C* bias, const C* strip, T* destination) {
  const FlatConvolution& f = job.flat;
  const auto& stride = job.destination.stride;
  const int64_t d_count = std::min(f.tile[0], d_class.count - q[0]);
  const int64_t h_count = std::min(f.tile[1], h_class.count - q[1]);
  const int64_t class_pitch = rows * f.flat;
  const bool channels_last = stride[1] == 1 && stride[4] != 1;
  for (int64_t d = 0; d < d_count; ++d) {
    for (int64_t h = 0; h < h_count; ++h) {
      T* to = destination + (d_class.first + f.axis[0].destination_step * (q[0] + d)) * stride[2] +
              (h_class.first + f.axis[1].destination_step * (q[1] + h)) * stride[3];
      const C* from = strip + (d * f.box[1] + h) * f.box[2];
      if (channels_last) {
        store_row_channels(f.axis[2], q[2], f.tile[2], from, class_pitch, rows, f.flat, bias, to,
                           stride[4]);
        continue;
      }
      for (int64_t r = 0; r < rows; ++r) {
        store_row(f.axis[2], q[2], f.tile[2], from + r * f.flat, class_pitch, bias[r],
                  to + r * stride[1], stride[4]);
      }
    }
  }
}

// ---- tile ---------------------------------------------------------------------------------------

template <class T, class C, int BYTES, bool WIDE>
CONVT3D_INLINE void run_tile(const TileJob& job, int64_t item, C* panel) {
  const FlatConvolution& f = job.flat;
  Extent3 q;
  for (int a = 2; a >= 0; --a) {
    q[a] = item % f.num_tiles[a] * f.tile[a];
    item /= f.num_tiles[a];
  }
  const int64_t bundles = f.groups / f.bundle;
  const int64_t group = item % bundles * f.bundle, n = item / bundles;
  // The last tile of an axis may be shorter.
  Extent3 tile;
  for (int a = 0; a < 3; ++a) tile[a] = std::min(f.tile[a], f.axis[a].grid - q[a]);
  const int64_t positions = FlatConvolution::positions(tile, f.box);
  const T* source = static_cast<const T*>(job.source.data) + n * job.source.stride[0] +
                    group * f.source_channels * job.source.stride[1];
  T* destination = static_cast<T*>(job.destination.data) + n * job.destination.stride[0] +
                   group * f.destination_channels * job.destination.stride[1];

  int64_t plane = 0;
  for (int64_t d = 0; d < f.axis[0].remainders; ++d) {
    for (int64_t h = 0; h < f.axis[1].remainders; ++h) {
      for (int64_t w = 0; w < f.axis[2].remainders; ++w, ++plane) {
        pack_remainder(job, source, q, {d, h, w}, panel + plane * f.panel_channels() * f.pitch);
      }
    }
  }

  C* strip = panel + f.panel_elements();
  const int64_t w_classes = static_cast<int64_t>(f.axis[2].classes.size());
  const C* block = static_cast<const C*>(job.packed_weight) +
                   group * f.destination_channels * job.num_taps * f.source_channels;
  const int64_t channels = f.bundle * f.destination_channels;
  for (int64_t row = 0, rows; row < channels; row += rows) {
    // Of one group: 8, 4, 2 or 1 rows. Of a bundle: all its rows, each group's from its own part
    // of the panel.
    rows = f.bundle > 1 ? channels : block_rows(row, channels);
    const int64_t group_rows = rows / f.bundle;
    C bias[kChannelBlock] = {};
    for (int64_t r = 0; job.bias && r < rows; ++r) {
      const int64_t channel = group * f.destination_channels + row + r;
      bias[r] = load_element(static_cast<const T*>(job.bias)[channel * job.bias_stride]);
    }
    const ClassTaps* taps = job.classes.data();
    for (const AxisClass& d_class : f.axis[0].classes) {
      for (const AxisClass& h_class : f.axis[1].classes) {
        if (d_class.count > q[0] && h_class.count > q[1]) {
          for (int64_t w = 0; w < w_classes; ++w) {
            for (int64_t b = 0; b < f.bundle; ++b) {
              const int64_t first_tap = b * job.num_taps + taps[w].weight;
              multiply_strip<C, BYTES / sizeof(C), WIDE>(
                  group_rows, block + first_tap * f.source_channels * group_rows,
                  panel + b * f.source_channels * f.pitch, f.pitch, taps[w], f.source_channels,
                  strip + (w * rows + b * group_rows) * f.flat, f.flat, positions);
            }
          }
          store_strip(job, d_class, h_class, q, rows, bias, strip,
                      destination + row * job.destination.stride[1]);
        }
        taps += w_classes;
      }
    }
    block += rows * job.num_taps * f.source_channels;
  }
}

template <class T, int BYTES, bool WIDE>
CONVT3D_INLINE void run_range(const TileJob& job, int64_t begin, int64_t end, void* slice) {
  for (int64_t item = begin; item < end; ++item) {
    run_tile<T, Compute<T>, BYTES, WIDE>(job, item, static_cast<Compute<T>*>(slice));
  }
}

}  // namespace convt3d::cpu
