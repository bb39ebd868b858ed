// Matrix products on AMX, of bfloat16 numbers or of the pieces of others (amx.h): two of float16, three of float32.
//
// A float32 product takes 6 tile products instead of 9, without those below 2^-24 of the whole; a float16 product takes 4. A
// core multiplies 15 times as many bfloat16 numbers by tiles as float32 numbers by vectors, so even six products are faster
// than fma; and they are no less exact, since a sum is rounded less often (both measured: docs/benchmarking.md).
//
// The blocking is that of gemm.cpp: a task packs its columns of B into level 2, if they do not come packed, then goes over
// panels of 32 rows of A, packed into level 1 along a chunk of k, which meet all columns. The sums of a panel wait beside B
// between chunks; where B is packed in several parts along k, those of all panels do.
//
// Where something is fused into the product, a group of panels gets it when its rows of C are whole.
//
// Tiles know no subnormal numbers: a product of two numbers keeps fewer bits where it is below 2^-102, and is 0 below 2^-126.
// An infinity has no pieces: its sums come out as NaN, and every NaN is computed again from the operands.
#pragma once

#include <algorithm>

#include "amx.h"
#include "gemm_common.h"

#if defined(__AVX512F__)

namespace tsgpt::TSGPT_NS::gemm {

using namespace amx;

// The longest part of k whose columns of B are packed together, most bytes of these columns (in the 2 MB of level 2), and most
// bytes of a panel of A (in the 48 KB of level 1, which the columns pass through). With more pieces parts are shorter, so that
// a panel meets more columns.
template <int PB> constexpr int64_t longest_part = PB == 1 ? 1024 : 256;
template <int PB> constexpr int64_t most_packed_b = (PB == 1 ? 1280 : 768) << 10;
template <int PA> constexpr int64_t most_panel = (PA == 1 ? 16 : 24) << 10;

// Panels of A that are packed together where k does not lie side by side: then 256 bytes of bfloat16 are read at a time.
constexpr int64_t panels_together = 4;

// Equal parts of k, whole steps, none longer than `longest`.
inline int64_t part_of(int64_t k, int64_t longest) { return steps_of(div_up(k, div_up(k, longest))) * tile_numbers; }

// The sums that are NaN again, from the operands: right where the numbers are infinite, which have no pieces. n: to
// block_lanes.
template <class TA, class TB>
inline void repair(const TA* a, int64_t a_col, const TB* b, int64_t b_row, int64_t b_col, int64_t k, float* sums, int64_t n) {
  float again[block_lanes] = {};
  for (int64_t s = 0; s < k; s++, a += a_col, b += b_row) {
    float x = to_float(*a);
    for (int64_t j = 0; j < n; j++) again[j] += x * to_float(b[j * b_col]);
  }
  for (int64_t j = 0; j < n; j++) sums[j] = sums[j] == sums[j] ? sums[j] : again[j];
}

inline void add_block(const float* from, float* to, int64_t to_row) {
  for (int64_t i = 0; i < block_lanes; i++, from += block_lanes, to += to_row) {
    for (int64_t j = 0; j < block_lanes; j += width) store(to + j, load(to + j) + load(from + j));
  }
}

inline bool any_nan(const float* p, int64_t n) {
  __mmask16 nan = 0;
  for (int64_t j = 0; j < n; j += width) {
    __m512 v = n - j >= width ? load(p + j).v : load(p + j, n - j).v;
    nan = static_cast<__mmask16>(nan | _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q));
  }
  return nan != 0;
}

// Whether packing pays. Against the vectors of a Granite Rapids, 64 cubed runs at 56 instead of 38 GFLOP/s in bfloat16 and
// 9 x 768 x 768 faster by some percent; float16 gains from 16 rows on; in float32 128 cubed loses (156 instead of 179), 192
// cubed gains (259 instead of 238), 32 x 768 x 768 is even.
template <class TA, class TB, bool rounded> inline bool pieces_pay(const Gemm& g) {
  constexpr int most = std::max(pieces<TA, rounded>, pieces<TB, rounded>),
                least = std::min(pieces<TA, rounded>, pieces<TB, rounded>);
  constexpr int64_t rows = most == 1 ? 9 : least == 3 ? 33 : 16, products = least == 3 ? 1 << 23 : 1 << 18;
  return g.m >= rows && g.n >= 32 && g.k >= 32 && g.batch * g.m * g.n * g.k >= products;
}

// rounded: float32 operands are rounded to bfloat16, one piece, instead of cut.
template <class TA, class TB, bool rounded> void run_pieces(const Gemm& g) {
  constexpr int PA = pieces<TA, rounded>, PB = pieces<TB, rounded>;
  constexpr bool one_piece = PA == 1 && PB == 1;
  constexpr int64_t a_step = 2 * PA * tile_floats, b_step = 2 * PB * tile_floats;  // floats of a step, in a block
  int64_t part = part_of(g.k, longest_part<PB>), steps = part / tile_numbers, parts = div_up(g.k, part);
  int64_t chunk = part_of(part, most_panel<PA> / (4 * a_step) * tile_numbers);
  int64_t most_blocks = most_packed_b<PB> / (4 * b_step * steps);
  int64_t group = g.a_col == 1 ? 1 : panels_together;  // of panels
  const float* kept = g.packed_b;
  Grid grid = choose_grid(g, {block_lanes, most_blocks, block_lanes, tile_products<PA, PB> / 14.0, 20, kept ? 0.0 : 20.0});
  int64_t tiles = grid.row_tiles * grid.col_tiles, col_blocks = div_up(grid.cols, block_lanes);
  int64_t most_rows = div_up(g.m, grid.row_tiles), most_panels = div_up(most_rows, block_lanes);
  int64_t sums_row = col_blocks * block_lanes + tile_lanes;  // an odd multiple of 64 bytes: rows in many sets of level 1
  int64_t b_size = kept ? 0 : col_blocks * steps * b_step, a_size = group * (chunk / tile_numbers) * a_step;
  int64_t sums_size = block_lanes * sums_row * (parts > 1 ? most_panels : group);
  // Whole blocks of C that are but sums are written as such.
  bool plain = one_piece && parts == 1 && g.type_c == DType::float32 && g.alpha == 1 && g.beta == 0 && !g.bias;
  parallel(g.batch * tiles, [&](int64_t task) {
    int64_t batch = task / tiles, tile = task % tiles;
    int64_t i0 = grid.row_begin(g.m, tile % grid.row_tiles), rows = grid.row_begin(g.m, tile % grid.row_tiles + 1) - i0;
    int64_t j0 = tile / grid.row_tiles * grid.cols, cols = min_of(grid.cols, g.n - j0);
    size_t bytes = static_cast<size_t>(b_size + a_size + sums_size) * sizeof(float);
    auto* scratch = static_cast<float*>(thread_scratch(scratch_slot, bytes));
    float *packed_a = scratch + b_size, *sums = packed_a + a_size;
    const TA* a = static_cast<const TA*>(g.a) + batch * g.a_batch + i0 * g.a_row;
    const TB* b = static_cast<const TB*>(g.b) + batch * g.b_batch + j0 * g.b_col;
    Tiles registers;
    for (int64_t k0 = 0; k0 < g.k; k0 += part) {
      int64_t k = min_of(part, g.k - k0), k_steps = steps_of(k);
      const float* packed_b = scratch;
      if (kept) {
        packed_b = kept + (k0 / tile_numbers * div_up(g.n, block_lanes) + j0 / block_lanes * k_steps) * b_step;
      } else {
        pack_blocks<PB, false>(b + k0 * g.b_row, g.b_col, g.b_row, cols, k, scratch);
      }
      for (int64_t i = 0, height = 0; i < rows; i += height) {
        height = min_of(group * block_lanes, rows - i);
        float* panels = sums + (parts > 1 ? i * sums_row : 0);
        float* c = static_cast<float*>(g.c) + batch * g.c_batch + (i0 + i) * g.c_row + j0;  // if `plain`
        for (int64_t s = 0; s < k; s += chunk) {
          int64_t numbers = min_of(chunk, k - s), chunk_steps = steps_of(numbers);
          pack_blocks<PA, true>(a + i * g.a_row + (k0 + s) * g.a_col, g.a_row, g.a_col, height, numbers, packed_a);
          for (int64_t r = 0; r < height; r += block_lanes) {
            const float *panel = packed_a + r / block_lanes * chunk_steps * a_step,
                        *columns = packed_b + s / tile_numbers * b_step;
            for (int64_t j = 0; j < cols; j += block_lanes, columns += k_steps * b_step) {
              int64_t n = min_of(block_lanes, cols - j), m = min_of(block_lanes, height - r);
              if (plain && m == block_lanes && n == block_lanes) {
                multiply<PA, PB>(chunk_steps, panel, columns, c + r * g.c_row + j, g.c_row, k0 + s > 0);
                continue;
              }
              float* block = panels + r * sums_row + j;
              if (one_piece || k0 + s == 0) {
                multiply<PA, PB>(chunk_steps, panel, columns, block, sums_row, k0 + s > 0);
              } else {  // a sum of its own: the longer a sum, the more each rounding costs
                alignas(64) float chunk_sums[block_lanes * block_lanes];
                multiply<PA, PB>(chunk_steps, panel, columns, chunk_sums, block_lanes, false);
                add_block(chunk_sums, block, sums_row);
              }
              if (k0 + s + numbers < g.k) continue;
              for (int64_t row = i + r; row < i + r + m; row++, block += sums_row) {
                if (!one_piece && any_nan(block, n)) {
                  repair(a + row * g.a_row, g.a_col, b + j * g.b_col, g.b_row, g.b_col, g.k, block, n);
                }
                finish_row(g, batch, i0 + row, j0 + j, block, n);
              }
            }
          }
        }
        if (k0 + k == g.k) finish_fused(g, batch, i0 + i, height, j0, cols);
      }
    }
  });
}

// B as the tasks pack it, for all of them: parts of k, each with all blocks of columns. Answers how many floats that takes.
template <int N, class T> int64_t keep_blocks(const Gemm& g, float* out) {
  constexpr int64_t step = 2 * N * tile_floats, at_once = 16 * block_lanes;  // columns of a task
  int64_t part = part_of(g.k, longest_part<N>), parts = div_up(g.k, part), groups = div_up(g.n, at_once);
  int64_t blocks = div_up(g.n, block_lanes);
  parallel(out ? parts * groups : 0, [&](int64_t task) {
    int64_t k0 = task / groups * part, j = task % groups * at_once, k = min_of(part, g.k - k0);
    pack_blocks<N, false>(static_cast<const T*>(g.b) + k0 * g.b_row + j * g.b_col, g.b_col, g.b_row, min_of(at_once, g.n - j),
                          k, out + (k0 / tile_numbers * blocks + j / block_lanes * steps_of(k)) * step);
  });
  return blocks * steps_of(g.k) * step;
}

}  // namespace tsgpt::TSGPT_NS::gemm

#endif
