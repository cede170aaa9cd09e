// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/subpixel_gemm/call.h"
#include "cuda/subpixel_gemm/subpixel_gemm.h"

namespace convt3d::cuda::subpixel_gemm {

void launch(const Description& description, const Device& device, const Operands& operands,
            void* workspace, void* stream) {
  const Config config = choose(description, device);
  const Call call{description, device,    operands,
                  config,      workspace, static_cast<cudaStream_t>(stream)};
  // Where TF32 is allowed, nothing is gained by it: the stores take the time.
  const Precision precision =
      description.precision == Precision::tf32 ? Precision::fp32 : description.precision;
  with_precision<Precision::fp16, Precision::bf16, Precision::fp32>(
      precision, [&]<Precision kPrecision>() { run<kPrecision>(call); });
}

}  // namespace convt3d::cuda::subpixel_gemm
