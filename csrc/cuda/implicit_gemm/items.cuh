// SPDX-License-Identifier: BSD-3-Clause
// What each role of a block does for its items, but for the instructions that do it: those of
// sm_90 here, and mma.sync in mma_gemm.
#pragma once
#include "cuda/implicit_gemm/epilogue.cuh"
#include "cuda/implicit_gemm/producer.cuh"
#include "cuda/sm90/ring.cuh"

namespace convt3d::cuda::implicit_gemm {

using sm90::release;
using sm90::Ring;

inline constexpr int kConsumerWarps = kConsumerThreads / 32;

// An item made anew, where there are no registers to keep it.
__device__ __forceinline__ Item again(const Params& p, unsigned index, unsigned residue) {
  asm volatile("" : "+r"(index), "+r"(residue));
  return Item(p, index, residue);
}

// Back by fewer steps than there are stages.
__device__ __forceinline__ void rewind(int steps, int stages, Ring* ring) {
  ring->stage -= steps;
  if (ring->stage < 0) {
    ring->stage += stages;
    ring->parity ^= 1;
  }
}

// The consumers: kTiles m16 tiles of a warp, 64 rows apart. multiply(first_tap, taps, row, &input,
// &weight, sum) adds the products of one residue, all chunks and taps; before and behind those of a
// tile are start() and finish(sum). `row`: this lane's ldmatrix rows, in bytes from the stage. Halo
// rows have `pitch` bytes.
template <Precision kPrecision, int kColumns, int kTiles, typename Multiply>
__device__ __forceinline__ void consume(const Params& p, const Shared& shared, int pitch,
                                        Multiply* multiply) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int group_row = warp / 4 * 64 * kTiles + warp % 4 * 16;
  Ring input, weight;
  uint32_t row[kTiles];
#pragma unroll
  for (int m = 0; m < kTiles; ++m) {
    row[m] = shared.halo_row(p, group_row + 64 * m + lane % 16) * pitch + lane / 16 * 16;
  }

  for (unsigned index = blockIdx.x; index < p.items; index += gridDim.x) {
    const Item item(p, index);
    ResidueSet set = item.residues;
    float sum[kTiles][kColumns / 2];
    for (int left = p.item_residues; left > 0; --left, set.next(p)) {
      if (left == p.item_residues || p.sum_residues == 1) {
#pragma unroll
        for (int m = 0; m < kTiles; ++m) {
#pragma unroll
          for (int i = 0; i < kColumns / 2; ++i) sum[m][i] = 0;
        }
        multiply->start();
      }
      if (set.taps > 0) {
        (*multiply)(set.first_tap, set.taps, row, &input, &weight, sum);
        // In forward all residues of the item read the same stages.
        if (p.item_residues > p.sum_residues) rewind(p.chunks, p.input_stages, &input);
      }
      if (left > 1 && p.sum_residues > 1) continue;
      multiply->finish(sum);
      set.refresh(p);
      store<kPrecision, kColumns, kTiles>(p, shared, item, set, group_row, sum);
    }
    if (p.item_residues > p.sum_residues) {
      for (int chunk = 0; chunk < p.chunks; ++chunk) {
        release(shared.input_empty, input);
        input.next(p.input_stages);
      }
    }
  }
}

// The producers: fill(inside, first, chunk, stage) loads one chunk of channels into that stage, and
// arrives when it is there.
template <typename Fill>
__device__ __forceinline__ void produce(const Params& p, const Shared& shared, const Fill& fill) {
  Ring input;
  for (unsigned index = blockIdx.x; index < p.items; index += gridDim.x) {
    for (int residue = 0; residue < p.sum_residues; ++residue) {
      const Item item = again(p, index, residue);  // across fill() there are no registers for it
      if (!item.has_taps(p)) continue;
      const Inside inside(p, item);
      const int64_t first = item.first_input(p);
      for (int chunk = 0; chunk < p.chunks; ++chunk) {
        sm90::barrier_wait(shared.input_empty + 8 * input.stage, input.parity ^ 1);
        fill(inside, first, chunk, input.stage);
        input.next(p.input_stages);
      }
    }
  }
}

// The weights, in the consumers' order; a residue's blocks are contiguous. copy(stage, source,
// bytes) brings some, and arrives when they are there.
template <typename Copy>
__device__ __forceinline__ void copy_weights(const Params& p, const Shared& shared, int block_bytes,
                                             const Copy& copy) {
  Ring weight;
  for (unsigned index = blockIdx.x; index < p.items; index += gridDim.x) {
    const Item item(p, index);
    ResidueSet set = item.residues;
    for (int r = 0; r < p.item_residues; ++r, set.next(p)) {
      const unsigned char* block =
          p.packed + (int64_t{item.column_tile} * p.taps + set.first_tap) * p.chunks * block_bytes;
      for (int chunk = 0; chunk < p.chunks; ++chunk) {
        for (int left = set.taps; left > 0; left -= p.weight_group) {
          const int bytes = min(left, p.weight_group) * block_bytes;
          sm90::barrier_wait(shared.weight_empty + 8 * weight.stage, weight.parity ^ 1);
          copy(weight.stage, block, bytes);
          block += bytes;
          weight.next(p.weight_stages);
        }
      }
    }
  }
}

}  // namespace convt3d::cuda::implicit_gemm
