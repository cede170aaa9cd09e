// SPDX-License-Identifier: BSD-3-Clause
#include <algorithm>
#include <stdexcept>

#include "cuda/halo_gemm/call.h"
#include "cuda/halo_gemm/halo_gemm.h"
#include "cuda/implicit_gemm/implicit_gemm.h"

namespace convt3d::cuda::halo_gemm {
namespace {

// Channels contiguous, and every position that there is starts on 16 bytes.
bool aligned(const TensorView& view, std::array<int64_t, 5> extent, int64_t element_bytes) {
  if (view.stride[1] != 1 || reinterpret_cast<uintptr_t>(view.data) % 16 != 0) return false;
  for (int i : {0, 2, 3, 4}) {
    if (extent[i] > 1 && view.stride[i] * element_bytes % 16 != 0) return false;
  }
  return true;
}

}  // namespace

void launch(const Description& description, const Device& device, const Operands& operands,
            void* workspace, void* stream) {
  const Problem& p = description.problem;
  const int64_t bytes = element_bytes(description.precision);
  const Extent3 out = p.output();
  const Config config = choose(description, device);
  const bool loads =
      config.packed_input ||
      aligned(operands.input, {p.batch, 1, p.input[0], p.input[1], p.input[2]}, bytes);
  const bool stores =
      config.lines_out || aligned(operands.output, {p.batch, 1, out[0], out[1], out[2]}, bytes);
  if (!loads || !stores) {
    return implicit_gemm::launch(description, device, operands, workspace, stream);
  }
  const Call call{description, device,    operands,
                  config,      workspace, static_cast<cudaStream_t>(stream)};
  switch (description.precision) {
    case Precision::fp16:
      return run<Precision::fp16>(call);
    case Precision::bf16:
      return run<Precision::bf16>(call);
    case Precision::tf32:
      return run<Precision::tf32>(call);
    default:
      throw std::logic_error("halo_gemm has neither float32 nor float64");
  }
}

}  // namespace convt3d::cuda::halo_gemm
