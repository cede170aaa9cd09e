// SPDX-License-Identifier: BSD-3-Clause
// From a call to the launches of lines_in.cuh.
#pragma once
#include "cuda/halo_gemm/launch.cuh"
#include "cuda/halo_gemm/lines_in.cuh"
#include "cuda/halo_gemm/lines_in_call.h"

namespace convt3d::cuda::halo_gemm {

inline Maps make_line_maps(const Call& call, const Params& p) {
  const Problem problem = make_product(call.description).problem;
  const TensorView& input = read_operand(call);
  const auto& s = input.stride;
  Maps maps{};
  maps.of_w[0] = maps.lines_of_w[0] = sm90::encode(
      {input.data,
       call.description.precision,
       {problem.input[2], problem.in_channels, problem.input[1], problem.input[0], problem.batch},
       {1, s[1], s[3], s[2], s[0]},
       {line_width(p.strip + p.axis[2].halo_span), p.chunk_channels, 1, 1, 1},
       {1, 1, 1, 1, 1},
       false});
  return maps;
}

template <int kSlots, int kChannels, int kFused = 1>
Kernel lines_in_kernel() {
  return halo_gemm_kernel<float, kSlots, kChannels, kFused, kLinesInSteps, true, false, LinesIn>;
}

inline Kernel lines_in_kernel_of(const Config& config) {
  constexpr int kSlots = kMarchingSlots;
  const bool fused = config.fused > 1;
  if (config.slots == kPairSlots) return lines_in_kernel<kPairSlots, kPairChannels>();
  switch (config.slots == 1 ? 0 : config.channels) {
    case 16:
      return lines_in_kernel<kSlots, 16>();
    case 24:
      return fused ? lines_in_kernel<kSlots, 24, 2>() : lines_in_kernel<kSlots, 24>();
    case 32:
      return fused ? lines_in_kernel<kSlots, 32, 2>() : lines_in_kernel<kSlots, 32>();
    case 48:
      return lines_in_kernel<kSlots, 48>();
    case 64:
      return lines_in_kernel<kSlots, 64>();
  }
  switch (config.channels) {
    case 32:
      return lines_in_kernel<1, 32>();
    case 64:
      return lines_in_kernel<1, 64>();
    default:
      return lines_in_kernel<1, 96>();
  }
}

void run_lines_in(const Call& call) {
  const Params p = make_params(call);
  if (fills_with_bias(call.description)) {
    fill_with_bias(call.description, call.operands, call.stream);
  }
  pack_weight<float>(call, p);
  const Kernel kernel = lines_in_kernel_of(call.config);
  allow_shared_memory(kernel, "halo_gemm lines_in_kernel shared memory");
  const auto sms = static_cast<unsigned>(call.device.num_sms);
  const unsigned blocks = marches(call.config.slots) ? sms : std::min(p.items, sms);
  const auto threads = static_cast<unsigned>((call.config.warpgroups + 1) * 128);
  launch_grid("halo_gemm lines_in_kernel", kernel,
              {blocks, threads, kSharedBytes, call.stream, true}, p, make_line_maps(call, p));
}

}  // namespace convt3d::cuda::halo_gemm
