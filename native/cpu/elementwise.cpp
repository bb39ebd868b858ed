// Elementwise kernels: unary, binary with broadcasting, where, fill.
//
// An op is one line in `apply`, a template over the register types of formats.h. The rest turns these lines into
// loops: for every op and dtype a row kernel (n numbers, each operand contiguous or one repeated number), found in a
// table by op and dtype, and around it the walk over the iteration space. An operand whose last stride is neither 1
// nor 0 passes through a small buffer. A type that an op does not serve leaves its table entry empty.
#include <type_traits>
#include <utility>

#include "../kernels.h"
#include "elementwise_rows.h"
#include "formats.h"
#include "simd.h"
#include "space.h"
#include "vec_math.h"

namespace tsgpt::TSGPT_NS {
namespace {

constexpr int64_t grain = 16384;       // numbers in one task
constexpr int64_t buffer_items = 512;  // of a strided operand, gathered at once

inline double pow(double x, double y) { return ::pow(x, y); }

// Rare enough to leave to the C library, which has all the special cases right.
inline vf pow(vf x, vf y) {
  float xs[width], ys[width];
  store(xs, x);
  store(ys, y);
  for (int64_t i = 0; i < width; i++) xs[i] = ::powf(xs[i], ys[i]);
  return load(xs);
}

// ------------------------------------------------------------------ the ops

struct Unserved {};

template <class V> inline V maximum(V a, V b) { return select(is_nan(a), a, max(a, b)); }  // max gives b where b is NaN
template <class V> inline V minimum(V a, V b) { return select(is_nan(a), a, min(a, b)); }
template <class V> inline V sign(V x) {
  V zero = constant<V>(0);
  return select(zero < x, constant<V>(1), select(x < zero, zero - constant<V>(1), zero));
}

// The normal distribution's function Phi and density at x. In float32 Phi(-|x|) = 2^(-|x| p(|x|) - 1) with a polynomial
// p fitted on [0, 6] (beyond, it grows and Phi becomes 0): the float32 result is within 1.3e-7 of Phi, x Phi within
// 1e-7 of the greater of 1 and |x|. The polynomial is summed in pairs, see vec_math.h.
template <class V> struct Gelu {
  static V cdf(V x) {
    if constexpr (std::is_same_v<V, double>) return 0.5 * ::erfc(x * -0.70710678118654752);
    else {
      vf t = min(set(11), abs(x)), t2 = t * t;  // 2^-170 and all below are 0
      vf p0 = fma(set(0x1.d62e9cp-2f), t, set(0x1.26af36p+0f)), p2 = fma(set(-0x1.dad6p-8f), t, set(0x1.af201ap-5f));
      vf p4 = fma(set(0x1.13b818p-13f), t, set(0x1.1d4adap-12f)), p6 = fma(set(0x1.fe94dcp-20f), t, set(-0x1.d6b79p-16f));
      vf p = fma(fma(p6, t2, p4), t2 * t2, fma(p2, t2, p0));
      vf half = exp2(fnma(t, p, set(-1)));
      return select(x < zero(), half, set(1) - half);
    }
  }
  static V pdf(V x) {
    if constexpr (std::is_same_v<V, double>) return 0.39894228040143268 * exp(-0.5 * x * x);
    else return set(0.39894228040143268f) * exp2_nonpositive(set(-0.72134752044448170f) * x * x);
  }
};

template <class V> struct GeluTanh {  // (1 + tanh u) / 2 = sigmoid(2 u) with u = sqrt(2 / pi) (x + 0.044715 x^3)
  static constexpr double k = 2 * 0.79788456080286536;
  static V gate(V x) { return sigmoid(x * fma(constant<V>(k * 0.044715), x * x, constant<V>(k))); }
  static V slope(V x) { return fma(constant<V>(3 * k * 0.044715), x * x, constant<V>(k)); }  // of 2 u
};

template <UnaryOp op, class V> inline auto apply(V x, [[maybe_unused]] V a, [[maybe_unused]] V b) {
  using Op = UnaryOp;
  [[maybe_unused]] const V one = constant<V>(1);
  // clang-format off
  if constexpr (op == Op::affine) return fma(a, x, b);
  else if constexpr (op == Op::abs) return abs(x);
  else if constexpr (op == Op::square) return x * x;
  else if constexpr (op == Op::relu) return max(constant<V>(0), x);  // NaN passes: max gives its second argument
  else if constexpr (op == Op::clamp) return minimum(b, maximum(a, x));
  else if constexpr (op == Op::floor) return floor(x);
  else if constexpr (op == Op::ceil) return ceil(x);
  else if constexpr (op == Op::round) return round(x);
  else if constexpr (op == Op::sign) return sign(x);
  else if constexpr (op == Op::logical_not) return x == constant<V>(0);
  else if constexpr (op == Op::isnan) return is_nan(x);
  else if constexpr (!is_real<V>) return Unserved{};
  else if constexpr (op == Op::sqrt) return sqrt(x);
  else if constexpr (op == Op::rsqrt) return one / sqrt(x);
  else if constexpr (op == Op::reciprocal) return one / x;
  else if constexpr (op == Op::exp) return exp(x);
  else if constexpr (op == Op::expm1) return expm1(x);
  else if constexpr (op == Op::log) return log(x);
  else if constexpr (op == Op::log1p) return log1p(x);
  else if constexpr (op == Op::sin) return sin(x);
  else if constexpr (op == Op::cos) return cos(x);
  else if constexpr (op == Op::tanh) return tanh(x);
  else if constexpr (op == Op::sigmoid) return sigmoid(x);
  else if constexpr (op == Op::leaky_relu) return select(constant<V>(0) < x, x, a * x);
  else if constexpr (op == Op::erf) return erf(x);
  else if constexpr (op == Op::gelu) return x * Gelu<V>::cdf(x);
  else if constexpr (op == Op::gelu_tanh) return x * GeluTanh<V>::gate(x);
  else if constexpr (op == Op::silu) return x * sigmoid(x);
  else if constexpr (op == Op::softplus) {
    return max(constant<V>(0), x) + log1p(exp(constant<V>(0) - abs(x)));
  }
  else if constexpr (op == Op::pow) return pow(x, a);
  else return Unserved{};
  // clang-format on
}

template <BinaryOp op, class V> inline auto apply(V a, V b) {
  using Op = BinaryOp;
  [[maybe_unused]] const V one = constant<V>(1);
  // clang-format off
  if constexpr (op == Op::add) return a + b;
  else if constexpr (op == Op::sub) return a - b;
  else if constexpr (op == Op::mul) return a * b;
  else if constexpr (op == Op::div) return a / b;
  else if constexpr (op == Op::maximum) return maximum(a, b);
  else if constexpr (op == Op::minimum) return minimum(a, b);
  else if constexpr (op == Op::eq) return a == b;
  else if constexpr (op == Op::ne) return !(a == b);
  else if constexpr (op == Op::lt) return a < b;
  else if constexpr (op == Op::le) return a <= b;
  else if constexpr (op == Op::gt) return b < a;
  else if constexpr (op == Op::ge) return b <= a;
  else if constexpr (op == Op::relu_grad) return select(a <= constant<V>(0), constant<V>(0), b);  // NaN passes
  else if constexpr (!is_real<V>) {
    if constexpr (op == Op::logical_and) return a.v != 0 && b.v != 0;
    else if constexpr (op == Op::logical_or) return a.v != 0 || b.v != 0;
    else return Unserved{};
  }
  else if constexpr (op == Op::pow) return pow(a, b);
  else if constexpr (op == Op::tanh_grad) return (one - a * a) * b;
  else if constexpr (op == Op::sigmoid_grad) return a * (one - a) * b;
  else if constexpr (op == Op::gelu_grad) return fma(a, Gelu<V>::pdf(a), Gelu<V>::cdf(a)) * b;
  else if constexpr (op == Op::gelu_tanh_grad) {
    V gate = GeluTanh<V>::gate(a);
    return fma(a * GeluTanh<V>::slope(a), gate * (one - gate), gate) * b;
  }
  else if constexpr (op == Op::silu_grad) {
    V gate = sigmoid(a);
    return fma(a, gate * (one - gate), gate) * b;
  }
  else return Unserved{};
  // clang-format on
}

constexpr bool writes_boolean(UnaryOp op) { return op == UnaryOp::logical_not || op == UnaryOp::isnan; }
constexpr bool writes_boolean(BinaryOp op) { return op >= BinaryOp::eq && op <= BinaryOp::logical_or; }

// ------------------------------------------------------------------ results: numbers, or truth values as bytes

template <class R> constexpr bool is_truth = std::is_same_v<R, vm> || std::is_same_v<R, bool>;

template <class F, class R> inline void put(void* out, int64_t i, R result) {
  if constexpr (is_truth<R>) store_bool(static_cast<uint8_t*>(out) + i, result);
  else F::store(static_cast<typename F::T*>(out) + i, result);
}
template <class F, class R> inline void put(void* out, int64_t i, R result, int64_t n) {
  if constexpr (is_truth<R>) {
    uint8_t all[F::step];
    store_bool(all, result);
    for (int64_t k = 0; k < n; k++) static_cast<uint8_t*>(out)[i + k] = all[k];
  } else {
    F::store(static_cast<typename F::T*>(out) + i, result, n);
  }
}

// ------------------------------------------------------------------ unary

// Whether rows of this format and result are asked for: where each step takes a vector and gives one as long.
template <class F, class R> constexpr bool can_ask = F::step > 1 && !is_truth<R>;

template <UnaryOp op, DType type> void unary_row(const void* x_, void* y, int64_t n, double a_, double b_, bool far) {
  using F = Format<type>;
  using V = typename F::V;
  const auto* x = static_cast<const typename F::T*>(x_);
  const V a = constant<V>(a_), b = constant<V>(b_);
  int64_t i = 0;
  if constexpr (can_ask<F, decltype(apply<op>(a, a, b))>) {
    for (; far && i + F::step <= n; i += F::step) {
      ask(at(x + i, ahead));
      ask(at(static_cast<typename F::T*>(y) + i, ahead));
      put<F>(y, i, apply<op>(F::load(x + i), a, b));
    }
  }
  for (; i + F::step <= n; i += F::step) put<F>(y, i, apply<op>(F::load(x + i), a, b));
  if constexpr (F::step > 1) {
    if (i < n) put<F>(y, i, apply<op>(F::load(x + i, n - i), a, b), n - i);
  }
}

template <UnaryOp op, DType type> constexpr UnaryRow unary_entry() {
  using V = typename Format<type>::V;
  if constexpr (std::is_same_v<decltype(apply<op>(V{}, V{}, V{})), Unserved>) return nullptr;
  else if constexpr (type == DType::boolean && op != UnaryOp::logical_not && op != UnaryOp::isnan) return nullptr;
  else return unary_row<op, type>;
}

template <class Entry, class Op> struct Table { Entry entry[static_cast<int>(Op::count_)][dtype_count]; };

template <size_t... i> constexpr Table<UnaryRow, UnaryOp> unary_table(std::index_sequence<i...>) {
  Table<UnaryRow, UnaryOp> t{};
  ((t.entry[i / dtype_count][i % dtype_count] =
        unary_entry<static_cast<UnaryOp>(i / dtype_count), static_cast<DType>(i % dtype_count)>()),
   ...);
  return t;
}
constexpr auto unary_rows = unary_table(std::make_index_sequence<static_cast<size_t>(UnaryOp::count_) * dtype_count>{});

// A constant that int32 arithmetic takes as it is.
bool is_whole(double x) { return abs(x) <= 2147483648.0 && x == round(x); }

bool unary(UnaryOp op, DType type, const void* x, void* y, int64_t n, double a, double b) {
  if (op == UnaryOp::pow) {
    if (a == 2) op = UnaryOp::square;
    if (a == 0.5) op = UnaryOp::sqrt;
    if (a == -0.5) op = UnaryOp::rsqrt;
    if (a == -1) op = UnaryOp::reciprocal;
  }
  UnaryRow row = unary_row_of(op, type);
  if (!row) return false;
  if (type == DType::int32 || type == DType::uint8) {
    double least = type == DType::uint8 ? 0 : -2147483648.0, most = type == DType::uint8 ? 255 : 2147483647.0;
    if (op == UnaryOp::clamp) a = min(max(a, least), most), b = min(max(b, least), most);  // a bound may be infinite
    if ((op == UnaryOp::affine || op == UnaryOp::clamp) && !(is_whole(a) && is_whole(b))) return false;
  }
  int64_t in = size_of(type), out = writes_boolean(op) ? 1 : in;
  parallel_ranges(n, grain,
                  [=](int64_t begin, int64_t end) { row(at(x, begin * in), at(y, begin * out), end - begin, a, b, true); });
  return true;
}

// ------------------------------------------------------------------ operands of a broadcasting kernel

// One operand in the current row. `take` gives n items from position i on: in place where they are contiguous or one
// repeated item (then step is 0), else gathered into the buffer.
template <int64_t most_bytes> struct Operand {
  const void* base;
  int64_t size, stride, step;
  alignas(64) char buffer[buffer_items * most_bytes];

  Operand(const void* base_, int64_t size_, int64_t stride_) : base(base_), size(size_), stride(stride_), step(stride_ != 0) {}

  const void* take(int64_t offset, int64_t i, int64_t n) {
    const char* from = at(base, (offset + i * stride) * size);
    if (stride == 0 || stride == 1) return from;
    switch (size) {
      case 1: gather<uint8_t>(from, n); break;
      case 2: gather<uint16_t>(from, n); break;
      case 4: gather<uint32_t>(from, n); break;
      default: gather<uint64_t>(from, n);
    }
    return buffer;
  }

 private:
  template <class T> void gather(const void* from, int64_t n) {
    for (int64_t i = 0; i < n; i++) reinterpret_cast<T*>(buffer)[i] = static_cast<const T*>(from)[i * stride];
  }
};

inline bool in_place(int64_t stride) { return stride == 0 || stride == 1; }

// ------------------------------------------------------------------ binary

template <BinaryOp op, DType type, bool repeat_a, bool repeat_b, bool far = false>
inline void binary_loop(const void* a_, const void* b_, void* out, int64_t n) {
  using F = Format<type>;
  using V = typename F::V;
  const auto *a = static_cast<const typename F::T*>(a_), *b = static_cast<const typename F::T*>(b_);
  const V all_a = F::spread(*a), all_b = F::spread(*b);
  int64_t i = 0;
  for (; i + F::step <= n; i += F::step) {
    if constexpr (far && op >= BinaryOp::tanh_grad && can_ask<F, decltype(apply<op>(all_a, all_b))>) {  // add gains nothing
      ask(at(a + i, ahead));
      ask(at(b + i, ahead));
      ask(at(static_cast<typename F::T*>(out) + i, ahead));
    }
    put<F>(out, i, apply<op>(repeat_a ? all_a : F::load(a + i), repeat_b ? all_b : F::load(b + i)));
  }
  if constexpr (F::step > 1) {
    int64_t rest = n - i;
    if (rest > 0)
      put<F>(out, i, apply<op>(repeat_a ? all_a : F::load(a + i, rest), repeat_b ? all_b : F::load(b + i, rest)), rest);
  }
}

template <BinaryOp op, DType type>
void binary_row(const void* a, bool repeat_a, const void* b, bool repeat_b, void* out, int64_t n, bool far) {
  if (!repeat_a && !repeat_b && far) binary_loop<op, type, false, false, true>(a, b, out, n);
  else if (!repeat_a && !repeat_b) binary_loop<op, type, false, false>(a, b, out, n);
  else if (!repeat_a) binary_loop<op, type, false, true>(a, b, out, n);
  else if (!repeat_b) binary_loop<op, type, true, false>(a, b, out, n);
  else binary_loop<op, type, true, true>(a, b, out, n);
}

template <BinaryOp op, DType type> constexpr BinaryRow binary_entry() {
  using V = typename Format<type>::V;
  constexpr bool logical = op == BinaryOp::logical_and || op == BinaryOp::logical_or;
  if constexpr (std::is_same_v<decltype(apply<op>(V{}, V{})), Unserved>) return nullptr;
  else if constexpr (logical && type != DType::boolean && type != DType::uint8) return nullptr;
  else if constexpr (type == DType::boolean && !writes_boolean(op) && op != BinaryOp::maximum && op != BinaryOp::minimum)
    return nullptr;
  else return binary_row<op, type>;
}

template <size_t... i> constexpr Table<BinaryRow, BinaryOp> binary_table(std::index_sequence<i...>) {
  Table<BinaryRow, BinaryOp> t{};
  ((t.entry[i / dtype_count][i % dtype_count] =
        binary_entry<static_cast<BinaryOp>(i / dtype_count), static_cast<DType>(i % dtype_count)>()),
   ...);
  return t;
}
constexpr auto binary_rows = binary_table(std::make_index_sequence<static_cast<size_t>(BinaryOp::count_) * dtype_count>{});

bool binary(BinaryOp op, DType type, const Space& given, const void* a, const void* b, void* out) {
  BinaryRow row = binary_row_of(op, type);
  if (!row) return false;
  const Space s = collapse<2>(given);
  int64_t in_size = size_of(type), out_size = writes_boolean(op) ? 1 : in_size;
  int64_t stride_a = s.stride[0][s.rank - 1], stride_b = s.stride[1][s.rank - 1];
  bool direct = in_place(stride_a) && in_place(stride_b);
  parallel_ranges(count(s), grain, [&](int64_t begin, int64_t end) {
    char* to = at(out, begin * out_size);
    if (direct) {
      for_each_row<2>(s, begin, end, [&](const int64_t* offset, int64_t n) {
        row(at(a, offset[0] * in_size), !stride_a, at(b, offset[1] * in_size), !stride_b, to, n, true);
        to += n * out_size;
      });
      return;
    }
    Operand<8> operand_a(a, in_size, stride_a), operand_b(b, in_size, stride_b);
    for_each_row<2>(s, begin, end, [&](const int64_t* offset, int64_t n) {
      for (int64_t i = 0; i < n; i += buffer_items) {
        int64_t part = smaller(n - i, buffer_items);
        row(operand_a.take(offset[0], i, part), !stride_a, operand_b.take(offset[1], i, part), !stride_b, to, part, false);
        to += part * out_size;
      }
    });
  });
  return true;
}

// ------------------------------------------------------------------ where: by size of the item

template <class T>
void where_row(const uint8_t* condition, const T* a, int64_t step_a, const T* b, int64_t step_b, T* out, int64_t n) {
  auto loop = [=](auto get_a, auto get_b) {
    for (int64_t i = 0; i < n; i++) {
      T x = get_a(i), y = get_b(i);  // both are read, so that the loop has no branch
      out[i] = condition[i] ? x : y;
    }
  };
  auto run_a = [=](int64_t i) { return a[i]; };
  auto run_b = [=](int64_t i) { return b[i]; };
  auto one_a = [x = *a](int64_t) { return x; };
  auto one_b = [x = *b](int64_t) { return x; };
  if (step_a && step_b) loop(run_a, run_b);
  else if (step_a) loop(run_a, one_b);
  else if (step_b) loop(one_a, run_b);
  else loop(one_a, one_b);
}

template <class T> void where_all(const Space& s, const uint8_t* condition, const void* a, const void* b, void* out) {
  int last = s.rank - 1;
  parallel_ranges(count(s), grain, [&](int64_t begin, int64_t end) {
    T* to = static_cast<T*>(out) + begin;
    Operand<8> operand_a(a, sizeof(T), s.stride[1][last]), operand_b(b, sizeof(T), s.stride[2][last]);
    Operand<1> mask(condition, 1, s.stride[0][last]);
    alignas(64) uint8_t repeated[buffer_items];
    for_each_row<3>(s, begin, end, [&](const int64_t* offset, int64_t n) {
      for (int64_t i = 0; i < n; i += buffer_items) {
        int64_t part = smaller(n - i, buffer_items);
        const auto* bytes = static_cast<const uint8_t*>(mask.take(offset[0], i, part));
        if (mask.step == 0) bytes = static_cast<uint8_t*>(std::memset(repeated, *bytes, static_cast<size_t>(part)));
        where_row<T>(bytes, static_cast<const T*>(operand_a.take(offset[1], i, part)), operand_a.step,
                     static_cast<const T*>(operand_b.take(offset[2], i, part)), operand_b.step, to, part);
        to += part;
      }
    });
  });
}

bool where(DType type, const Space& given, const uint8_t* condition, const void* a, const void* b, void* out) {
  const Space s = collapse<3>(given);
  switch (size_of(type)) {
    case 1: where_all<uint8_t>(s, condition, a, b, out); break;
    case 2: where_all<uint16_t>(s, condition, a, b, out); break;
    case 4: where_all<uint32_t>(s, condition, a, b, out); break;
    default: where_all<uint64_t>(s, condition, a, b, out);
  }
  return true;
}

// ------------------------------------------------------------------ fill

// Beyond what the caches hold the line is written past them: it need not be read first, which is half the traffic.
constexpr int64_t streamed_bytes = 32 << 20;

template <class T> void fill_with(void* y, int64_t n, T value) {
  constexpr int64_t line = sizeof(vf) / sizeof(T);
  T pattern[line];
  for (T& item : pattern) item = value;
  vf all;
  std::memcpy(&all, pattern, sizeof all);
  bool streams = n * int64_t{sizeof(T)} >= streamed_bytes;
  parallel_ranges(n, grain, [=](int64_t begin, int64_t end) {
    T *to = static_cast<T*>(y) + begin, *stop = static_cast<T*>(y) + end;
    if (streams) {
      while (to < stop && reinterpret_cast<uintptr_t>(to) % sizeof(vf) != 0) *to++ = value;
      for (; stop - to >= line; to += line) stream(reinterpret_cast<float*>(to), all);
      end_stream();
    }
    while (to < stop) *to++ = value;
  });
}

bool fill(DType type, void* y, int64_t n, double value) {
  switch (type) {
    case DType::float32: fill_with(y, n, static_cast<float>(value)); break;
    case DType::float64: fill_with(y, n, value); break;
    case DType::float16: fill_with(y, n, float_to_half(static_cast<float>(value))); break;
    case DType::bfloat16: fill_with(y, n, float_to_bf16(static_cast<float>(value))); break;
    case DType::int32: fill_with(y, n, to_integer<int32_t>(value)); break;
    case DType::uint8: fill_with(y, n, to_integer<uint8_t>(value)); break;
    case DType::boolean: fill_with(y, n, static_cast<uint8_t>(value != 0)); break;
  }
  return true;
}

}  // namespace

UnaryRow unary_row_of(UnaryOp op, DType type) { return unary_rows.entry[static_cast<int>(op)][static_cast<int>(type)]; }
BinaryRow binary_row_of(BinaryOp op, DType type) { return binary_rows.entry[static_cast<int>(op)][static_cast<int>(type)]; }

void register_elementwise(KernelTable& table) {
  table.unary = unary;
  table.binary = binary;
  table.where = where;
  table.fill = fill;
}

}  // namespace tsgpt::TSGPT_NS
