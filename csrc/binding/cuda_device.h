// SPDX-License-Identifier: BSD-3-Clause
// What the CUDA path needs of the device: its description and torch's current stream.
#pragma once
#include "plan/description.h"

namespace convt3d {

// Queried once per device, then kept.
const Device& cuda_device(int index);
// A cudaStream_t.
void* current_stream(int device_index);

}  // namespace convt3d
