// SPDX-License-Identifier: BSD-3-Clause
// What a family's launches are given, and values that kernels are built for as template arguments.
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

// body.operator()<value>(), of those that kernels are built for.
template <auto... kBuilt, typename Value, typename Body>
void with_value(Value value, const Body& body) {
  const auto run_if = [&]<Value kValue>() {
    if (value == kValue) body.template operator()<kValue>();
    return value == kValue;
  };
  if (!(run_if.template operator()<kBuilt>() || ...)) {
    using std::to_string;
    throw std::logic_error(std::string("no kernel is built for ") + to_string(value));
  }
}

template <Precision... kBuilt, typename Body>
void with_precision(Precision precision, const Body& body) {
  with_value<kBuilt...>(precision, body);
}

}  // namespace convt3d::cuda
