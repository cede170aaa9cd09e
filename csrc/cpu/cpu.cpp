// SPDX-License-Identifier: BSD-3-Clause
#include "cpu/cpu.h"

#include <stdexcept>

#include "cpu/residue_gemm.h"

namespace convt3d::cpu {

void launch(Family family, const Description& description, const Operands& operands,
            void* workspace, const ParallelFor& parallel_for) {
  switch (family) {
    case Family::residue_gemm:
      return residue_gemm::launch(description, operands, workspace, parallel_for);
    default:
      throw std::logic_error(std::string(to_string(family)) + " is no CPU kernel family");
  }
}

}  // namespace convt3d::cpu
