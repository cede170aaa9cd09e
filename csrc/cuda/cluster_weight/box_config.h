// SPDX-License-Identifier: BSD-3-Clause
// Lines whose positions come in boxes, by TMA (box_kernel.cuh): which boxes, and how they are
// shared. Plain C++: the planner is built without CUDA.
#pragma once
#include <cstdint>
#include <string>

#include "cuda/cluster_weight/config.h"

namespace convt3d::cuda::cluster_weight {

// A box is some whole planes of an image's input, or some whole lines of a plane; or several
// images, turned around.
struct BoxConfig {
  int rows;  // in_channels of a block; 0: there is no box that fits
  int splits;
  int positions, planes, lines;  // of a box; an image's planes in it, and lines in a plane
  int images;                    // of a box
  int image_boxes, boxes;        // of an image, and of all
  int run;           // elements of a box that lie side by side in a channel of grad_output
  int piece;         // of which a row of the tensor map has so many
  bool whole;        // the run goes through all of the box's planes
  bool turned;       // input comes as it lies, and the warps that multiply write its rows
  int out_channels;  // of a block
  int groups;        // of kPanelRow bytes of K in a box
  int stages, stage_bytes, output_at, packed_at, shared_bytes;
  int64_t tiles;  // blocks of a split
  double clocks;
};

// `shape` is one of lines. Cached.
BoxConfig choose_boxes(const Description& description, const Device& device, const Shape& shape);
// Rather than `config`.
bool prefers_boxes(const BoxConfig& boxes, const Config& config);
std::string to_string(const BoxConfig& config);

}  // namespace convt3d::cuda::cluster_weight
