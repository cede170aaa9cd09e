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
  auto* const on = static_cast<cudaStream_t>(stream);
  // Whether TMA can address what is not packed.
  const auto aligned = [&](const auto& config) {
    const bool input = config.packed_input || (config.lines ? is_aligned(tensors.input.data)
                                                            : rows_aligned(tensors.input, p.batch,
                                                                           p.input, kElementBytes));
    return input && (config.packed_output ||
                     rows_aligned(tensors.output, p.batch, p.output(), kElementBytes));
  };
  const auto launch_with = [&](const auto& config, const auto& run_with) {
    if (!aligned(config)) {
      return weight_gemm::launch(description, device, operands, workspace, stream);
    }
    with_precision<Precision::fp16, Precision::bf16>(description.precision, run_with);
  };
  if (walks(fold, device)) {
    const WalkConfig walk = choose_walk(fold, device);
    const WalkCall call{fold, device, tensors, walk, workspace, on};
    return launch_with(walk, [&]<Precision kPrecision>() {
      walk.lines ? run_walk<kPrecision, true>(call) : run_walk<kPrecision, false>(call);
    });
  }
  Config config = choose(fold, device);
  config.line = line_of(description, fold);
  const Call call{fold, device, tensors, config, workspace, on};
  launch_with(config, [&]<Precision kPrecision>() {
    config.lines ? run<kPrecision, true>(call) : run<kPrecision, false>(call);
  });
}

}  // namespace convt3d::cuda::halo_weight
