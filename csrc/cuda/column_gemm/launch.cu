// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/column_gemm/call.h"
#include "cuda/column_gemm/column_gemm.h"

namespace convt3d::cuda::column_gemm {

void launch(const Description& description, const Device& device, const Operands& operands,
            void* workspace, void* stream) {
  auto* const queue = static_cast<cudaStream_t>(stream);
  with_precision<Precision::fp16, Precision::bf16, Precision::tf32, Precision::fp32>(
      description.precision, [&]<Precision kPrecision>() {
        if (description.direction == Direction::grad_input) {
          const InputConfig config = choose_input(description, device);
          return run_input<kPrecision>({description, device, operands, config, workspace, queue});
        }
        if (description.direction == Direction::grad_weight) {
          const WeightConfig config = choose_weight(description, device);
          return run_weight<kPrecision>({description, device, operands, config, workspace, queue});
        }
        const MarchConfig march = choose_march(description, device);
        if (march.shared != 0) {
          return run_march<kPrecision>({description, device, operands, march, workspace, queue});
        }
        const Config config = choose(description, device);
        run<kPrecision>({description, device, operands, config, workspace, queue});
      });
}

}  // namespace convt3d::cuda::column_gemm
