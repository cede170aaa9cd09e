// SPDX-License-Identifier: BSD-3-Clause
// How often each family ran, so that a test can check that what explain() names is what runs.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "plan/family.h"

namespace convt3d {

void count_launch(DeviceKind kind, Family family, Direction direction);
// ("cuda.direct.forward", launches since import), without those that never ran.
std::vector<std::pair<std::string, int64_t>> launch_counts();

}  // namespace convt3d
