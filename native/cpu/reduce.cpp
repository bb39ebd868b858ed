// Reductions and scans along the middle dimension of a contiguous (outer, n, inner) array.
//
// A long dimension is cut into segments of fixed length, each segment into blocks: a block is summed in float32 (so
// that no float32 sum has more than a few hundred terms), blocks and segments are combined in double, in order. That
// keeps the sum of 10^7 numbers good to float32's last digits and the same for every number of threads. Rows
// (inner 1) are reduced across vectors, columns (inner > 1) side by side. Integers wrap.
#include <type_traits>

#include "../kernels.h"
#include "formats.h"
#include "simd.h"

namespace tsgpt::TSGPT_NS {
namespace {

constexpr int64_t block_items = 4096;     // of a row, per block
constexpr int64_t block_rows = 128;       // of columns, per block
constexpr int64_t block_cols = 1024;      // columns that one task handles
constexpr int64_t segment_items = 65536;  // of one task
constexpr int64_t least_segment_rows = 256;

// ------------------------------------------------------------------ the ops

// Blocks and segments are combined in this type.
template <class V> using Total = std::conditional_t<is_real<V>, double, V>;

template <class V> constexpr double least_of = is_real<V> ? -__builtin_inf() : -2147483648.0;
template <class V> constexpr double greatest_of = is_real<V> ? __builtin_inf() : 2147483647.0;

struct Sum {
  template <class V> static V identity() { return constant<V>(0); }
  template <class V> static V combine(V a, V b) { return a + b; }
  static double across(vf a) { return sum(a); }
};
struct Max {  // NaN wins: max gives b where b is NaN
  template <class V> static V identity() { return constant<V>(least_of<V>); }
  template <class V> static V combine(V a, V b) { return select(is_nan(a), a, max(a, b)); }
  static double across(vf a) { return any(is_nan(a)) ? __builtin_nan("") : max_of(a); }
};
struct Min {
  template <class V> static V identity() { return constant<V>(greatest_of<V>); }
  template <class V> static V combine(V a, V b) { return select(is_nan(a), a, min(a, b)); }
  static double across(vf a) { return any(is_nan(a)) ? __builtin_nan("") : min_of(a); }
};
struct Prod {
  template <class V> static V identity() { return constant<V>(1); }
  template <class V> static V combine(V a, V b) { return a * b; }
  static double across(vf a) {
    float lanes[width];
    store(lanes, a);
    double product = 1;
    for (float x : lanes) product *= x;
    return product;
  }
};

struct Plain {
  template <class V> static V map(V x) { return x; }
};
struct Squared {
  template <class V> static V map(V x) { return x * x; }
};

// ------------------------------------------------------------------ one row

template <class Op, class Map, DType type> auto reduce_row(const typename Format<type>::T* x, int64_t n) {
  using F = Format<type>;
  using V = typename F::V;
  constexpr int64_t chains = F::step > 1 ? 4 : 8;  // independent accumulators hide the latency of the additions
  auto total = Op::template identity<Total<V>>();
  for (int64_t begin = 0; begin < n; begin += block_items) {
    int64_t end = smaller(begin + block_items, n), i = begin;
    V acc[chains];
    for (V& a : acc) a = Op::template identity<V>();
    for (; i + chains * F::step <= end; i += chains * F::step) {
      for (int64_t c = 0; c < chains; c++) acc[c] = Op::combine(acc[c], Map::map(F::load(x + i + c * F::step)));
    }
    for (; i + F::step <= end; i += F::step) acc[0] = Op::combine(acc[0], Map::map(F::load(x + i)));
    if constexpr (F::step > 1) {
      if (i < end) {
        V rest = select(first(end - i), Map::map(F::load(x + i, end - i)), Op::template identity<V>());
        acc[1] = Op::combine(acc[1], rest);
      }
    }
    for (int64_t c = chains / 2; c > 0; c /= 2) {
      for (int64_t k = 0; k < c; k++) acc[k] = Op::combine(acc[k], acc[k + c]);
    }
    if constexpr (F::step > 1) total = Op::combine(total, Op::across(acc[0]));
    else total = Op::combine(total, Total<V>{acc[0]});
  }
  return total;
}

// ------------------------------------------------------------------ columns side by side

// total[j] = reduction over n rows of x[i * stride + j], for cols <= block_cols columns
template <class Op, DType type>
void reduce_columns(const typename Format<type>::T* x, int64_t stride, int64_t n, int64_t cols,
                    Total<typename Format<type>::V>* total) {
  using F = Format<type>;
  using A = std::conditional_t<(F::step > 1), Format<DType::float32>, F>;  // the accumulators' format
  using V = typename F::V;
  typename A::T acc[block_cols];
  for (int64_t j = 0; j < cols; j++) total[j] = Op::template identity<Total<V>>();
  auto add_rows = [&](const typename F::T* row, auto rows) {  // 1 or 4 rows, known to the compiler
    auto add = [&](int64_t j, auto load) {
      V v = A::load(acc + j);
      if constexpr (decltype(rows)::value == 4) {
        V low = Op::combine(load(row + j), load(row + stride + j));
        V high = Op::combine(load(row + 2 * stride + j), load(row + 3 * stride + j));
        A::store(acc + j, Op::combine(v, Op::combine(low, high)));
      } else {
        A::store(acc + j, Op::combine(v, load(row + j)));
      }
    };
    int64_t j = 0;
    for (; j + F::step <= cols; j += F::step) add(j, [](const typename F::T* p) { return F::load(p); });
    if constexpr (F::step > 1) {
      if (j < cols) add(j, [rest = cols - j](const typename F::T* p) { return F::load(p, rest); });
    }
  };
  for (int64_t begin = 0; begin < n; begin += block_rows) {
    int64_t end = smaller(begin + block_rows, n), i = begin;
    for (int64_t j = 0; j < cols; j += F::step) A::store(acc + j, Op::template identity<V>());
    for (; i + 4 <= end; i += 4) add_rows(x + i * stride, std::integral_constant<int, 4>{});
    for (; i < end; i++) add_rows(x + i * stride, std::integral_constant<int, 1>{});
    for (int64_t j = 0; j < cols; j++) total[j] = Op::combine(total[j], Total<V>{acc[j]});
  }
}

// ------------------------------------------------------------------ the whole array

// Calls finish(position, total) for every position (o, j) of the output.
template <class Op, class Map, DType type, class Finish>
void reduce_all(const void* x_, int64_t outer, int64_t n, int64_t inner, Finish finish) {
  using V = typename Format<type>::V;
  const auto* x = static_cast<const typename Format<type>::T*>(x_);
  int64_t cols = smaller(inner, block_cols), column_blocks = ceil_div(inner, block_cols);
  int64_t segment = greater(segment_items / greater(cols, 1), least_segment_rows);
  int64_t segments = greater(ceil_div(n, segment), 1);
  int64_t units = outer * segments * column_blocks;
  int64_t units_of_task = greater(segment_items / 2 / greater(smaller(n, segment) * cols, 1), 1);

  // With one segment every unit finishes its outputs itself, else it leaves a partial result.
  Total<V>* partial = nullptr;
  if (segments > 1) {
    size_t bytes = static_cast<size_t>(outer * segments * inner) * sizeof(Total<V>);
    partial = static_cast<Total<V>*>(thread_scratch(0, bytes));
  }
  parallel_ranges(units, units_of_task, [=](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; unit++) {
      int64_t j = unit % column_blocks * block_cols, s = unit / column_blocks % segments, o = unit / column_blocks / segments;
      int64_t from = s * segment, rows = smaller(segment, n - from), part = smaller(block_cols, inner - j);
      const auto* start = x + (o * n + from) * inner + j;
      if (inner == 1) {
        Total<V> total = reduce_row<Op, Map, type>(start, rows);
        if (partial) partial[o * segments + s] = total;
        else finish(o, total);
      } else if (partial) {
        reduce_columns<Op, type>(start, inner, rows, part, partial + (o * segments + s) * inner + j);
      } else {
        Total<V> total[block_cols];
        reduce_columns<Op, type>(start, inner, rows, part, total);
        for (int64_t c = 0; c < part; c++) finish(o * inner + j + c, total[c]);
      }
    }
  });
  if (!partial) return;
  parallel_ranges(outer * inner, greater(segment_items / 4 / segments, 1), [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const Total<V>* first = partial + i / inner * segments * inner + i % inner;
      Total<V> total = *first;
      for (int64_t s = 1; s < segments; s++) total = Op::combine(total, first[s * inner]);
      finish(i, total);
    }
  });
}

// ------------------------------------------------------------------ argmax, argmin

// The register type of one number.
template <DType type>
using Value = std::conditional_t<std::is_same_v<typename Format<type>::V, vf>, double, typename Format<type>::V>;

// The first position of `wanted` (the row's extreme value, or NaN).
template <DType type> int32_t find_in_row(const typename Format<type>::T* x, int64_t n, Value<type> wanted) {
  using F = Format<type>;
  using V = typename F::V;
  bool nan = is_nan(wanted);
  V target;
  if constexpr (F::step > 1) target = set(static_cast<float>(wanted));
  else target = wanted;
  auto found = [=](V v) { return nan ? is_nan(v) : v == target; };
  for (int64_t i = 0; i < n; i += F::step) {
    if constexpr (F::step == 1) {
      if (found(F::load(x + i))) return static_cast<int32_t>(i);
    } else {
      uint8_t hit[F::step];
      vm mask = found(i + F::step <= n ? F::load(x + i) : F::load(x + i, n - i));
      if (!any(mask)) continue;
      store_bool(hit, mask);
      for (int64_t k = 0; k < F::step && i + k < n; k++) {
        if (hit[k]) return static_cast<int32_t>(i + k);
      }
    }
  }
  return 0;
}

template <class Op, DType type>
void arg_columns(const typename Format<type>::T* x, int64_t stride, int64_t n, int64_t cols, int32_t* out) {
  using F = Format<type>;
  using A = std::conditional_t<(F::step > 1), Format<DType::float32>, F>;
  using T = typename A::T;
  T best[block_cols], row[block_cols];
  int32_t index[block_cols];
  for (int64_t i = 0; i < n; i++) {
    for (int64_t j = 0; j < cols; j += F::step) A::store(row + j, F::load(x + i * stride + j, smaller(cols - j, F::step)));
    for (int64_t j = 0; j < cols; j++) {
      bool beats = std::is_same_v<Op, Max> ? row[j] > best[j] : row[j] < best[j];
      bool first_nan = row[j] != row[j] && best[j] == best[j];
      bool take = i == 0 || beats || first_nan;
      best[j] = take ? row[j] : best[j];
      index[j] = take ? static_cast<int32_t>(i) : index[j];
    }
  }
  for (int64_t j = 0; j < cols; j++) out[j] = index[j];
}

template <class Op, DType type> void arg_all(const void* x_, int32_t* out, int64_t outer, int64_t n, int64_t inner) {
  const auto* x = static_cast<const typename Format<type>::T*>(x_);
  int64_t column_blocks = ceil_div(inner, block_cols);
  int64_t units_of_task = greater(segment_items / 2 / greater(n * smaller(inner, block_cols), 1), 1);
  parallel_ranges(outer * column_blocks, units_of_task, [=](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; unit++) {
      int64_t o = unit / column_blocks, j = unit % column_blocks * block_cols;
      const auto* start = x + o * n * inner + j;
      if (inner > 1) arg_columns<Op, type>(start, inner, n, smaller(block_cols, inner - j), out + o * inner + j);
      else out[o] = find_in_row<type>(start, n, reduce_row<Op, Plain, type>(start, n));
    }
  });
}

// ------------------------------------------------------------------ the kernels

template <DType type> bool reduce_typed(ReduceOp op, const void* x, void* out_, int64_t outer, int64_t n, int64_t inner) {
  using F = Format<type>;
  using V = typename F::V;
  auto* out = static_cast<typename F::T*>(out_);
  double scale = op == ReduceOp::mean ? 1.0 / static_cast<double>(n) : 1.0;
  auto finish = [=](int64_t i, Total<V> total) {
    if constexpr (!is_real<V>) out[i] = total.v;
    else if constexpr (F::step > 1) F::store(out + i, set(static_cast<float>(total)), 1);
    else out[i] = total;
  };
  auto finish_sum = [=](int64_t i, Total<V> total) {
    if constexpr (is_real<V>) finish(i, total * scale);
    else finish(i, total);
  };
  switch (op) {
    case ReduceOp::mean:
      if (!is_real<V>) return false;
      [[fallthrough]];
    case ReduceOp::sum: reduce_all<Sum, Plain, type>(x, outer, n, inner, finish_sum); return true;
    case ReduceOp::max: reduce_all<Max, Plain, type>(x, outer, n, inner, finish); return true;
    case ReduceOp::min: reduce_all<Min, Plain, type>(x, outer, n, inner, finish); return true;
    case ReduceOp::prod: reduce_all<Prod, Plain, type>(x, outer, n, inner, finish); return true;
    case ReduceOp::argmax: arg_all<Max, type>(x, static_cast<int32_t*>(out_), outer, n, inner); return true;
    case ReduceOp::argmin: arg_all<Min, type>(x, static_cast<int32_t*>(out_), outer, n, inner); return true;
    default: return false;
  }
}

bool reduce(ReduceOp op, DType type, const void* x, void* out, int64_t outer, int64_t n, int64_t inner) {
  switch (type) {
    case DType::float32: return reduce_typed<DType::float32>(op, x, out, outer, n, inner);
    case DType::float64: return reduce_typed<DType::float64>(op, x, out, outer, n, inner);
    case DType::float16: return reduce_typed<DType::float16>(op, x, out, outer, n, inner);
    case DType::bfloat16: return reduce_typed<DType::bfloat16>(op, x, out, outer, n, inner);
    case DType::int32: return reduce_typed<DType::int32>(op, x, out, outer, n, inner);
    default: return false;
  }
}

// Running sums are kept in A, wider than float32, and rounded as they are written.
template <class T, class A> void cumsum_all(const void* x_, void* out_, int64_t outer, int64_t n, int64_t inner, bool reverse) {
  constexpr int64_t block = 256;
  int64_t column_blocks = ceil_div(inner, block);
  int64_t units_of_task = greater(segment_items / 4 / greater(n * smaller(inner, block), 1), 1);
  parallel_ranges(outer * column_blocks, units_of_task, [=](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; unit++) {
      int64_t j0 = unit % column_blocks * block, cols = smaller(block, inner - j0);
      int64_t start = unit / column_blocks * n * inner + j0, step = reverse ? -inner : inner;
      const T* x = static_cast<const T*>(x_) + start + (reverse ? (n - 1) * inner : 0);
      T* out = static_cast<T*>(out_) + start + (reverse ? (n - 1) * inner : 0);
      if (cols == 1) {
        A sum{};
        for (int64_t i = 0; i < n; i++) {
          sum = sum + A{x[i * step]};
          out[i * step] = static_cast<T>(sum);
        }
        continue;
      }
      A sums[block] = {};
      for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j < cols; j++) {
          sums[j] = sums[j] + A{x[i * step + j]};
          out[i * step + j] = static_cast<T>(sums[j]);
        }
      }
    }
  });
}

bool cumsum(DType type, const void* x, void* out, int64_t outer, int64_t n, int64_t inner, bool reverse) {
  switch (type) {
    case DType::float32: cumsum_all<float, double>(x, out, outer, n, inner, reverse); return true;
    case DType::float64: cumsum_all<double, double>(x, out, outer, n, inner, reverse); return true;
    case DType::int32: cumsum_all<int32_t, Integer<int32_t>>(x, out, outer, n, inner, reverse); return true;
    default: return false;
  }
}

template <DType type> double squares_of(const void* x, int64_t begin, int64_t end) {
  return reduce_row<Sum, Squared, type>(static_cast<const typename Format<type>::T*>(x) + begin, end - begin);
}

bool sum_squares(const Numbers* arrays, int64_t count, double* out) {
  int64_t pieces = 0;
  for (int64_t i = 0; i < count; i++) {
    if (arrays[i].type > DType::bfloat16) return false;  // not floating
    pieces += ceil_div(arrays[i].n, segment_items);
  }
  auto* partial = static_cast<double*>(thread_scratch(1, static_cast<size_t>(pieces) * sizeof(double)));
  auto length = [=](int64_t i) { return arrays[i].n; };
  parallel_arrays(count, segment_items, length, [=](int64_t i, int64_t begin, int64_t end, int64_t piece) {
    const void* x = arrays[i].x;
    switch (arrays[i].type) {
      case DType::float32: partial[piece] = squares_of<DType::float32>(x, begin, end); break;
      case DType::float64: partial[piece] = squares_of<DType::float64>(x, begin, end); break;
      case DType::float16: partial[piece] = squares_of<DType::float16>(x, begin, end); break;
      default: partial[piece] = squares_of<DType::bfloat16>(x, begin, end);
    }
  });
  double total = 0;
  for (int64_t i = 0; i < count; i++) {
    double sum = 0;
    for (int64_t end = ceil_div(arrays[i].n, segment_items); end > 0; end--) sum += *partial++;
    total += sum;
  }
  *out = total;
  return true;
}

}  // namespace

void register_reduce(KernelTable& table) {
  table.reduce = reduce;
  table.cumsum = cumsum;
  table.sum_squares = sum_squares;
}

}  // namespace tsgpt::TSGPT_NS
