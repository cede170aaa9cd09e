// SPDX-License-Identifier: BSD-3-Clause
// Which GPUs a binary has machine code or PTX for.
#pragma once
#include <string>
#include <string_view>

namespace convt3d {

// `archs` as setup.py was given them, such as "8.0;8.6;9.0a;12.0+PTX"; `capability` is
// 10 * major + minor. Machine code runs on its own major version from its minor on, that of an
// architecture with a letter on itself alone, and PTX on everything later.
bool has_code(std::string_view archs, int capability);

// What a user is told where it has none, and where the driver is older than the binary's CUDA.
std::string no_code_warning(int device_index, int capability, std::string_view archs);
std::string old_driver_error(int cudart_version);

}  // namespace convt3d
