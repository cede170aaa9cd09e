// SPDX-License-Identifier: BSD-3-Clause
// The producers: from tile to tile, each into the next stage that is empty.
#pragma once
#include "cuda/line_weight/odd_lines.cuh"
#include "cuda/sm90/ring.cuh"

namespace convt3d::cuda::line_weight {

// `full`, `empty`: barriers of stage 0. Empty: the consumer warps arrive. Full: the lanes of one
// producer warp arrive when their copies have landed, and one of them for what all have stored.
// seconds: of each stage, whether its tile starts with the second element of a word.
template <Tile kTile>
__device__ __forceinline__ void produce(const Params& p, const Job& job, const Slots& input_slots,
                                        const Slots& output_slots, uint32_t stages, uint32_t full,
                                        uint32_t empty, uint32_t seconds) {
  constexpr int kWarps = kProducerThreads / 32;
  const int warp = (threadIdx.x - kConsumerThreads) / 32;
  const bool leads = threadIdx.x % 32 == 0;
  Walk walk(p, job.first_tile + warp);
  const unsigned short* const columns =
      p.input.data + int64_t{job.first_column} * p.input.stride[0];
  sm90::Ring ring;
  for (int i = 0; i < warp; ++i) ring.next(p.stages);
  // A warp fills every kWarps-th stage.
  for (int tile = job.first_tile + warp; tile < job.end_tile; tile += kWarps) {
    Origin input, output;
    input.data = columns + walk.at[0] * p.input.batch_stride;
    output.data = p.output.data + walk.at[0] * p.output.batch_stride;
#pragma unroll
    for (int axis = 0; axis < 3; ++axis) {
      input.at[axis] = walk.at[1 + axis] * p.box[axis];
      output.at[axis] = p.stride[axis] * input.at[axis] - p.first[axis];
    }
    input.data += input.at[0] * p.input.stride[1] + input.at[1] * p.input.stride[2] + input.at[2];
    output.data +=
        output.at[0] * p.output.stride[1] + output.at[1] * p.output.stride[2] + output.at[2];
    sm90::barrier_wait(empty + 8 * ring.stage, ring.parity ^ 1);
    const uint32_t stage = stages + ring.stage * p.stage_bytes;
    if constexpr (kTile.odd) {
      if (leads) {
        asm volatile("st.shared.b32 [%0], %1;" ::"r"(seconds + 4 * ring.stage),
                     "r"(is_second(output.data)));
      }
      load_odd_lines(p, output_slots, output, stage);
    } else {
      load(output_slots, p.output, output, stage);
    }
    load(input_slots, p.input, input, stage);
    sm90::barrier_arrive_after_copies(full + 8 * ring.stage);
    __syncwarp();  // all lanes have stored
    if (leads) sm90::barrier_arrive(full + 8 * ring.stage);
    for (int i = 0; i < kWarps; ++i) {
      ring.next(p.stages);
      walk.next(p);
    }
  }
}

}  // namespace convt3d::cuda::line_weight
