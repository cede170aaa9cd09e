// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/cluster_weight/cluster_weight.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "cuda/cluster_weight/box_config.h"
#include "cuda/cluster_weight/config.h"
#include "cuda/cluster_weight/tuning.h"
#include "cuda/common/kept_answer.h"
#include "cuda/sm90/chain.h"
#include "geometry/ceil_div.h"
#include "geometry/numbers.h"

namespace convt3d::cuda::cluster_weight {
namespace {

bool is_narrow(Precision precision) { return element_bytes(precision) == 2; }

// Clocks of copying `bytes` to an SM, in pieces as large as `line` bytes allow.
double copy_clocks(double bytes, int64_t line) {
  int i = 0;
  for (int64_t piece = 16; line % piece != 0; piece /= 2) ++i;
  return bytes / kCopyBytesPerClock[i];
}

// Clocks of all blocks of `c`. Two of the smaller tile share an SM, and what it copies.
double clocks_of(const Description& description, const Device& device, const Config& c) {
  const Problem& p = description.problem;
  const int64_t bytes = element_bytes(description.precision);
  const int64_t chunk = chunk_of(description.precision, c.shape.source);
  const bool lines = c.shape.source != Source::channels;
  const double copies =
      copy_clocks(as_double(chunk * bytes * c.rows), lines ? volume(p.input) * bytes : 16) +
      copy_clocks(as_double(chunk * bytes * kColumns), lines ? p.output()[2] * bytes : 16);
  const double products = description.precision == Precision::fp32
                              ? c.rows * (as_double(chunk) / 8) * kProductClocks
                              : 0;
  const double waves = as_double(c.tiles * c.splits) / device.num_sms;
  const double chunks = as_double(ceil_div(c.split_positions, chunk));
  // Blocks of an SM, one after the other; pairs hide a part of the last ones' wait.
  const double blocks = c.rows > 64 ? std::ceil(waves)
                        : waves > 1 ? waves / 2 + std::ceil(waves / 2)
                                    : 1;
  const double end = c.rows > 64 ? kTallEndClocks : kEndClocks;
  return kStartClocks + blocks * chunks * std::max(copies, products) + (blocks - 1) * end +
         (c.splits > 1 ? kClusterClocks : 0);
}

// The least that the families behind this one take.
double others_clocks(const Description& description, const Shape& shape) {
  const Precision precision = description.precision;
  const int64_t bytes = element_bytes(precision);
  const bool lines = shape.source != Source::channels;
  const Others& others = is_narrow(precision)           ? (lines ? kNarrowLines : kNarrowRows)
                         : precision == Precision::tf32 ? (lines ? kTf32Lines : kTf32Rows)
                                                        : (lines ? kFullLines : kFullRows);
  const double ins = as_double(shape.in_channels), columns = as_double(shape.columns);
  const double positions = as_double(shape.positions);
  const double megabytes =
      as_double(bytes) * (ins * positions + columns * positions + ins * columns) / 1e6;
  const double products = std::min(ins * columns * positions / 1e9, kMostProducts);
  const bool odd = lines && description.problem.output()[2] * bytes % 16 != 0;
  return others.start + others.megabyte * megabytes + others.products * products +
         (odd ? others.odd_lines : 0);
}

Config search(const Description& description, const Device& device, const Shape& shape) {
  Config best{};
  best.clocks = std::numeric_limits<double>::infinity();
  const int64_t chunk = chunk_of(description.precision, shape.source);
  for (const int rows : {64, 128}) {
    if (rows == 128 && description.precision == Precision::fp32) continue;
    for (int splits = 1; splits <= kMaxSplits; splits *= 2) {
      Config c{shape, rows, splits, 0, 0, 0};
      c.split_positions = ceil_div(ceil_div(shape.positions, chunk), splits) * chunk;
      if (c.split_positions * (splits - 1) >= shape.positions) continue;  // a block without any
      c.tiles = ceil_div(shape.in_channels, rows) * ceil_div(shape.columns, kColumns);
      if (splits > 1 && c.tiles * splits * kTunedSms > kMaxClustered * device.num_sms) continue;
      c.clocks = clocks_of(description, device, c);
      if (c.clocks < best.clocks) best = c;
    }
  }
  return best;
}

}  // namespace

bool make_shape(const Description& description, Shape* shape, const char** why) {
  const Problem& p = description.problem;
  const int64_t bytes = element_bytes(description.precision), taps = volume(p.kernel);
  const Extent3 output = p.output();
  shape->in_channels = p.in_channels;
  shape->columns = p.out_channels * taps;
  shape->positions = p.batch * volume(p.input);
  shape->source = Source::channels;
  // A weight of one tap is in both layouts, and called by the first.
  const bool one_tap = taps == 1 && description.weight != Layout::strided;
  if ((description.weight != description.output && !one_tap) ||
      description.output == Layout::strided) {
    *why = "grad_output and weight must be dense and of one layout";
    return false;
  }
  shape->flat = volume(p.input) == 1 && output == p.kernel && p.padding == Extent3{0, 0, 0} &&
                p.dilation == Extent3{1, 1, 1};
  if (shape->flat ? description.input == Layout::strided
                  : description.input != description.output) {
    *why = "input and grad_output must be dense and of one layout";
    return false;
  }
  if (shape->flat || description.output == Layout::ndhwc) {
    const int64_t channels = shape->flat ? shape->columns : p.out_channels;
    if (p.in_channels * bytes % 16 != 0 || channels * bytes % 16 != 0) {
      *why = "rows of channels must be multiples of 16 bytes";
      return false;
    }
    return true;
  }
  for (size_t axis = 0; axis < 3; ++axis) {
    if (p.kernel[axis] != p.stride[axis] || output[axis] != p.input[axis] * p.stride[axis] ||
        p.padding[axis] != 0 || (p.dilation[axis] != 1 && p.kernel[axis] != 1)) {
      *why = "lines of positions must have kernel = stride, and no padding";
      return false;
    }
  }
  if (p.kernel[2] != 2 && p.kernel[2] != 4) {
    *why = "lines of positions must have a kernel of 2 or 4 along w";
    return false;
  }
  shape->source = p.kernel[2] == 2 ? Source::lines_2 : Source::lines_4;
  return true;
}

Config choose(const Description& description, const Device& device, const Shape& shape) {
  return kept_answer(description, device, [&] { return search(description, device, shape); });
}

Verdict supports(const Description& description, const Device& device) {
  const Problem& p = description.problem;
  if (device.arch != kArch) return Verdict::refuse("needs compute capability 9.0");
  if (description.direction != Direction::grad_weight) return Verdict::refuse("grad_weight only");
  if (description.precision == Precision::fp64) return Verdict::refuse("no kernel for float64");
  if (p.groups != 1) return Verdict::refuse("groups must be 1");
  Shape shape{};
  const char* why = nullptr;
  const Extent3 output = p.output();
  for (size_t axis = 0; axis < 3; ++axis) {
    const int64_t reach = p.dilation[axis] * p.kernel[axis] + p.stride[axis] + p.padding[axis];
    if (std::max({p.input[axis], output[axis], p.kernel[axis], reach}) > kMaxExtent) {
      return Verdict::refuse("an axis is longer than 2**20");
    }
  }
  if (!make_shape(description, &shape, &why)) return Verdict::refuse(why);
  const double most = static_cast<double>(kMaxElements);
  const double outputs =
      as_double(p.batch * p.out_channels) * as_double(output[0] * output[1]) * as_double(output[2]);
  if (as_double(shape.in_channels) * as_double(shape.positions) >= most || outputs >= most ||
      as_double(shape.in_channels) * as_double(shape.columns) >= most) {
    return Verdict::refuse("a tensor has 2**31 elements or more");
  }
  if (shape.in_channels < kMinIn || shape.columns < kMinColumns) {
    return Verdict::refuse("fewer than 48 in channels, or 96 out channels and taps");
  }
  if (shape.positions < kMinSum) return Verdict::refuse("fewer than 16 positions");
  const Config c = choose(description, device, shape);
  const int64_t depth = is_narrow(description.precision) ? 16 : 8;
  if (description.precision != Precision::fp32 &&
      c.split_positions / depth > sm90::max_chain(description.precision)) {
    return Verdict::refuse("more positions than a chain of sums keeps apart");
  }
  const double clocks = std::min(c.clocks, choose_boxes(description, device, shape).clocks);
  if (kMargin * clocks > others_clocks(description, shape)) {
    return Verdict::refuse("others are estimated to be faster");
  }
  return Verdict::accept();
}

int64_t workspace_bytes(const Description&, const Device&) { return 0; }

std::string config(const Description& description, const Device& device) {
  Shape shape{};
  const char* why = nullptr;
  make_shape(description, &shape, &why);
  const Config narrow = choose(description, device, shape);
  const BoxConfig boxes = choose_boxes(description, device, shape);
  return prefers_boxes(boxes, narrow) ? to_string(boxes) : to_string(narrow);
}

std::string to_string(const Config& c) {
  const char* source = c.shape.source == Source::channels  ? "rows of channels"
                       : c.shape.source == Source::lines_2 ? "lines of 2 taps"
                                                           : "lines of 4 taps";
  return std::string(source) + ", " + std::to_string(c.shape.in_channels) + "x" +
         std::to_string(c.shape.columns) + "x" + std::to_string(c.shape.positions) + " in " +
         std::to_string(c.tiles) + " tiles of " + std::to_string(c.rows) + "x" +
         std::to_string(kColumns) + ", " + std::to_string(c.splits) + " splits";
}

}  // namespace convt3d::cuda::cluster_weight
