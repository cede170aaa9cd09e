// SPDX-License-Identifier: BSD-3-Clause
// Rows of channels to rows of more or fewer, where not all of them start on 16 bytes:
//
//   source   | 33 | 33 | 33 | ..      as one span of bytes to shared memory, 16 at a time
//   target   | 33, 7 zeros | ..       8 bytes at a time, neighbouring threads neighbouring bytes
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>

namespace convt3d::cuda::sm90 {

struct RowCopy {
  const void* source;
  void* target;  // on 8 bytes
  int64_t rows;
  int64_t from, to;       // elements from one row to the next, none between them unwritten
  int64_t channels;       // that a row of both has; behind them zeros
  int64_t element_bytes;  // 2 or 4
  bool first = false, overlapping = false;  // of the launches of overlapping_launch.cuh
};

// One launch.
void copy_rows(const RowCopy& copy, cudaStream_t stream);

}  // namespace convt3d::cuda::sm90
