// SPDX-License-Identifier: BSD-3-Clause
// A transposed convolution as numbers: extents over the axes {d, h, w}, always in that order.
//
//   output = (input - 1) * stride - 2 * padding + dilation * (kernel - 1) + output_padding + 1
//   o + padding = stride * i + dilation * t        (output o, input i, tap t; per axis)
#pragma once
#include <array>
#include <cstdint>
#include <string>

namespace convt3d {

using Extent3 = std::array<int64_t, 3>;  // {d, h, w}

struct Problem {
  int64_t batch = 1;
  int64_t in_channels = 1;   // of the whole input, all groups
  int64_t out_channels = 1;  // of the whole output, all groups
  int64_t groups = 1;
  Extent3 input{1, 1, 1};
  Extent3 kernel{1, 1, 1};
  Extent3 stride{1, 1, 1};
  Extent3 padding{0, 0, 0};
  Extent3 output_padding{0, 0, 0};
  Extent3 dilation{1, 1, 1};  // torch's: 1 is dense

  // Extents that the checker (binding/checks.cpp) has proved free of overflow.
  Extent3 output() const;
  int64_t in_channels_per_group() const { return in_channels / groups; }
  int64_t out_channels_per_group() const { return out_channels / groups; }

  bool operator==(const Problem&) const = default;
};

inline int64_t volume(const Extent3& e) { return e[0] * e[1] * e[2]; }

// The output extent of one axis; false when it does not fit 64 bits.
bool output_extent(int64_t input, int64_t kernel, int64_t stride, int64_t padding,
                   int64_t output_padding, int64_t dilation, int64_t* extent);

// Multiplies and adds (2 per pair) of taps that hit an input element; equal for all directions.
double useful_flops(const Problem& problem);

// mb2_ic64oc32_id16ih16iw16_k3s2p1op1, then g4 and d2 where not 1; k3x5x7 where axes differ.
std::string to_string(const Problem& problem);
// Reads that notation; throws std::invalid_argument that names the offending token.
Problem parse_problem(const std::string& text);

}  // namespace convt3d
