// Philox 4x32-10, the counter-based generator (Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, 2011): block n
// of a seed's stream is a function of (seed, n) alone. The stream's number at position p is word p % 4 of block p / 4,
// so a kernel can start anywhere and results do not depend on how the work is cut.
// Counter: the block number in words 0 and 1, zeros in words 2 and 3. Key: the seed, low word first.
#pragma once

#include "simd.h"

namespace tsgpt::TSGPT_NS {

constexpr uint32_t philox_multiplier_0 = 0xD2511F53, philox_multiplier_1 = 0xCD9E8D57;
constexpr uint32_t philox_step_0 = 0x9E3779B9, philox_step_1 = 0xBB67AE85;

// One 32-bit word in each 64-bit lane; the upper halves may hold leftovers, which mul_low ignores.
#if defined(__AVX512F__)
typedef uint64_t philox_lanes __attribute__((vector_size(64)));
inline philox_lanes mul_low(philox_lanes a, uint32_t b) {
  return (philox_lanes)_mm512_mul_epu32((__m512i)a, _mm512_set1_epi64(b));
}
#elif defined(__AVX2__)
typedef uint64_t philox_lanes __attribute__((vector_size(32)));
inline philox_lanes mul_low(philox_lanes a, uint32_t b) {
  return (philox_lanes)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x(b));
}
#else
typedef uint64_t philox_lanes __attribute__((vector_size(16)));
inline philox_lanes mul_low(philox_lanes a, uint32_t b) {
  return philox_lanes{(a[0] & 0xffffffff) * b, (a[1] & 0xffffffff) * b};
}
#endif

constexpr int64_t philox_batch = 64;  // numbers made at a time: 16 blocks, enough to cover the multiplier's latency

// The philox_batch numbers at positions 4 * block and following.
inline void philox_blocks(uint64_t seed, uint64_t block, uint32_t* out) {
  constexpr int lanes = sizeof(philox_lanes) / 8, chains = 16 / lanes;
  uint64_t low[16], high[16];
  for (int i = 0; i < 16; i++) {
    low[i] = block + i;
    high[i] = (block + i) >> 32;
  }
  philox_lanes c0[chains], c1[chains], c2[chains] = {}, c3[chains] = {};
  std::memcpy(c0, low, sizeof c0);
  std::memcpy(c1, high, sizeof c1);
  uint32_t key_0 = static_cast<uint32_t>(seed), key_1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; round++) {
#pragma GCC unroll 8
    for (int i = 0; i < chains; i++) {
      philox_lanes p0 = mul_low(c0[i], philox_multiplier_0), p1 = mul_low(c2[i], philox_multiplier_1);
      c0[i] = (p1 >> 32) ^ c1[i] ^ key_0;
      c2[i] = (p0 >> 32) ^ c3[i] ^ key_1;
      c1[i] = p1;
      c3[i] = p0;
    }
    key_0 += philox_step_0;
    key_1 += philox_step_1;
  }
  for (int i = 0; i < chains; i++) {
    philox_lanes pair_0 = (c0[i] & 0xffffffff) | (c1[i] << 32), pair_1 = (c2[i] & 0xffffffff) | (c3[i] << 32);
    for (int lane = 0; lane < lanes; lane++) {
      uint64_t pairs[2] = {pair_0[lane], pair_1[lane]};
      std::memcpy(out + 4 * (i * lanes + lane), pairs, 16);
    }
  }
}

// The n numbers at positions `position` and following.
inline void philox_words(uint64_t seed, uint64_t position, uint32_t* out, int64_t n) {
  int64_t skip = static_cast<int64_t>(position % 4);
  for (uint64_t block = position / 4; n > 0; block += philox_batch / 4) {
    if (skip == 0 && n >= philox_batch) {
      philox_blocks(seed, block, out);
      out += philox_batch, n -= philox_batch;
      continue;
    }
    uint32_t words[philox_batch];
    philox_blocks(seed, block, words);
    int64_t take = n < philox_batch - skip ? n : philox_batch - skip;
    std::memcpy(out, words + skip, static_cast<size_t>(take) * 4);
    out += take, n -= take;
    skip = 0;
  }
}

inline vi load_words(const uint32_t* p) {
  vi words;
  std::memcpy(&words, p, sizeof words);
  return words;
}

// A uniform number in [0, 1) from each word: its upper 24 bits, all of which a float32 holds.
inline vf philox_uniform(vi words) { return to_float(shift_right<8>(words)) * set(0x1p-24f); }

}  // namespace tsgpt::TSGPT_NS
