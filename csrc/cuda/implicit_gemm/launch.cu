// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/implicit_gemm/call.h"
#include "cuda/implicit_gemm/implicit_gemm.h"
#include "cuda/sm90/row_pack.h"

namespace convt3d::cuda::implicit_gemm {
namespace {

TensorView pack_output(const Call& call) {
  const Problem& p = call.description.problem;
  const TensorView& output = call.operands.output;
  const int64_t bytes = element_bytes(call.description.precision);
  const int64_t row = sm90::row_channels(p.out_channels, bytes);
  const Extent3 extent = p.output();
  void* rows =
      static_cast<char*>(call.workspace) + rows_offset(call.description, call.config, call.device);
  sm90::pack_rows({output.data, output.stride, p.batch, p.out_channels, extent, bytes, rows},
                  call.stream);
  return {rows, {volume(extent) * row, 1, extent[1] * extent[2] * row, extent[2] * row, row}};
}

}  // namespace

void launch(const Description& description, const Device& device, const Operands& operands,
            void* workspace, void* stream) {
  const Config config = choose(description, device);
  Operands used = operands;
  const Call call{description, device, used, config, workspace, static_cast<cudaStream_t>(stream)};
  if (packs_rows(description)) used.output = pack_output(call);
  with_precision<Precision::fp16, Precision::bf16, Precision::tf32, Precision::fp32>(
      description.precision, [&]<Precision kPrecision>() { run<kPrecision>(call); });
}

}  // namespace convt3d::cuda::implicit_gemm
