// SPDX-License-Identifier: BSD-3-Clause
#include "geometry/problem.h"

#include <algorithm>
#include <map>
#include <stdexcept>

#include "geometry/notation.h"

namespace convt3d {
namespace {

// Pairs (input, tap) of one axis that land on an output.
double useful_pairs(const Problem& problem, int axis) {
  const int64_t stride = problem.stride[axis], extent = problem.output()[axis];
  double pairs = 0;
  for (int64_t tap = 0; tap < problem.kernel[axis]; ++tap) {
    // 0 <= stride * i + shift < extent
    const int64_t shift = problem.dilation[axis] * tap - problem.padding[axis];
    const int64_t first = shift >= 0 ? 0 : (-shift + stride - 1) / stride;
    const int64_t last = extent - 1 < shift ? -1 : (extent - 1 - shift) / stride;
    pairs += static_cast<double>(
        std::max<int64_t>(0, std::min(last, problem.input[axis] - 1) - first + 1));
  }
  return pairs;
}

std::string axes_to_string(const char* key, const Extent3& extent) {
  std::string text = key + std::to_string(extent[0]);
  if (extent[1] != extent[0] || extent[2] != extent[0]) {
    text += "x" + std::to_string(extent[1]) + "x" + std::to_string(extent[2]);
  }
  return text;
}

void check_parsed(const Problem& problem, const std::string& text) {
  const auto refuse = [&](const std::string& why) {
    throw std::invalid_argument(why + " in problem '" + text + "'");
  };
  if (problem.batch < 0) refuse("mb must not be negative");
  if (problem.groups < 1) refuse("g must be positive");
  if (problem.in_channels < 1 || problem.in_channels % problem.groups != 0) {
    refuse("ic must be a positive multiple of g");
  }
  if (problem.out_channels < 1 || problem.out_channels % problem.groups != 0) {
    refuse("oc must be a positive multiple of g");
  }
  for (int axis = 0; axis < 3; ++axis) {
    if (problem.input[axis] < 1) refuse("id, ih and iw must be positive");
    if (problem.kernel[axis] < 1) refuse("k must be positive");
    if (problem.stride[axis] < 1) refuse("s must be positive");
    if (problem.dilation[axis] < 1) refuse("d must be positive");
    if (problem.output_padding[axis] >= std::max(problem.stride[axis], problem.dilation[axis])) {
      refuse("op must be smaller than s or d");
    }
    int64_t extent = 0;
    if (!output_extent(problem.input[axis], problem.kernel[axis], problem.stride[axis],
                       problem.padding[axis], problem.output_padding[axis], problem.dilation[axis],
                       &extent)) {
      refuse("the output size overflows");
    }
    if (extent < 1) refuse("the output is empty");
  }
}

}  // namespace

bool output_extent(int64_t input, int64_t kernel, int64_t stride, int64_t padding,
                   int64_t output_padding, int64_t dilation, int64_t* extent) {
  int64_t steps = 0, margin = 0, reach = 0, sum = 0;
  return !__builtin_mul_overflow(input - 1, stride, &steps) &&
         !__builtin_mul_overflow(padding, int64_t{2}, &margin) &&
         !__builtin_mul_overflow(dilation, kernel - 1, &reach) &&
         !__builtin_sub_overflow(steps, margin, &sum) &&
         !__builtin_add_overflow(sum, reach, &sum) &&
         !__builtin_add_overflow(sum, output_padding, &sum) &&
         !__builtin_add_overflow(sum, int64_t{1}, extent);
}

Extent3 Problem::output() const {
  Extent3 extent{};
  for (int axis = 0; axis < 3; ++axis) {
    output_extent(input[axis], kernel[axis], stride[axis], padding[axis], output_padding[axis],
                  dilation[axis], &extent[axis]);
  }
  return extent;
}

double useful_flops(const Problem& problem) {
  double flops = 2.0 * static_cast<double>(problem.batch) *
                 static_cast<double>(problem.in_channels) *
                 static_cast<double>(problem.out_channels_per_group());
  for (int axis = 0; axis < 3; ++axis) flops *= useful_pairs(problem, axis);
  return flops;
}

std::string to_string(const Problem& problem) {
  const auto number = [](const char* key, int64_t value) { return key + std::to_string(value); };
  std::string text = number("mb", problem.batch) + "_" + number("ic", problem.in_channels) +
                     number("oc", problem.out_channels) + "_" + number("id", problem.input[0]) +
                     number("ih", problem.input[1]) + number("iw", problem.input[2]) + "_" +
                     axes_to_string("k", problem.kernel);
  const Extent3 ones{1, 1, 1}, zeros{0, 0, 0};
  if (problem.stride != ones) text += axes_to_string("s", problem.stride);
  if (problem.padding != zeros) text += axes_to_string("p", problem.padding);
  if (problem.output_padding != zeros) text += axes_to_string("op", problem.output_padding);
  if (problem.dilation != ones) text += axes_to_string("d", problem.dilation);
  if (problem.groups != 1) text += number("g", problem.groups);
  return text;
}

Problem parse_problem(const std::string& text) {
  Problem problem;
  const std::map<std::string, int64_t*> numbers{
      {"mb", &problem.batch},    {"ic", &problem.in_channels}, {"oc", &problem.out_channels},
      {"id", &problem.input[0]}, {"ih", &problem.input[1]},    {"iw", &problem.input[2]},
      {"g", &problem.groups}};
  const std::map<std::string, Extent3*> extents{{"k", &problem.kernel},
                                                {"s", &problem.stride},
                                                {"p", &problem.padding},
                                                {"op", &problem.output_padding},
                                                {"d", &problem.dilation}};
  std::map<std::string, bool> seen;
  for (const Token& token : tokenize(text)) {
    if (seen[token.key]) {
      throw std::invalid_argument("'" + token.text + "' comes twice in problem '" + text + "'");
    }
    seen[token.key] = true;
    if (const auto number = numbers.find(token.key);
        number != numbers.end() && token.values.size() == 1) {
      *number->second = token.values[0];
    } else if (const auto extent = extents.find(token.key);
               extent != extents.end() && (token.values.size() == 1 || token.values.size() == 3)) {
      for (size_t axis = 0; axis < 3; ++axis) {
        (*extent->second)[axis] = token.values[token.values.size() == 1 ? 0 : axis];
      }
    } else {
      throw std::invalid_argument("cannot read '" + token.text + "' in problem '" + text + "'");
    }
  }
  for (const char* key : {"mb", "ic", "oc", "id", "ih", "iw", "k"}) {
    if (!seen[key]) {
      throw std::invalid_argument(std::string("'") + key + "' is missing in problem '" + text +
                                  "'");
    }
  }
  check_parsed(problem, text);
  return problem;
}

}  // namespace convt3d
