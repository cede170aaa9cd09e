// SPDX-License-Identifier: BSD-3-Clause
// What the workspace holds beside the weight and the input (halo_gemm.cpp), and all of it.
#include <algorithm>

#include "cuda/halo_gemm/config.h"
#include "cuda/halo_gemm/gather_march.h"
#include "cuda/halo_gemm/halo_gemm.h"
#include "cuda/halo_gemm/paired.h"
#include "cuda/halo_gemm/plane_march.h"
#include "cuda/halo_gemm/product.h"
#include "cuda/halo_gemm/tuning.h"
#include "cuda/halo_gemm/turn_march.h"
#include "cuda/implicit_gemm/implicit_gemm.h"
#include "cuda/sm90/joined_sums.h"

namespace convt3d::cuda::halo_gemm {

int64_t turned_bytes(const Description& description, const Config& config) {
  if (!config.turned) return 0;
  const Product product = make_product(description);
  const Extent3 e = product.reversed ? description.problem.input : product.problem.output();
  return product.problem.batch * volume(e) * product.problem.out_channels *
         element_bytes(description.precision);
}

int64_t parked_bytes(const Config& config, const Device& device) {
  if (config.parking_chunks == 0) return 0;
  const int64_t rows = int64_t{max_warpgroups(config.slots)} * kGroupRows;
  return rows * config.fused * config.slots * config.channels * int64_t{sizeof(float)} *
         device.num_sms;
}

int64_t joined_bytes(const Config& config) {
  return sm90::joined_memory_bytes(config.sharing_blocks, config.warpgroups * 128,
                                   config.slots * config.channels / 2);
}

int64_t arrived_bytes(const Config& config) {
  return sm90::arrived_count(config.sharing_blocks, config.warpgroups * 128) *
         int64_t{sizeof(unsigned)};
}

// The weight, its channels padded to whole blocks; the input where TMA needs rows of it; and sums.
int64_t workspace_bytes(const Description& description, const Device& device) {
  const PlaneConfig planes = choose_planes(description, device);
  if (planes.columns > 0) {
    return std::max(plane_weight_bytes(description, planes),
                    implicit_gemm::workspace_bytes(description, device));
  }
  const TurnConfig turn = choose_turn(description, device);
  if (turn.columns > 0) return turn_weight_bytes(turn);
  const GatherConfig gather = choose_gather(description, device);
  if (gather.columns > 0) return gather_weight_bytes(gather);
  const PairedConfig paired = choose_paired(description, device);
  if (paired.matrices > 0) {
    return std::max(
        paired_weight_bytes(description, paired) + paired_input_bytes(description, paired),
        implicit_gemm::workspace_bytes(description, device));
  }
  const Config config = choose(description, device);
  const int64_t bytes = packed_weight_bytes(description, config) +
                        packed_input_bytes(description, config) + parked_bytes(config, device) +
                        joined_bytes(config) + arrived_bytes(config) +
                        turned_bytes(description, config);
  return std::max(bytes, implicit_gemm::workspace_bytes(description, device));
}

}  // namespace convt3d::cuda::halo_gemm
