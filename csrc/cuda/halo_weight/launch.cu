// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/common/alignment.h"
#include "cuda/halo_weight/call.h"
#include "cuda/halo_weight/fold.h"
#include "cuda/halo_weight/halo_weight.h"
#include "cuda/halo_weight/tuning.h"
#include "cuda/halo_weight/walk_call.h"
#include "cuda/weight_gemm/weight_gemm.h"

namespace convt3d::cuda::halo_weight {

void launch(const Description& description, const Device& device, const Operands& operands,
            void* workspace, void* stream) {
  const Description fold = fold_of(description, device);
  const Operands tensors = folded(description, fold, operands);
  const Problem& p = fold.problem;
  Config config = choose(fold, device);
  config.line = line_of(description, fold);
  const bool input =
      config.packed_input || rows_aligned(tensors.input, p.batch, p.input, kElementBytes);
  const bool output =
      config.packed_output || rows_aligned(tensors.output, p.batch, p.output(), kElementBytes);
  if (!input || !output) {  // walks pack the same
    return weight_gemm::launch(description, device, operands, workspace, stream);
  }
  auto* const on = static_cast<cudaStream_t>(stream);
  if (walks(fold, device)) {
    const WalkConfig walk = choose_walk(fold, device);
    const WalkCall call{fold, device, tensors, walk, workspace, on};
    with_precision<Precision::fp16, Precision::bf16>(
        description.precision, [&]<Precision kPrecision>() { run_walk<kPrecision>(call); });
    return;
  }
  const Call call{fold, device, tensors, config, workspace, on};
  with_precision<Precision::fp16, Precision::bf16>(
      description.precision, [&]<Precision kPrecision>() { run<kPrecision>(call); });
}

}  // namespace convt3d::cuda::halo_weight
