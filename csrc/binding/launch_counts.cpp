// SPDX-License-Identifier: BSD-3-Clause
#include "binding/launch_counts.h"

#include <array>
#include <atomic>

namespace convt3d {
namespace {

constexpr size_t kKinds = 2, kDirections = 3;
constexpr size_t kFamilies = static_cast<size_t>(Family::aten) + 1;  // aten is the last

std::array<std::atomic<int64_t>, kKinds * kFamilies * kDirections> counts{};

}  // namespace

void count_launch(DeviceKind kind, Family family, Direction direction) {
  const size_t index =
      (static_cast<size_t>(kind) * kFamilies + static_cast<size_t>(family)) * kDirections +
      static_cast<size_t>(direction);
  counts[index].fetch_add(1, std::memory_order_relaxed);
}

std::vector<std::pair<std::string, int64_t>> launch_counts() {
  std::vector<std::pair<std::string, int64_t>> result;
  for (size_t i = 0; i < counts.size(); ++i) {
    const int64_t count = counts[i].load(std::memory_order_relaxed);
    if (count == 0) continue;
    const size_t row = i / kDirections;
    result.emplace_back(std::string(row / kFamilies == 0 ? "cpu." : "cuda.") +
                            to_string(static_cast<Family>(row % kFamilies)) + "." +
                            to_string(static_cast<Direction>(i % kDirections)),
                        count);
  }
  return result;
}

}  // namespace convt3d
