// SPDX-License-Identifier: BSD-3-Clause
#include "geometry/notation.h"

#include <cctype>
#include <charconv>
#include <stdexcept>

namespace convt3d {
namespace {

bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }
bool is_letter(char c) { return std::islower(static_cast<unsigned char>(c)) != 0; }

int64_t read_number(const std::string& text, size_t* at) {
  int64_t value = 0;
  const char* first = text.data() + *at;
  const auto [last, error] = std::from_chars(first, text.data() + text.size(), value);
  if (error != std::errc() || !is_digit(*first)) {
    throw std::invalid_argument("expected a number at '" + text.substr(*at) + "' in problem '" +
                                text + "'");
  }
  *at = static_cast<size_t>(last - text.data());
  return value;
}

}  // namespace

std::vector<Token> tokenize(const std::string& text) {
  std::vector<Token> tokens;
  size_t at = 0;
  while (at < text.size()) {
    if (text[at] == '_') {
      ++at;
      continue;
    }
    const size_t start = at;
    Token token;
    while (at < text.size() && is_letter(text[at])) token.key += text[at++];
    if (token.key.empty()) {
      throw std::invalid_argument("expected a letter at '" + text.substr(at) + "' in problem '" +
                                  text + "'");
    }
    token.values.push_back(at < text.size() ? read_number(text, &at) : -1);
    while (at + 1 < text.size() && text[at] == 'x' && is_digit(text[at + 1])) {
      ++at;
      token.values.push_back(read_number(text, &at));
    }
    token.text = text.substr(start, at - start);
    if (token.values[0] < 0) {
      throw std::invalid_argument("'" + token.text + "' has no number in problem '" + text + "'");
    }
    tokens.push_back(std::move(token));
  }
  return tokens;
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts(1);
  for (char c : text) {
    if (c == separator) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

}  // namespace convt3d
