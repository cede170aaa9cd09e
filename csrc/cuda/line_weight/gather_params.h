// SPDX-License-Identifier: BSD-3-Clause
// What gather_kernel.cuh is given, and the order in which its blocks walk through the tensors.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>

#include "cuda/line_weight/gather_config.h"
#include "cuda/line_weight/gather_tuning.h"
#include "plan/description.h"
#include "plan/operands.h"

namespace convt3d::cuda::line_weight {

struct GatherParams {
  const unsigned char* output;  // grad_output
  int64_t output_stride[4];     // elements: n, c, d, h
  void* weight;
  int64_t weight_stride[5];  // in, out, kd, kh, kw
  float* partial;
  int in_channels, out_channels, output_extent[3];  // d, h, w
  int planes, width;                                // of input
  int stride_d, padding[3];
  int channels, taps_d, rows;  // of a block: out_channels, taps of d, and their product
  int columns;                 // of a block: in_channels, of one warpgroup or of both
  int shares;                  // of a stage's positions: one, or one for each warpgroup
  int column_tiles, tap_tiles, jobs, splits, chain;
  int lines, depths, chunks;          // lines and instructions of a stage, chunks of a line
  int line_steps, units;              // stages of a chunk of a plane, and of all of them
  int line_bytes, pitch, pair_bytes;  // of a line of grad_output, a row, and all rows
  int stages, stage_bytes, input_bytes;
};

// The stages of a block, in order; the same for all its roles. A march goes through the lines of a
// plane of input, in one of the chunks that lines are cut into.
struct GatherWalk {
  int unit, end;           // what is left
  int item, plane, chunk;  // of the march
  int from, to;            // its stages

#ifdef __CUDACC__
  __device__ explicit GatherWalk(const GatherParams& p) {
    const int split = blockIdx.x / p.jobs;
    unit = static_cast<int>(int64_t{p.units} * split / p.splits);
    end = static_cast<int>(int64_t{p.units} * (split + 1) / p.splits);
  }

  __device__ bool next(const GatherParams& p) {
    if (unit >= end) return false;
    const int column = unit / p.line_steps, planes = column / p.chunks;
    from = unit - column * p.line_steps;
    to = min(p.line_steps, from + end - unit);
    unit += to - from;
    chunk = column - planes * p.chunks;
    item = planes / p.planes;
    plane = planes - item * p.planes;
    return true;
  }
#endif
};

struct GatherCall {
  const Description& description;
  const GatherConfig& config;
  const Operands& operands;
  void* workspace;
  cudaStream_t stream;
};

// Defined in gather_launch.cuh, instantiated in instances/.
template <Precision kPrecision>
void run_gather(const GatherCall& call);

}  // namespace convt3d::cuda::line_weight
