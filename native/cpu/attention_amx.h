// Attention's products of a tile on AMX, for queries, keys and values that are bfloat16 or may be rounded to it: what
// attention_tile.h does with vectors.
// Weights and their gradients are rounded to bfloat16 before they are multiplied; scores, softmax and all sums are float32.
//
// Left factors are packed as they are used; right factors that a tile of queries multiplies again and again (Q, dO) once. The
// other instruction sets have the same names, which do nothing: there in_tiles() is always false.
#pragma once

#include "../runtime/dispatch.h"
#include "amx.h"
#include "attention_tile.h"
#include "formats.h"

namespace tsgpt::TSGPT_NS::attention {

// The packed operands of a task, in the thread's scratch memory.
struct PackedTile {
  float *q_columns, *dout_columns;  // Q^T and dO^T as right factors, k along the head
  float *q_rows, *dout_rows;        // Q and dO as right factors, k along the queries
  float *left, *right, *product;    // of one product
};

#if defined(__AVX512F__)

// Whether products are of bfloat16 numbers, in AMX tiles.
inline bool in_tiles(const Attention& p) { return p.bf16 && has_amx(); }

using amx::Tiles;

// Floats of a packed right factor of k numbers and `cols` columns.
inline int64_t packed_size(int64_t k, int64_t cols) { return amx::steps_of(k) * amx::steps_of(cols) * 2 * amx::tile_floats; }

// `backward` also has what only gradients need.
inline PackedTile packed_tile(int64_t head_dim, bool backward) {
  int64_t columns = packed_size(head_dim, tile), rows = packed_size(tile, head_dim);
  int64_t square = packed_size(tile, tile), wide = amx::steps_of(head_dim) * amx::block_lanes;
  int64_t left = columns > square ? columns : square;
  int64_t size = (backward ? 2 * columns + 2 * rows : columns) + left + rows + tile * wide;
  float* p = static_cast<float*>(thread_scratch(2, static_cast<size_t>(size) * sizeof(float)));
  PackedTile w{};
  w.left = p, p += left;
  w.right = p, p += rows;
  w.product = p, p += tile * wide;
  w.q_columns = p, p += columns;
  if (!backward) return w;
  w.dout_columns = p, p += columns;
  w.q_rows = p, p += rows;
  w.dout_rows = p;
  return w;
}

// x (count, k) as the right factor x^T: each row of x is a column.
inline void pack_columns(const float* x, int64_t row, int64_t count, int64_t k, float* to) {
  amx::pack_blocks<1, false>(x, row, 1, count, k, to);
}

// x (k, cols) as the right factor x.
inline void pack_rows(const float* x, int64_t row, int64_t k, int64_t cols, float* to) {
  amx::pack_blocks<1, false>(x, 1, row, cols, k, to);
}

// c (rows, cols), both rounded up to blocks, = A B for a left factor that lies `a_row`, `a_col` apart and a packed right one.
inline void multiply_in_tiles(const float* a, int64_t a_row, int64_t a_col, int64_t rows, int64_t k, const float* right,
                              int64_t cols, float* left, float* c, int64_t c_row) {
  amx::pack_blocks<1, true>(a, a_row, a_col, rows, k, left);
  for (int64_t i = 0; i < rows; i += amx::block_lanes, left += packed_size(k, amx::block_lanes)) {
    const float* b = right;
    for (int64_t j = 0; j < cols; j += amx::block_lanes, b += packed_size(k, amx::block_lanes)) {
      amx::multiply<1, 1>(amx::steps_of(k), left, b, c + i * c_row + j, c_row, false);
    }
  }
}

// multiply<Layout>() for `k` steps, with B packed as `right`.
template <class Layout> inline void multiply_in_tiles(const Product& p, int64_t k, const float* right, const PackedTile& w) {
  int64_t row = amx::steps_of(p.cols) * amx::block_lanes;
  multiply_in_tiles(p.a, Layout::row, Layout::step, p.rows, k, right, p.cols, w.left, w.product, row);
  vf alpha = set(p.alpha);
  for (int64_t i = 0; i < p.rows; i++) {
    const float* sums = w.product + i * row;
    float* c = p.c + i * p.c_row;
    vf scale = set(p.row_scale ? p.row_scale[i] : 1.0f);
    for_vectors(p.cols, [&](int64_t d, auto part) {
      vf y = alpha * load(sums + d);
      store(c + d, p.accumulate ? fma(scale, load(c + d, part), y) : y, part);
    });
  }
}

#else

struct Tiles {
  explicit Tiles(bool) {}
};
inline bool in_tiles(const Attention&) { return false; }
inline PackedTile packed_tile(int64_t, bool) { return {}; }
inline void pack_columns(const float*, int64_t, int64_t, int64_t, float*) {}
inline void pack_rows(const float*, int64_t, int64_t, int64_t, float*) {}
inline void multiply_in_tiles(const float*, int64_t, int64_t, int64_t, int64_t, const float*, int64_t, float*, float*,
                              int64_t) {}
template <class> inline void multiply_in_tiles(const Product&, int64_t, const float*, const PackedTile&) {}

#endif

}  // namespace tsgpt::TSGPT_NS::attention
