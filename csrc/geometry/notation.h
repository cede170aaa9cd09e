// SPDX-License-Identifier: BSD-3-Clause
// The reader under parse_problem() and parse_description(): cuts "mb2_ic64oc32_k3x5x7" into tokens.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace convt3d {

struct Token {
  std::string key;              // "k"
  std::vector<int64_t> values;  // {3, 5, 7}
  std::string text;             // "k3x5x7", for messages
};

// Throws std::invalid_argument that names what cannot be read.
std::vector<Token> tokenize(const std::string& text);
std::vector<std::string> split(const std::string& text, char separator);

}  // namespace convt3d
