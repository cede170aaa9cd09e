// SPDX-License-Identifier: BSD-3-Clause
// What a family's launches are given, and its precision as a template argument.
#pragma once
#include <cuda_runtime_api.h>

#include <stdexcept>
#include <string>

#include "plan/description.h"
#include "plan/operands.h"

namespace convt3d::cuda {

template <typename Config>
struct Call {
  const Description& description;
  const Device& device;
  const Operands& operands;
  const Config& config;
  void* workspace;
  cudaStream_t stream;
};

// body.operator()<precision>(), of the precisions that a family is built for.
template <Precision... kBuilt, typename Body>
void with_precision(Precision precision, const Body& body) {
  const auto run_if = [&]<Precision kPrecision>() {
    if (precision == kPrecision) body.template operator()<kPrecision>();
    return precision == kPrecision;
  };
  if (!(run_if.template operator()<kBuilt>() || ...)) {
    throw std::logic_error(std::string("no kernel is built for ") + to_string(precision));
  }
}

}  // namespace convt3d::cuda
