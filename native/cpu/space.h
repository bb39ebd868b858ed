// Walking an iteration space: merge what can be merged, then hand out rows along the last dimension. Most operands are
// contiguous or repeat along whole dimensions, so that one or two dimensions are left and rows are long; a task begins at
// any flat position, which costs it one division per dimension.
#pragma once

#include "../kernels.h"
#include "simd.h"

namespace tsgpt::TSGPT_NS {

inline int64_t count(const Space& s) {
  int64_t n = 1;
  for (int d = 0; d < s.rank; d++) n *= s.shape[d];
  return n;
}

// The same space with dimensions of size 1 dropped and neighbours merged wherever every operand allows it. The result
// has at least one dimension.
template <int operands> inline Space collapse(const Space& s) {
  Space r;
  r.rank = 0;
  for (int d = 0; d < s.rank; d++) {
    if (s.shape[d] == 1) continue;
    int last = r.rank - 1;
    bool merges = last >= 0;
    for (int k = 0; k < operands && merges; k++) merges = r.stride[k][last] == s.stride[k][d] * s.shape[d];
    int to = merges ? last : r.rank++;
    r.shape[to] = merges ? r.shape[to] * s.shape[d] : s.shape[d];
    for (int k = 0; k < operands; k++) r.stride[k][to] = s.stride[k][d];
  }
  if (r.rank == 0) {
    r.rank = 1;
    r.shape[0] = 1;
    for (int k = 0; k < operands; k++) r.stride[k][0] = 1;
  }
  return r;
}

// Calls row(offsets, n) for the pieces of rows that make up the flat positions [begin, end) of the space, in order.
// offsets[k] is where the piece begins in operand k; it goes on with the stride of the last dimension.
template <int operands, class Row> inline void for_each_row(const Space& s, int64_t begin, int64_t end, Row row) {
  int last = s.rank - 1;
  int64_t index[max_rank], offset[operands] = {};
  for (int64_t d = last, rest = begin; d >= 0; d--) {
    index[d] = rest % s.shape[d];
    rest /= s.shape[d];
    for (int k = 0; k < operands; k++) offset[k] += index[d] * s.stride[k][d];
  }
  for (int64_t position = begin;;) {
    int64_t n = s.shape[last] - index[last];
    if (n > end - position) n = end - position;
    row(static_cast<const int64_t*>(offset), n);
    position += n;
    if (position >= end) return;
    for (int k = 0; k < operands; k++) offset[k] -= index[last] * s.stride[k][last];
    index[last] = 0;
    for (int d = last - 1; d >= 0; d--) {  // the next row: count up, carry
      if (++index[d] < s.shape[d]) {
        for (int k = 0; k < operands; k++) offset[k] += s.stride[k][d];
        break;
      }
      index[d] = 0;
      for (int k = 0; k < operands; k++) offset[k] -= s.stride[k][d] * (s.shape[d] - 1);
    }
  }
}

}  // namespace tsgpt::TSGPT_NS
