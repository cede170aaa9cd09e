// SPDX-License-Identifier: BSD-3-Clause
#include "plan/description.h"

#include <array>
#include <stdexcept>

#include "geometry/notation.h"

namespace convt3d {
namespace {

constexpr std::array kPrecisions{Precision::fp64, Precision::fp32, Precision::tf32, Precision::fp16,
                                 Precision::bf16};
constexpr std::array kLayouts{Layout::ncdhw, Layout::ndhwc, Layout::strided};
constexpr std::array kDirections{Direction::forward, Direction::grad_input, Direction::grad_weight};

template <typename Names, typename Value>
bool find_name(const Names& names, const std::string& text, Value* value) {
  for (const auto& candidate : names) {
    if (text == to_string(candidate)) {
      *value = candidate;
      return true;
    }
  }
  return false;
}

bool read_layouts(const std::string& text, Description* description) {
  const std::vector<std::string> words = split(text, '+');
  Layout* const layouts[] = {&description->input, &description->weight, &description->output};
  if (words.size() != 1 && words.size() != 3) return false;
  for (size_t i = 0; i < 3; ++i) {
    if (!find_name(kLayouts, words[words.size() == 1 ? 0 : i], layouts[i])) return false;
  }
  return true;
}

}  // namespace

const char* to_string(Precision precision) {
  switch (precision) {
    case Precision::fp64:
      return "fp64";
    case Precision::fp32:
      return "fp32";
    case Precision::tf32:
      return "tf32";
    case Precision::fp16:
      return "fp16";
    case Precision::bf16:
      return "bf16";
  }
  return "?";
}

const char* to_string(Layout layout) {
  switch (layout) {
    case Layout::ncdhw:
      return "ncdhw";
    case Layout::ndhwc:
      return "ndhwc";
    case Layout::strided:
      return "strided";
  }
  return "?";
}

int64_t element_bytes(Precision precision) {
  switch (precision) {
    case Precision::fp64:
      return 8;
    case Precision::fp32:
    case Precision::tf32:
      return 4;
    case Precision::fp16:
    case Precision::bf16:
      return 2;
  }
  return 0;
}

std::string to_string(const Description& description) {
  std::string text = to_string(description.problem);
  text += std::string(":") + to_string(description.precision) + ":" + to_string(description.input);
  if (description.weight != description.input || description.output != description.input) {
    text += std::string("+") + to_string(description.weight) + "+" + to_string(description.output);
  }
  text += std::string(":") + to_string(description.direction);
  if (description.has_bias) text += ":bias";
  return text;
}

Description parse_description(const std::string& text) {
  const std::vector<std::string> parts = split(text, ':');
  Description description;
  description.problem = parse_problem(parts[0]);
  for (size_t i = 1; i < parts.size(); ++i) {
    if (find_name(kPrecisions, parts[i], &description.precision) ||
        find_name(kDirections, parts[i], &description.direction) ||
        read_layouts(parts[i], &description)) {
      continue;
    }
    if (parts[i] != "bias") {
      throw std::invalid_argument("cannot read ':" + parts[i] + "' in problem '" + text + "'");
    }
    description.has_bias = true;
  }
  if (description.has_bias && description.direction != Direction::forward) {
    throw std::invalid_argument("':bias' belongs to forward only, in problem '" + text + "'");
  }
  // Grouped float32 is computed in full precision whatever is allowed, as torch does.
  if (description.precision == Precision::tf32 && description.problem.groups > 1) {
    description.precision = Precision::fp32;
  }
  return description;
}

}  // namespace convt3d
