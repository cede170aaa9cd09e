// SPDX-License-Identifier: BSD-3-Clause
// What a call asks for, and of which device. Everything a plan depends on is in these two PODs.
#pragma once
#include <string>

#include "geometry/gemm_view.h"
#include "geometry/problem.h"

namespace convt3d {

// Element type and arithmetic in one: tf32 is float32 data whose products may be TF32.
enum class Precision { fp64, fp32, tf32, fp16, bf16 };
// Memory order of a 5-D tensor; `strided` is neither of the two dense ones.
enum class Layout { ncdhw, ndhwc, strided };

const char* to_string(Precision precision);
const char* to_string(Layout layout);
int64_t element_bytes(Precision precision);

struct Description {
  Problem problem;
  Direction direction = Direction::forward;
  Precision precision = Precision::fp32;
  // One per tensor of the bilinear form, whichever of them is the result. weight's two leading
  // dimensions are (in_channels, out_channels / groups); ndhwc means its channels_last_3d.
  Layout input = Layout::ncdhw;
  Layout weight = Layout::ncdhw;
  Layout output = Layout::ncdhw;
  bool has_bias = false;  // forward only

  bool operator==(const Description&) const = default;
};

// The notation of Problem plus ":<precision>:<layouts>:<direction>[:bias]". <layouts> is one word
// when all three tensors agree, else input+weight+output.
std::string to_string(const Description& description);
// Every suffix is optional, in any order; throws std::invalid_argument that names the token.
Description parse_description(const std::string& text);

enum class DeviceKind { cpu, cuda };

struct Device {
  DeviceKind kind = DeviceKind::cpu;
  int arch = 0;         // CUDA: 10 * major + minor; 0 where the binary has no code for the GPU
  int num_sms = 0;      // CUDA
  int num_threads = 1;  // CPU
};

}  // namespace convt3d
