// SPDX-License-Identifier: BSD-3-Clause
// What is chosen for one call. Plain C++: the planner is built without CUDA.
#pragma once
#include <cstdint>
#include <string>

#include "plan/description.h"

namespace convt3d::cuda::few_channels {

// How the threads of a warp lie on the result; see kernel.cuh.
enum class Mapping {
  planes,     // NCDHW: neighbouring threads are neighbouring cells on w
  channels,   // NDHWC: neighbouring threads are neighbouring blocks of out channels
  depthwise,  // NDHWC, one out channel in each group: the same, with inputs of their own
  reduction,  // NDHWC, tiny out_channels: eight threads share the in channels of a cell
  scatter,    // tiny out_channels, stride 2: see scatter_kernel.cuh
  taps,       // grad_input of very many taps: see taps_kernel.cuh
};

struct Config {
  Mapping mapping;
  int outs;        // out channels that a thread keeps
  int ins;         // in channels that a thread loads at once
  int taps_w;      // taps on w that the instance is made for; 0 for any number
  int lanes;       // threads side by side on the channels of one cell
  int64_t tiles;   // blocks of out channels, each with its weights in shared memory
  int tile_outs;   // out channels of such a block
  int64_t shared;  // bytes of those weights
};

// Whether there are instances for three taps on w, and not only for any number.
constexpr bool unrolls_taps(Mapping mapping, bool gather, int ins) {
  return mapping == Mapping::depthwise ? !gather : mapping != Mapping::reduction && ins == 1;
}

Config choose(const Description& description);
const char* to_string(Mapping mapping);
std::string to_string(const Config& config);

// scatter: floats of one in channel's weights, for `outs` out channels; a multiple of four.
constexpr int scatter_row(int kernel, int outs) {
  return (kernel * kernel * kernel * outs + 3) / 4 * 4;
}

}  // namespace convt3d::cuda::few_channels
