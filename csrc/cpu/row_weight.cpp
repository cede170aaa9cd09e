// SPDX-License-Identifier: BSD-3-Clause
#include "cpu/row_weight.h"

#include <algorithm>
#include <atomic>
#include <vector>

#include "cpu/flat_convolution.h"
#include "cpu/instruction_set.h"
#include "cpu/weight_kernel.h"
#include "geometry/ceil_div.h"

namespace convt3d::cpu::row_weight {
namespace {

constexpr int64_t kAlignment = 64;  // of the workspace and of every part of it

int64_t aligned(int64_t bytes) { return round_up(bytes, kAlignment); }

WeightRows rows_of(const Description& d) {
  const bool pairs = d.precision == Precision::bf16 && has_bfloat16_dot();
  return weight_rows(d, vector_bytes() / compute_bytes(d.precision), pairs);
}

struct Workspace {
  int64_t input, output, sums;  // bytes
};

Workspace workspace_of(const WeightRows& rows, const Description& d) {
  const int64_t bytes = compute_bytes(d.precision);
  return {aligned(rows.input.elements() * bytes), aligned(rows.output.elements() * bytes),
          aligned(rows.item_elements() * bytes)};
}

}  // namespace

int64_t panel_bytes(const Description& description) {
  const Workspace sizes = workspace_of(rows_of(description), description);
  return sizes.input + sizes.output;
}

int64_t workspace_bytes(const Description& description, const Device& device) {
  const WeightRows rows = rows_of(description);
  const Workspace sizes = workspace_of(rows, description);
  const bool one_slab = volume(rows.num_slabs) == 1;
  return sizes.input + sizes.output +
         sizes.sums * (one_slab ? device.num_threads : rows.num_items());
}

std::string config(const Description& description) {
  const WeightRows rows = rows_of(description);
  auto extent = [](const Extent3& e) {
    return std::to_string(e[0]) + "x" + std::to_string(e[1]) + "x" + std::to_string(e[2]);
  };
  const char* vectors = rows.group_vectors ? "groups" : rows.output_is_vector ? "output" : "input";
  return "slab " + extent(rows.slab) + ", " + vectors + " as vectors, items " +
         std::to_string(rows.num_items()) + ", " + to_string(instruction_set()) +
         (rows.pairs ? ", bfloat16 pairs" : "");
}

void launch(const Description& description, const Operands& operands, void* workspace,
            const ParallelFor& parallel_for) {
  WeightJob job{};
  job.rows = rows_of(description);
  const Workspace sizes = workspace_of(job.rows, description);
  job.input = operands.input;
  job.output = operands.output;
  job.weight = operands.weight;
  char* memory = static_cast<char*>(workspace);
  job.input_panel = memory;
  job.output_panel = memory + sizes.input;
  char* sums = memory + sizes.input + sizes.output;
  const bool one_slab = volume(job.rows.num_slabs) == 1;
  job.sums = one_slab ? nullptr : sums;

  const Problem& p = job.rows.problem;
  const WeightKernels kernels = weight_kernels(description.precision, job.rows.pairs);
  const Extent3 all{p.batch, p.input[0], p.input[1]};
  const Extent3& slab = job.rows.slab;
  for (int64_t n = 0; n < all[0]; n += slab[0]) {
    for (int64_t d = 0; d < all[1]; d += slab[1]) {
      for (int64_t h = 0; h < all[2]; h += slab[2]) {
        job.slab = weight_slab(job.rows, {n, d, h});
        const std::vector<TapRuns> taps = tap_runs(job.rows, job.slab);
        job.taps = taps.data();
        job.first_slab = n + d + h == 0;
        job.last_slab = n + slab[0] >= all[0] && d + slab[1] >= all[1] && h + slab[2] >= all[2];
        parallel_for(volume(job.slab.input_count), 1,
                     [&](int64_t begin, int64_t end) { kernels.pack_input(job, begin, end); });
        parallel_for(volume(job.slab.output_count), 1,
                     [&](int64_t begin, int64_t end) { kernels.pack_output(job, begin, end); });
        // Which slice a piece gets does not change its result.
        std::atomic<int64_t> next_slice{0};
        parallel_for(job.rows.num_items(), 1, [&](int64_t begin, int64_t end) {
          void* own = one_slab ? sums + next_slice.fetch_add(1) * sizes.sums : nullptr;
          kernels.multiply(job, begin, end, own);
        });
      }
    }
  }
}

}  // namespace convt3d::cpu::row_weight
