// SPDX-License-Identifier: BSD-3-Clause
// The cut of one call into blocks. Plain C++: the planner is built without CUDA.
#pragma once
#include <array>
#include <cstdint>
#include <string>

#include "cuda/cluster_gemm/tuning.h"
#include "geometry/residue.h"
#include "plan/description.h"

namespace convt3d::cuda::cluster_gemm {

// One matrix product of the call, of one residue of the result: M positions of it, K taps. What tap
// j of an axis reads for position q is step * q + first + j * tap_reads.
struct Part {
  std::array<AxisResidue, 3> axis;
  Extent3 extent, taps, first, tap_reads;
  int64_t positions, all_taps;
};

// The products of a call, most taps first. `read` is input in forward, grad_output in grad_input.
struct Product {
  bool forward;
  int parts = 0;
  std::array<Part, kMaxParts> part;
  int64_t channels, columns;  // of the tensor that is read (K, with the taps), of the result (N)
  Extent3 read, step;
  // Whether the tensor that is read, and the weight, are turned into rows of K first.
  bool packs_read, packs_weight;
};

struct Config {
  int rows = 0, columns = 0;  // of a tile
  int splits = 1;             // blocks of a cluster
  // Blocks that share K, of each part: all, or less where K is shorter, and a cluster then has
  // several tiles.
  std::array<int, kMaxParts> part_splits{};
  int chain_units = 0;       // chunks of K that one chain of sums may hold
  bool long_chains = false;  // a block's K is longer than that
  int blocks = 0;
  double clocks = 0;
};

// False, and why, where it is no such product.
bool make_product(const Description& description, Product* product, const char** why);
// Channels of a row of packed tensors, with padding; bytes of each.
int64_t packed_channels(const Description& description, const Product& product);
int64_t packed_read_bytes(const Description& description, const Product& product);
int64_t packed_weight_bytes(const Description& description, const Product& product);
Config choose(const Description& description, const Device& device);
std::string to_string(const Config& config);

}  // namespace convt3d::cuda::cluster_gemm
