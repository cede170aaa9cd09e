// SPDX-License-Identifier: BSD-3-Clause
// Leave to launch a kernel with more than 48 KB of shared memory. It belongs to the kernel, not to
// a launch: of two threads that ask for what their own calls need, one would take it from the
// other. So it is always for all that a block may have.
#pragma once

namespace convt3d::cuda {

// On the current device; throws with `what`.
void allow_shared_memory(const void* kernel, const char* what);

template <typename... Parameters>
void allow_shared_memory(void (*kernel)(Parameters...), const char* what) {
  allow_shared_memory(reinterpret_cast<const void*>(kernel), what);
}

}  // namespace convt3d::cuda
