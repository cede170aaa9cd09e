// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/shuffle_gemm/point_config.h"

namespace convt3d::cuda::shuffle_gemm {

bool points_fit(const Description& description) {
  const Problem& p = description.problem;
  const bool forward = description.direction == Direction::forward;
  if (!forward && description.direction != Direction::grad_input) return false;
  if (description.precision == Precision::fp64 || p.groups != 1) return false;
  const bool pointwise = volume(p.kernel) == 1 && volume(p.stride) == 1 && p.padding == Extent3{} &&
                         p.output_padding == Extent3{};
  if (!pointwise || description.input == Layout::strided ||
      description.input != description.output) {
    return false;
  }
  const int64_t depth = forward ? p.in_channels : p.out_channels;
  const int64_t columns = forward ? p.out_channels : p.in_channels;
  const int64_t positions = p.batch * volume(p.input);
  if (depth > kPointDepth || columns > kPointColumns || positions < kPointPositions ||
      positions >= int64_t{1} << 30) {
    return false;
  }
  const bool lines = description.input == Layout::ncdhw;
  if (lines && volume(p.input) < kPointLine) return false;
  if (!lines && (depth % 2 != 0 || columns % kPointQuad != 0)) return false;
  if (description.precision == Precision::fp32) return true;
  // In 16 bits tensor cores are faster, and so they are where TF32's result is the smaller tensor.
  return description.precision == Precision::tf32 && !forward && depth * columns <= kPointProducts;
}

}  // namespace convt3d::cuda::shuffle_gemm
