// SPDX-License-Identifier: BSD-3-Clause
#pragma once
#include <cstdint>

#include "plan/family.h"

namespace convt3d::cuda::padded_channels {

struct Config {
  Description padded;  // what the other family is asked
  const Candidate* inner = nullptr;
  const char* why_not = nullptr;  // another family is faster
  // Bytes of the copies in the workspace, in this order, each on kAlign; 0: used as it is.
  int64_t input = 0, weight = 0, output = 0, bias = 0;
};

// Without a family that takes the padded problem, or without odd channels: no inner.
Config choose(const Description& description, const Device& device);

}  // namespace convt3d::cuda::padded_channels
