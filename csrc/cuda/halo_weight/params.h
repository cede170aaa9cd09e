// SPDX-License-Identifier: BSD-3-Clause
// What the kernels are told: one call in numbers.
#pragma once
#include <cstdint>

#include "cuda/halo_weight/tuning.h"

namespace convt3d::cuda::halo_weight {

inline constexpr uint16_t kNoView = 0xffff;

struct LaneEntry {
  uint16_t view, shift;  // shift: rows of the view; kNoView: an absent lane
};

// grad_weight with contiguous out_channels, where blocks store it themselves.
struct Target {
  void* data;
  int64_t stride[5];  // in, out, kd, kh, kw
  int kernel[3], in_channels, out_channels;
  bool whole_pieces;  // 16 bytes of out_channels can be stored at once
};

// Where the blocks' pieces lie: block b and job j have piece b + j. `direct`: block b has job b
// alone, and puts its sums into the weight; in a piece, b, are only those of a chain that ended.
struct Work {
  float* partial;
  int64_t piece;  // elements
  bool direct;
  int blocks, jobs, boxes;           // boxes of a job
  int in_tiles;                      // job = unit job * in_tiles + in tile
  int job_units, part_units, units;  // units of a job, of one part of out_channels, and all

  __host__ __device__ int64_t piece_at(int block, int job) const {
    return (direct ? int64_t{block} : int64_t{block} + job) * piece;
  }
  // Boxes of all jobs are numbered job by job, and cut into groups (one, or each job) of
  // `group_boxes` boxes and `group_blocks` blocks. Block b has those from first(b) to
  // first(b + 1): `longer` blocks of a group have one more than the others, `share`.
  int group_boxes, group_blocks, share, longer;
  __host__ __device__ int first(int block) const {
    const int group = block / group_blocks, of_group = block - group * group_blocks;
    return group * group_boxes + of_group * share + (of_group < longer ? of_group : longer);
  }
  __host__ __device__ int owner(int box) const {
    const int group = box / group_boxes, of_group = box - group * group_boxes;
    const int before = longer * (share + 1);
    return group * group_blocks +
           (of_group < before ? of_group / (share + 1) : longer + (of_group - before) / share);
  }
};

// Steps of one loop over a box, in units of 16 bytes for input and grad_output.
struct Loop {
  int count, input, output;
};

struct Params {
  Work work;
  int warpgroups, lanes, stages, stage_bytes, chain;
  int in_width, in_parts, out_width;
  int part_bytes, view_bytes;    // in shared memory
  int part_loaded, view_loaded;  // bytes of them that TMA writes
  int views_at;                  // bytes of a stage before the views
  int tail_views;                // views of a stage
  Loop loops[4];                 // outermost first; the last is that of the steps
  int box[4], tiles[4], stride[3];
  int16_t view_start[kMaxViews][3];
  LaneEntry lane[kMaxLanes];
  Target target;
  uint16_t tap[kMaxLanes];  // of each lane
};

}  // namespace convt3d::cuda::halo_weight
