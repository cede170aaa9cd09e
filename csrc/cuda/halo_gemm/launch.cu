// SPDX-License-Identifier: BSD-3-Clause
#include <cstdint>

#include "cuda/common/alignment.h"
#include "cuda/halo_gemm/call.h"
#include "cuda/halo_gemm/gather_call.h"
#include "cuda/halo_gemm/gather_march.h"
#include "cuda/halo_gemm/halo_gemm.h"
#include "cuda/halo_gemm/lines_in_call.h"
#include "cuda/halo_gemm/paired.h"
#include "cuda/halo_gemm/paired_call.h"
#include "cuda/halo_gemm/plane_call.h"
#include "cuda/halo_gemm/plane_march.h"
#include "cuda/halo_gemm/turn_call.h"
#include "cuda/halo_gemm/turn_march.h"
#include "cuda/implicit_gemm/implicit_gemm.h"

namespace convt3d::cuda::halo_gemm {
namespace {

// Whether every line begins on 16 bytes, its elements contiguous.
bool lines_aligned(const TensorView& view, int64_t batch, const Extent3& extent, int64_t bytes) {
  if (view.stride[4] != 1 || !is_aligned(view.data)) return false;
  const int64_t extents[4] = {batch, 2, extent[0], extent[1]};
  for (int dim : {0, 1, 2, 3}) {
    if (extents[dim] > 1 && view.stride[dim] * bytes % 16 != 0) return false;
  }
  return true;
}

}  // namespace

void launch(const Description& description, const Device& device, const Operands& operands,
            void* workspace, void* stream) {
  const PlaneConfig planes = choose_planes(description, device);
  if (planes.columns > 0) {
    if (!can_launch_planes(description, operands)) {
      return implicit_gemm::launch(description, device, operands, workspace, stream);
    }
    const PlaneCall call{description, device,    operands,
                         planes,      workspace, static_cast<cudaStream_t>(stream)};
    return with_precision<Precision::fp16, Precision::bf16, Precision::tf32>(
        description.precision, [&]<Precision kPrecision>() { run_planes<kPrecision>(call); });
  }
  const TurnConfig turn = choose_turn(description, device);
  if (turn.columns > 0) {
    const TurnCall call{description, device,    operands,
                        turn,        workspace, static_cast<cudaStream_t>(stream)};
    return with_precision<Precision::fp16, Precision::bf16, Precision::tf32>(
        description.precision, [&]<Precision kPrecision>() { run_turn<kPrecision>(call); });
  }
  const GatherConfig gather = choose_gather(description, device);
  if (gather.columns > 0) {
    const GatherCall call{description, device,    operands,
                          gather,      workspace, static_cast<cudaStream_t>(stream)};
    return with_precision<Precision::fp16, Precision::bf16, Precision::tf32>(
        description.precision, [&]<Precision kPrecision>() { run_gather<kPrecision>(call); });
  }
  const PairedConfig paired = choose_paired(description, device);
  if (paired.matrices > 0) {
    if (!can_launch_paired(description, paired, operands)) {
      return implicit_gemm::launch(description, device, operands, workspace, stream);
    }
    const PairedCall call{description, device,    operands,
                          paired,      workspace, static_cast<cudaStream_t>(stream)};
    return with_precision<Precision::fp16, Precision::bf16, Precision::tf32>(
        description.precision, [&]<Precision kPrecision>() { run_paired<kPrecision>(call); });
  }
  const Problem& p = description.problem;
  const int64_t bytes = element_bytes(description.precision);
  const Config config = choose(description, device);
  const bool grad_input = description.direction == Direction::grad_input;
  const auto aligned = [&](bool input) {
    return input ? rows_aligned(operands.input, p.batch, p.input, bytes)
                 : rows_aligned(operands.output, p.batch, p.output(), bytes);
  };
  const TensorView& read = grad_input ? operands.output : operands.input;
  const Extent3 of_input = grad_input ? p.output() : p.input;
  const bool loads =
      config.packed_input ||
      (config.lines_in ? lines_aligned(read, p.batch, of_input, bytes) : aligned(!grad_input));
  const TensorView& result = grad_input ? operands.input : operands.output;
  const bool stores =
      config.turned ? is_aligned(result.data) : config.lines_out || aligned(grad_input);
  if (!loads || !stores) {
    return implicit_gemm::launch(description, device, operands, workspace, stream);
  }
  const Call call{description, device,    operands,
                  config,      workspace, static_cast<cudaStream_t>(stream)};
  if (config.lines_in) return run_lines_in(call);
  with_precision<Precision::fp16, Precision::bf16, Precision::tf32>(
      description.precision, [&]<Precision kPrecision>() { run<kPrecision>(call); });
}

}  // namespace convt3d::cuda::halo_gemm
