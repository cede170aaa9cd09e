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
  int lines, depths, chunks;   // lines and instructions of a stage, chunks of a line
  int line_steps, units;       // stages of a chunk of a plane, and of all planes
  int line_bytes, pair_bytes;  // of a line of grad_output, and of two of all rows
  // Rows lie one behind the other, two lines each; or, of lines that boxes of channels bring, so
  // many rows of a box at its lines' distance, and boxes a pitch apart, first and second line.
  int box_rows, pitch, second_line;
  int box_groups;  // boxes' channels in the tensor, behind which are zeros
  int stages, stage_bytes, input_bytes;
};

// The stages of a block, in order; the same for all its roles. A march goes through the lines of a
// plane of input, in one of the chunks that lines are cut into.
struct GatherWalk {
  int unit, end;    // what is left
  int chunk;        // of the block
  int item, plane;  // of the march
  int from, to;     // its stages

#ifdef __CUDACC__
  __device__ explicit GatherWalk(const GatherParams& p) {
    // Neighbours have the chunks of the same lines.
    const int split = blockIdx.x / p.jobs, share = split / p.chunks, shares = p.splits / p.chunks;
    chunk = split - share * p.chunks;
    unit = static_cast<int>(int64_t{p.units} * share / shares);
    end = static_cast<int>(int64_t{p.units} * (share + 1) / shares);
  }

  __device__ bool next(const GatherParams& p) {
    if (unit >= end) return false;
    const int planes = unit / p.line_steps;
    from = unit - planes * p.line_steps;
    to = min(p.line_steps, from + end - unit);
    unit += to - from;
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
