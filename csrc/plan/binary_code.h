// SPDX-License-Identifier: BSD-3-Clause
// Which GPUs a binary has machine code or PTX for.
#pragma once
#include <string_view>

namespace convt3d {

// `archs` as setup.py was given them, such as "8.0;8.6;9.0a;12.0+PTX"; `capability` is
// 10 * major + minor. Machine code runs on its own major version from its minor on, that of an
// architecture with a letter on itself alone, and PTX on everything later.
bool has_code(std::string_view archs, int capability);

}  // namespace convt3d
