// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/common/element.cuh"
#include "cuda/few_channels/call.h"
#include "cuda/few_channels/few_channels.h"
#include "cuda/few_channels/folded_call.h"

namespace convt3d::cuda::few_channels {
namespace {

template <typename T>
void run_mapping(const Call& call) {
  if (call.description.direction == Direction::grad_input) return run_gather<T>(call);
  switch (call.config.mapping) {
    case Mapping::planes:
      return run<T, Mapping::planes>(call);
    case Mapping::channels:
      return run<T, Mapping::channels>(call);
    case Mapping::depthwise:
      return run<T, Mapping::depthwise>(call);
    case Mapping::reduction:
      return run<T, Mapping::reduction>(call);
    case Mapping::scatter:
      return run<T, Mapping::scatter>(call);
    case Mapping::taps:
      break;  // grad_input only
  }
}

// The body for the element type: TF32 is float.
template <typename Body>
void with_element(Precision precision, const Body& body) {
  with_precision<Precision::fp32, Precision::tf32, Precision::fp16, Precision::bf16>(
      precision,
      [&]<Precision kPrecision>() { body.template operator()<ElementOf<kPrecision>>(); });
}

}  // namespace

void launch(const Description& description, const Device& device, const Operands& operands,
            void* workspace, void* stream) {
  const auto on = static_cast<cudaStream_t>(stream);
  if (is_folded_forward(description, device)) {
    const FoldedCall call{description, device, operands, choose_folded(description, device),
                          workspace,   on};
    return with_element(description.precision, [&]<typename T>() { run_folded<T>(call); });
  }
  if (matrix_fits(description, device)) {
    const MatrixConfig config = choose_matrix(description, device);
    const MatrixCall call{description, device, operands, config, workspace, on};
    return with_precision<Precision::fp32, Precision::tf32, Precision::fp16, Precision::bf16>(
        description.precision, [&]<Precision kPrecision>() { run_matrix<kPrecision>(call); });
  }
  if (gathered_fits(description, device)) {
    const GatheredCall call{description, device, operands, choose_gathered(description, device),
                            workspace,   on};
    return with_element(description.precision, [&]<typename T>() { run_gathered<T>(call); });
  }
  if (march_fits(description, device)) {
    const MarchCall call{description, device, operands, choose_march(description, device),
                         workspace,   on};
    bool done = false;
    with_element(description.precision, [&]<typename T>() { done = run_march<T>(call); });
    if (done) return;
  }
  if (description.direction == Direction::grad_weight) {
    const WeightConfig config = choose_weight(description, device);
    const WeightCall call{description, device, operands, config, workspace, on};
    return with_element(description.precision, [&]<typename T>() { run_weight<T>(call); });
  }
  const Config config = choose(description);
  const Call call{description, device, operands, config, workspace, on};
  with_element(description.precision, [&]<typename T>() { run_mapping<T>(call); });
}

}  // namespace convt3d::cuda::few_channels
