// SPDX-License-Identifier: BSD-3-Clause
#include "plan/binary_code.h"

#include <cctype>

namespace convt3d {
namespace {

// One entry of the list; an entry that is no number matches nothing.
bool runs_on(std::string_view arch, int capability) {
  const bool ptx = arch.ends_with("+PTX");
  if (ptx) arch.remove_suffix(4);
  const bool specific = !arch.empty() && std::isalpha(static_cast<unsigned char>(arch.back()));
  int compiled = 0;
  for (const char c : arch) {
    if (std::isdigit(static_cast<unsigned char>(c))) compiled = 10 * compiled + (c - '0');
  }
  if (compiled == 0) return false;
  if (specific) return compiled == capability;
  return capability >= compiled && (ptx || capability / 10 == compiled / 10);
}

}  // namespace

bool has_code(std::string_view archs, int capability) {
  while (!archs.empty()) {
    const size_t end = archs.find(';');
    if (runs_on(archs.substr(0, end), capability)) return true;
    archs = end == archs.npos ? std::string_view() : archs.substr(end + 1);
  }
  return false;
}

std::string no_code_warning(int device_index, int capability, std::string_view archs) {
  return "convt3d_ext has no code for cuda:" + std::to_string(device_index) +
         " (compute capability " + std::to_string(capability / 10) + "." +
         std::to_string(capability % 10) + ", built for " + std::string(archs) +
         "): torch's own kernels run there instead";
}

std::string old_driver_error(int cudart_version) {
  return "convt3d_ext is built with CUDA " + std::to_string(cudart_version / 1000) +
         " and needs an NVIDIA driver of that generation or later (CUDA 13: driver 580); please "
         "update the driver";
}

}  // namespace convt3d
