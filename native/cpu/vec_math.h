// Elementary functions on the vectors of simd.h. Each reduces its argument to a short interval, evaluates a minimax
// polynomial there (coefficients by the Remez exchange in 40-digit arithmetic, rounded to float32) and scales back,
// without a branch (sin and cos have one, for arguments beyond 8192). Written so that both a fused and a two-step
// fma stay within the stated errors; infinities, NaN, zeros and subnormals are correct unless a line says otherwise.
// The hot ones (the exponentials) join pairs of coefficients first (Estrin's scheme): a chain of dependent operations
// is what limits them, a processor has room for only so many waiting ones.
//
// Greatest errors in units in the last place of the float32 result (native/test/vec_math.cpp 509, all 2^32 floats in
// steps of 509), with a fused fma | without: exp 0.9 | 1.2, exp_nonpositive 0.9 | 1.2, exp2_nonpositive 1.0 | 1.2, log and
// log1p 0.8, expm1 1.4, erf 1.7 | 1.9, sin and cos 2.1, sigmoid 2.2 | 2.3, tanh 2.5.
#pragma once

#include "simd.h"

namespace tsgpt::TSGPT_NS {

// Adding round_magic to |x| < 2^22 leaves x rounded to the nearest integer in the low bits of the sum's mantissa.
constexpr float round_magic = 0x1.8p23f;

constexpr float log2_e = 0x1.715476p+0f;
constexpr float ln2_high = 0x1.63p-1f;  // 9 bits: an exponent times it is exact
constexpr float ln2_low = -0x1.bd0106p-13f;
constexpr float infinity = __builtin_inff();

// 2^n for integral n in [-126, 127].
inline vf power_of_two(vf n) { return as_float(shift_left<23>(bits(n + set(round_magic + 127)))); }

// p * 2^n for integral n in [-252, 252], rounded once where the result is subnormal.
inline vf scale(vf p, vf n) {
#if defined(__AVX512F__)
  return {_mm512_scalef_ps(p.v, n.v)};
#else
  vf half = fma(n, set(0.5f), set(round_magic)) - set(round_magic);
  return p * power_of_two(half) * power_of_two(n - half);
#endif
}

// The part of exp and expm1 that they share: x = n ln 2 + r, |r| <= ln 2 / 2 (|x| < 2^13).
inline vf reduce_ln2(vf x, vf& n) {
  n = fma(x, set(log2_e), set(round_magic)) - set(round_magic);
  return fnma(n, set(ln2_low), fnma(n, set(ln2_high), x));
}

// (e^r - 1 - r) / r^2 for |r| <= ln 2 / 2
inline vf exp_tail(vf r) {
  vf r2 = r * r;
  vf low = fma(set(0x1.555492p-3f), r, set(0x1.fffffcp-2f)), high = fma(set(0x1.1239e2p-7f), r, set(0x1.5558f2p-5f));
  return fma(fma(set(0x1.6a2434p-10f), r2, high), r2, low);
}

inline vf exp(vf x) {
  vf n, r = reduce_ln2(max(set(-104.0f), min(set(89.0f), x)), n);
  return scale(fma(fma(exp_tail(r), r, set(1)), r, set(1)), n);
}

// e^x for x <= 0 (or NaN), the exponential of softmax: one scaling step; results below 2^-126 become 0.
inline vf exp_nonpositive(vf x) {
  vf t = fma(x, set(log2_e), set(round_magic + 127)), n = t - set(round_magic + 127);
  vf r = fnma(n, set(ln2_low), fnma(n, set(ln2_high), x));
  vf y = fma(fma(exp_tail(r), r, set(1)), r, set(1)) * as_float(shift_left<23>(bits(t)));
  return select(x < set(-0x1.5d589ep+6f), zero(), y);
}

// 2^r for |r| <= 1/2
inline vf exp2_reduced(vf r) {
  vf r2 = r * r;
  vf low = fma(set(0x1.ebfbdcp-3f), r, set(0x1.62e430p-1f)), high = fma(set(0x1.3b2d4ep-7f), r, set(0x1.c6aee8p-5f));
  vf top = fma(set(0x1.41fbb8p-13f), r, set(0x1.5f3e58p-10f));
  return fma(fma(fma(top, r2, high), r2, low), r, set(1));
}

// 2^x for x <= 0 (or NaN), for attention weights: results below 2^-100 become 0. Beside a sum of at least 1 they are
// nothing, and the weights' products with gradients stay out of the slow subnormal numbers.
inline vf exp2_nonpositive(vf x) {
  vf t = x + set(round_magic + 127), r = x - (t - set(round_magic + 127));
  vf y = exp2_reduced(r) * as_float(shift_left<23>(bits(t)));
  return select(x < set(-100.0f), zero(), y);
}

// 2^x for x in [-252, 252] (or NaN).
inline vf exp2(vf x) {
  vf n = round(x);
  return scale(exp2_reduced(x - n), n);
}

inline vf expm1(vf x) {
  vf n, r = reduce_ln2(max(set(-25.0f), min(set(88.8f), x)), n);
  vf q = fma(set(0x1.6d71f8p-10f), r, set(0x1.11118ap-7f));
  q = fma(fma(set(0x1.a032c0p-13f), r * r, q), r, set(0x1.5554b2p-5f));
  q = fma(q, r, set(0x1.555554p-3f));
  q = fma(q, r, set(0.5f));
  vf p = fma(q, r * r, r);          // e^r - 1
  vf s = power_of_two(n - set(1));  // half of 2^n, which for n = 128 would overflow
  vf y = fma(s, p, s - set(0.5f));
  return select(abs(x) < set(0x1p-30f), x, y + y);  // keeps the sign of zero and the subnormals
}

// ln(1 + f) + tail for 1 + f in [sqrt(1/2), sqrt(2)], plus k ln 2
inline vf log_reduced(vf f, vf k, vf tail) {
  vf q = fma(set(0x1.1457dap-4f), f, set(-0x1.de3c50p-4f));
  q = fma(q, f, set(0x1.e6f074p-4f));
  q = fma(q, f, set(-0x1.fc21fep-4f));
  q = fma(q, f, set(0x1.233766p-3f));
  q = fma(q, f, set(-0x1.555c4ep-3f));
  q = fma(q, f, set(0x1.99a4b6p-3f));
  q = fma(q, f, set(-0x1.000006p-2f));
  q = fma(q, f, set(0x1.555548p-2f));
  vf f2 = f * f;
  vf y = fma(q * f, f2, fma(k, set(ln2_low), tail));
  return fma(k, set(ln2_high), f + fnma(set(0.5f), f2, y));
}

// Splits a positive normal x into m 2^k, m in [sqrt(1/2), sqrt(2)).
inline vf split_exponent(vf x, vf& k) {
  vi shifted = bits(x) + set_int(0x3f800000 - 0x3f3504f3);
  k = to_float(shift_right<23>(shifted) - set_int(127));
  return as_float((shifted & set_int(0x7fffff)) + set_int(0x3f3504f3));
}

// The results of log outside (0, infinity), for an argument x of the logarithm and a finite result y.
inline vf log_special(vf x, vf y) {
  y = select(x < set(infinity), y, x);  // infinity and NaN
  y = select(x == zero(), set(-infinity), y);
  return select(x < zero(), set(__builtin_nanf("")), y);
}

inline vf log(vf x) {
  vm tiny = x < set(0x1p-126f);
  vf k, m = split_exponent(select(tiny, x * set(0x1p23f), x), k);
  return log_special(x, log_reduced(m - set(1), select(tiny, k - set(23), k), zero()));
}

inline vf log1p(vf x) {
  vf u = x + set(1);
  vf k, m = split_exponent(u, k);
  vm near = k == zero();  // 1 + f is x + 1 itself: no rounding error to put back
  vf lost = select(u < set(4), x - (u - set(1)), set(1) - (u - x));
  vf y = log_reduced(select(near, x, m - set(1)), k, select(near, zero(), lost / u));
  return select(abs(x) < set(0x1p-30f), x, log_special(u, y));
}

// 1 / (1 + e^-x), from e^-|x| so that nothing overflows.
inline vf sigmoid(vf x) {
  vf e = exp(negate(abs(x)));
  return select(x < zero(), e, set(1)) / (set(1) + e);
}

// tanh |x| = -m / (m + 2) with m = e^(-2 |x|) - 1, which keeps small arguments exact.
inline vf tanh(vf x) {
  vf m = expm1(set(-2) * abs(x));
  vf y = m / (m + set(2));  // -tanh |x|
  return as_float((bits(y) & set_int(0x7fffffff)) | (bits(x) & set_int(INT32_MIN)));
}

// erf t = 1 - e^(-t q(t)) with q(t) = -ln(erfc t) / t, a smooth function, for 0 <= t; 1 from 3.925 on.
inline vf erf(vf x) {
  vf t = min(set(3.925f), abs(x));
  vf q = fma(set(-0x1.369676p-17f), t, set(0x1.ed6c12p-14f));
  q = fma(q, t, set(-0x1.4bc9ccp-11f));
  q = fma(q, t, set(0x1.b50034p-10f));
  q = fma(q, t, set(-0x1.505f10p-13f));
  q = fma(q, t, set(-0x1.39cdc6p-6f));
  q = fma(q, t, set(0x1.a4fa5ep-4f));
  q = fma(q, t, set(0x1.45f2fap-1f));
  q = fma(q, t, set(0x1.06eba8p-3f));  // less one: t q = t + t (q - 1) rounds once
  vf y = expm1(negate(fma(t, q, t)));  // -erf |x|
  return as_float((bits(y) & set_int(0x7fffffff)) | (bits(x) & set_int(INT32_MIN)));
}

// sin (quadrant 0) and cos (quadrant 1): x = k pi/2 + r, |r| <= pi/4, pi/2 in four parts whose first three products with
// k are exact up to 2^13; larger arguments go to the C library, lane by lane.
inline vf sin_shifted(vf x, int32_t quadrant) {
  constexpr float limit = 8192;
  if (any(set(limit) < abs(x))) {
    float lanes[width];
    store(lanes, x);
    for (float& lane : lanes) lane = quadrant ? std::cos(lane) : std::sin(lane);
    return load(lanes);
  }
  vf t = fma(x, set(0x1.45f306p-1f), set(round_magic)), k = t - set(round_magic);
  vf r = fnma(k, set(0x1.92p+0f), x);
  r = fnma(k, set(0x1.fb4p-12f), r);
  r = fnma(k, set(0x1.444p-24f), r);
  r = fnma(k, set(0x1.68c234p-39f), r);
  vi turn = bits(t) + set_int(quadrant);
  vf z = r * r;
  vf s = fma(set(-0x1.994cfap-13f), z, set(0x1.11075cp-7f));
  s = fma(fma(s, z, set(-0x1.555546p-3f)), r * z, r);
  vf c = fma(set(0x1.9a00cep-16f), z, set(-0x1.6c0c86p-10f));
  c = fma(fma(c, z, set(0x1.55554ap-5f)), z * z, fnma(set(0.5f), z, set(1)));
  vf y = select(zero() < to_float(turn & set_int(1)), c, s);
  return as_float(bits(y) ^ shift_left<30>(turn & set_int(2)));
}
inline vf sin(vf x) { return sin_shifted(x, 0); }
inline vf cos(vf x) { return sin_shifted(x, 1); }

}  // namespace tsgpt::TSGPT_NS
