// SPDX-License-Identifier: BSD-3-Clause
// The ordered tables: best first, and the last entry of each accepts everything.
#include <stdexcept>

#include "cpu/aten.h"
#include "cpu/residue_gemm.h"
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
#include "plan/family.h"

namespace convt3d {
namespace {

// A family's three free functions, from its namespace.
#define CONVT3D_CANDIDATE(device, name)                                                          \
  Candidate {                                                                                    \
    Family::name, &device::name::supports, &device::name::workspace_bytes, &device::name::config \
  }

const std::vector<Candidate>& cuda_candidates() {
  static const std::vector<Candidate> table{
      CONVT3D_CANDIDATE(cuda, lane_sums),     CONVT3D_CANDIDATE(cuda, padded_channels),
      CONVT3D_CANDIDATE(cuda, shuffle_gemm),  CONVT3D_CANDIDATE(cuda, column_gemm),
      CONVT3D_CANDIDATE(cuda, group_gemm),    CONVT3D_CANDIDATE(cuda, cluster_gemm),
      CONVT3D_CANDIDATE(cuda, halo_gemm),     CONVT3D_CANDIDATE(cuda, implicit_gemm),
      CONVT3D_CANDIDATE(cuda, mma_gemm),      CONVT3D_CANDIDATE(cuda, cluster_weight),
      CONVT3D_CANDIDATE(cuda, line_weight),   CONVT3D_CANDIDATE(cuda, halo_weight),
      CONVT3D_CANDIDATE(cuda, view_weight),   CONVT3D_CANDIDATE(cuda, tap_gemm),
      CONVT3D_CANDIDATE(cuda, subpixel_gemm), CONVT3D_CANDIDATE(cuda, few_channels),
      CONVT3D_CANDIDATE(cuda, weight_gemm),   CONVT3D_CANDIDATE(cuda, direct)};
  return table;
}

const std::vector<Candidate>& cpu_candidates() {
  static const std::vector<Candidate> table{CONVT3D_CANDIDATE(cpu, residue_gemm),
                                            CONVT3D_CANDIDATE(cpu, aten)};
  return table;
}

const std::vector<Candidate>& torch_candidates() {
  static const std::vector<Candidate> table{CONVT3D_CANDIDATE(cpu, aten)};
  return table;
}

#undef CONVT3D_CANDIDATE

}  // namespace

const char* to_string(Family family) {
  switch (family) {
    case Family::shuffle_gemm:
      return "shuffle_gemm";
    case Family::group_gemm:
      return "group_gemm";
    case Family::halo_gemm:
      return "halo_gemm";
    case Family::implicit_gemm:
      return "implicit_gemm";
    case Family::mma_gemm:
      return "mma_gemm";
    case Family::subpixel_gemm:
      return "subpixel_gemm";
    case Family::column_gemm:
      return "column_gemm";
    case Family::few_channels:
      return "few_channels";
    case Family::cluster_weight:
      return "cluster_weight";
    case Family::cluster_gemm:
      return "cluster_gemm";
    case Family::line_weight:
      return "line_weight";
    case Family::halo_weight:
      return "halo_weight";
    case Family::view_weight:
      return "view_weight";
    case Family::tap_gemm:
      return "tap_gemm";
    case Family::weight_gemm:
      return "weight_gemm";
    case Family::direct:
      return "direct";
    case Family::lane_sums:
      return "lane_sums";
    case Family::padded_channels:
      return "padded_channels";
    case Family::residue_gemm:
      return "residue_gemm";
    case Family::aten:
      return "aten";
  }
  return "?";
}

const std::vector<Candidate>& candidates(Direction, const Device& device) {
  if (device.kind == DeviceKind::cpu) return cpu_candidates();
  return device.arch == 0 ? torch_candidates() : cuda_candidates();
}

const Candidate& plan(const Description& description, const Device& device) {
  const auto& table = candidates(description.direction, device);
  for (const Candidate& candidate : table) {
    if (candidate.supports(description, device).ok) return candidate;
  }
  throw std::logic_error("no family accepts " + to_string(description) + "; please report this");
}

const Candidate& forced(const std::string& family, const Description& description,
                        const Device& device) {
  for (const Candidate& candidate : candidates(description.direction, device)) {
    if (family != to_string(candidate.family)) continue;
    const Verdict verdict = candidate.supports(description, device);
    if (!verdict.ok) {
      throw std::invalid_argument(family + " refuses " + to_string(description) + ": " +
                                  verdict.reason);
    }
    return candidate;
  }
  throw std::invalid_argument("there is no family '" + family + "' for " + to_string(description));
}

}  // namespace convt3d
