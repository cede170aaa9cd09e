// SPDX-License-Identifier: BSD-3-Clause
// A call in numbers, and its launch, for pointwise layers of few channels.
#include "cuda/shuffle_gemm/point_launch.h"

#include <algorithm>

#include "cuda/common/cuda_check.h"
#include "cuda/common/dynamic_shared.h"
#include "cuda/shuffle_gemm/point_kernel.cuh"
#include "geometry/ceil_div.h"
#include "geometry/numbers.h"

namespace convt3d::cuda::shuffle_gemm {
namespace {

bool is_multiple(const void* data, int64_t bytes) {
  return reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(bytes) == 0;
}

template <Precision kPrecision>
void run_points(const PointParams& params, bool lines, int shared_bytes, int sms,
                cudaStream_t stream) {
  const auto kernel = !lines                 ? point_rows_kernel<kPrecision>
                      : params.columns <= 16 ? point_lines_kernel<kPrecision, 16>
                                             : point_lines_kernel<kPrecision, kPointColumns>;
  allow_shared_memory(kernel, "shuffle_gemm point attribute");
  int blocks = 1;
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, kPointThreads,
                                                      static_cast<size_t>(shared_bytes)),
        "shuffle_gemm point occupancy");
  const int grid = std::min(params.tiles, std::max(1, blocks) * sms);
  kernel<<<grid, kPointThreads, shared_bytes, stream>>>(params);
  check(cudaGetLastError(), "shuffle_gemm point kernel");
}

}  // namespace

void launch_points(const Description& description, const Device& device, const Operands& operands,
                   cudaStream_t stream) {
  const Problem& p = description.problem;
  const bool forward = description.direction == Direction::forward;
  const bool lines = description.input == Layout::ncdhw;
  PointParams params{};
  params.source = (forward ? operands.input : operands.output).data;
  params.result = (forward ? operands.output : operands.input).data;
  params.weight = operands.weight.data;
  params.bias = operands.bias;
  params.bias_stride = operands.bias_stride;
  params.weight_depth = operands.weight.stride[forward ? 0 : 1];
  params.weight_column = operands.weight.stride[forward ? 1 : 0];
  params.depth = as_int(forward ? p.in_channels : p.out_channels);
  params.columns = as_int(forward ? p.out_channels : p.in_channels);
  params.volume = as_int(volume(p.input));
  params.positions = as_int(p.batch * volume(p.input));
  const int64_t image_tiles = ceil_div(volume(p.input), kPointLine);
  params.image_tiles = Divider(image_tiles);
  params.tiles = as_int(lines ? p.batch * image_tiles : ceil_div(params.positions, kPointRows));
  const int64_t access = lines ? 8 : 16;
  params.aligned = is_multiple(params.source, access) && is_multiple(params.result, access) &&
                   (!lines || params.volume % 2 == 0);
  const int64_t columns = lines && params.columns <= 16 ? 16 : kPointColumns;
  int64_t shared = (ceil_div(params.depth, kPointStep) * kPointStep + 1) * columns * 4;
  if (!lines) shared += 2 * kPointRows * params.depth * 4;
  with_precision<Precision::fp32, Precision::tf32>(
      description.precision, [&]<Precision kPrecision>() {
        run_points<kPrecision>(params, lines, as_int(shared), device.num_sms, stream);
      });
}

}  // namespace convt3d::cuda::shuffle_gemm
