// SPDX-License-Identifier: BSD-3-Clause
// Packs the slabs of a WeightRows, multiplies them, stores grad_weight.
#pragma once
#include <cstdint>

#include "cpu/weight_rows.h"
#include "plan/operands.h"

namespace convt3d::cpu {

struct WeightJob {
  WeightRows rows;
  TensorView input, output, weight;
  void *input_panel, *output_panel;
  // Every item's sums, where there are several slabs; else each thread's own.
  void* sums;
  WeightSlab slab;
  const TapRuns* taps;  // of the slab, as the kernel's
  bool first_slab, last_slab;
};

struct WeightKernels {
  // Rows [begin, end) of the slab, of all channels.
  void (*pack_input)(const WeightJob& job, int64_t begin, int64_t end);
  void (*pack_output)(const WeightJob& job, int64_t begin, int64_t end);
  // Adds the slab to the sums of items [begin, end), and stores them after the last one.
  void (*multiply)(const WeightJob& job, int64_t begin, int64_t end, void* own_sums);
};
WeightKernels weight_kernels(Precision precision, bool pairs);

}  // namespace convt3d::cpu
