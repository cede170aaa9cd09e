// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/cuda.h"

#include <stdexcept>

#include "cuda/cluster_gemm/cluster_gemm.h"
#include "cuda/cluster_weight/cluster_weight.h"
#include "cuda/column_gemm/column_gemm.h"
#include "cuda/direct/direct.h"
#include "cuda/few_channels/few_channels.h"
#include "cuda/group_gemm/group_gemm.h"
#include "cuda/halo_gemm/halo_gemm.h"
#include "cuda/halo_weight/halo_weight.h"
#include "cuda/implicit_gemm/implicit_gemm.h"
#include "cuda/lane_sums/lane_sums.h"
#include "cuda/line_weight/line_weight.h"
#include "cuda/mma_gemm/mma_gemm.h"
#include "cuda/padded_channels/padded_channels.h"
#include "cuda/shuffle_gemm/shuffle_gemm.h"
#include "cuda/subpixel_gemm/subpixel_gemm.h"
#include "cuda/tap_gemm/tap_gemm.h"
#include "cuda/view_weight/view_weight.h"
#include "cuda/weight_gemm/weight_gemm.h"

namespace convt3d::cuda {

void launch(Family family, const Description& description, const Device& device,
            const Operands& operands, void* workspace, void* stream) {
  switch (family) {
    case Family::group_gemm:
      return group_gemm::launch(description, device, operands, workspace, stream);
    case Family::halo_gemm:
      return halo_gemm::launch(description, device, operands, workspace, stream);
    case Family::implicit_gemm:
      return implicit_gemm::launch(description, device, operands, workspace, stream);
    case Family::mma_gemm:
      return mma_gemm::launch(description, device, operands, workspace, stream);
    case Family::subpixel_gemm:
      return subpixel_gemm::launch(description, device, operands, workspace, stream);
    case Family::column_gemm:
      return column_gemm::launch(description, device, operands, workspace, stream);
    case Family::shuffle_gemm:
      return shuffle_gemm::launch(description, device, operands, workspace, stream);
    case Family::cluster_gemm:
      return cluster_gemm::launch(description, device, operands, workspace, stream);
    case Family::cluster_weight:
      return cluster_weight::launch(description, device, operands, workspace, stream);
    case Family::line_weight:
      return line_weight::launch(description, device, operands, workspace, stream);
    case Family::halo_weight:
      return halo_weight::launch(description, device, operands, workspace, stream);
    case Family::view_weight:
      return view_weight::launch(description, device, operands, workspace, stream);
    case Family::tap_gemm:
      return tap_gemm::launch(description, device, operands, workspace, stream);
    case Family::weight_gemm:
      return weight_gemm::launch(description, device, operands, workspace, stream);
    case Family::direct:
      return direct::launch(description, device, operands, workspace, stream);
    case Family::lane_sums:
      return lane_sums::launch(description, device, operands, workspace, stream);
    case Family::padded_channels:
      return padded_channels::launch(description, device, operands, workspace, stream);
    case Family::few_channels:
      return few_channels::launch(description, device, operands, workspace, stream);
    default:
      throw std::logic_error(std::string(to_string(family)) + " is no CUDA kernel family");
  }
}

}  // namespace convt3d::cuda
