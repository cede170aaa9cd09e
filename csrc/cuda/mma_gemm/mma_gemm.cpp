// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/mma_gemm/mma_gemm.h"

#include "cuda/common/kept_answer.h"
#include "cuda/mma_gemm/config.h"
#include "cuda/mma_gemm/tuning.h"

namespace convt3d::cuda::mma_gemm {

Config choose(const Description& description, const Device& device) {
  return kept_answer(description, device, [&] {
    implicit_gemm::Limits limits;
    limits.rows = kTileRows;
    limits.max_columns = max_columns(description.precision, device.arch);
    limits.is_built = [](int, int) { return true; };
    limits.shared_bytes = shared_bytes(device.arch);
    limits.column_clocks = column_clocks(device.arch);
    limits.weight_reads = 2;
    limits.chain = description.precision == Precision::fp32 ? kMaxAdditions : 0;
    limits.adds_chunks = false;
    limits.can_park = [](Precision, int, int) { return true; };
    limits.min_input_stages = 1;
    return implicit_gemm::search(description, device.num_sms, limits);
  });
}

Verdict supports(const Description& description, const Device& device) {
  if (is_refused(description.precision, device.arch)) {
    return Verdict::refuse("three TF32 products take longer than one of float32 on this GPU");
  }
  const Verdict verdict = implicit_gemm::supports_problem(description, device);
  if (!verdict.ok) return verdict;
  if (choose(description, device).columns == 0) {
    return Verdict::refuse("the taps reach too far apart for shared memory");
  }
  return Verdict::accept();
}

std::string config(const Description& description, const Device& device) {
  return implicit_gemm::to_string(choose(description, device));
}

int64_t workspace_bytes(const Description& description, const Device& device) {
  return implicit_gemm::rows_offset(description, choose(description, device), device);
}

}  // namespace convt3d::cuda::mma_gemm
