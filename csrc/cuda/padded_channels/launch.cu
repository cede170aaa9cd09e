// SPDX-License-Identifier: BSD-3-Clause
#include <algorithm>
#include <cstdint>

#include "cuda/common/cuda_check.h"
#include "cuda/cuda.h"
#include "cuda/padded_channels/config.h"
#include "cuda/padded_channels/copy.cuh"
#include "cuda/padded_channels/padded_channels.h"
#include "cuda/sm90/row_copy.h"
#include "geometry/ceil_div.h"

namespace convt3d::cuda::padded_channels {
namespace {

struct Channels {
  int64_t in, out;
};

void copy_weight(const TensorView& from, Channels source, const TensorView& to, Channels target,
                 const Extent3& kernel, int64_t element_bytes, cudaStream_t stream) {
  Weight p{};
  p.source = from.data;
  p.target = to.data;
  std::copy(from.stride.begin(), from.stride.end(), p.source_stride);
  std::copy(to.stride.begin(), to.stride.end(), p.target_stride);
  p.source_in = static_cast<int>(source.in);
  p.source_out = static_cast<int>(source.out);
  p.out = make_divisor(target.out);
  std::transform(kernel.begin(), kernel.end(), p.kernel, make_divisor);
  p.elements = static_cast<int>(target.in * target.out * volume(kernel));
  p.channels_inner = to.stride[1] == 1;
  const auto blocks = static_cast<unsigned>(ceil_div(p.elements, kThreads));
  // As bits: zero is zero in every type.
  const auto copy = element_bytes == 2 ? weight_kernel<uint16_t> : weight_kernel<uint32_t>;
  copy<<<blocks, kThreads, 0, stream>>>(p);
  check(cudaGetLastError(), "padding a weight");
}

// Channels innermost.
TensorView rows_view(void* data, int64_t channels, const Extent3& e) {
  return {data, {channels * volume(e), 1, channels * e[1] * e[2], channels * e[2], channels}};
}

}  // namespace

void launch(const Description& description, const Device& device, const Operands& operands,
            void* workspace, void* stream) {
  const Config config = choose(description, device);
  const Problem &p = description.problem, &q = config.padded.problem;
  const int64_t bytes = element_bytes(description.precision);
  const auto on = static_cast<cudaStream_t>(stream);
  auto* free = static_cast<char*>(workspace);
  const auto take = [&](int64_t count) {
    char* const part = free;
    free += count;
    return part;
  };
  const Direction direction = description.direction;
  const Channels mine{p.in_channels, p.out_channels}, padded{q.in_channels, q.out_channels};
  Operands inner = operands;
  inner.weight = rows_view(take(config.weight), q.out_channels, q.kernel);
  if (config.input > 0) inner.input = rows_view(take(config.input), q.in_channels, q.input);
  if (config.output > 0) inner.output = rows_view(take(config.output), q.out_channels, q.output());

  if (config.input > 0 && direction != Direction::grad_input) {
    sm90::copy_rows({operands.input.data, inner.input.data, p.batch * volume(p.input), mine.in,
                     padded.in, mine.in, bytes},
                    on);
  }
  if (config.output > 0 && direction != Direction::forward) {
    sm90::copy_rows({operands.output.data, inner.output.data, p.batch * volume(p.output()),
                     mine.out, padded.out, mine.out, bytes},
                    on);
  }
  if (direction != Direction::grad_weight) {
    copy_weight(operands.weight, mine, inner.weight, padded, p.kernel, bytes, on);
  }
  if (config.bias > 0) {
    // As a weight of one input channel and one tap.
    const TensorView from{const_cast<void*>(operands.bias), {0, operands.bias_stride}};
    const TensorView to{take(config.bias), {0, 1}};
    copy_weight(from, {1, mine.out}, to, {1, padded.out}, {1, 1, 1}, bytes, on);
    inner.bias = to.data;
    inner.bias_stride = 1;
  }
  cuda::launch(config.inner->family, config.padded, device, inner, free, stream);
  if (config.input > 0 && direction == Direction::grad_input) {
    sm90::copy_rows({inner.input.data, operands.input.data, p.batch * volume(p.input), padded.in,
                     mine.in, mine.in, bytes},
                    on);
  }
  if (config.output > 0 && direction == Direction::forward) {
    sm90::copy_rows({inner.output.data, operands.output.data, p.batch * volume(p.output()),
                     padded.out, mine.out, mine.out, bytes},
                    on);
  }
  if (direction == Direction::grad_weight) {
    copy_weight(inner.weight, padded, operands.weight, mine, p.kernel, bytes, on);
  }
}

}  // namespace convt3d::cuda::padded_channels
