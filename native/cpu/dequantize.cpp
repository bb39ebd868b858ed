// Blocks of quantized weights, as GGUF files hold them, to numbers. A block is a few scales and as many small integers
// as fit; the layouts are those of ggml (ggml-quants.c, its `dequantize_row_*`), and each number is computed by the same
// operations in the same order, so it has the same bits. Models are dequantized once, when they are loaded: the code is
// plain, and left to the compiler's vectorizer.
#include "../kernels.h"
#include "formats.h"
#include "simd.h"

namespace tsgpt::TSGPT_NS {
namespace {

constexpr int64_t grain = 16384;  // numbers of one task
constexpr int most = 256;         // numbers of the greatest block

inline float half_at(const uint8_t* p) { return half_to_float(static_cast<uint16_t>(p[0] | p[1] << 8)); }
inline uint32_t word_at(const uint8_t* p) {
  return p[0] | static_cast<uint32_t>(p[1]) << 8 | static_cast<uint32_t>(p[2]) << 16 | static_cast<uint32_t>(p[3]) << 24;
}
inline int low(uint8_t byte) { return byte & 15; }
inline int high(uint8_t byte) { return byte >> 4; }

// ------------------------------------------------------------------ blocks of 32: low nibbles first, then high ones

void q4_0(const uint8_t* x, float* y) {
  const float d = half_at(x);
  const uint8_t* q = x + 2;
  for (int i = 0; i < 16; i++) {
    y[i] = static_cast<float>(low(q[i]) - 8) * d;
    y[i + 16] = static_cast<float>(high(q[i]) - 8) * d;
  }
}

void q4_1(const uint8_t* x, float* y) {
  const float d = half_at(x), m = half_at(x + 2);
  const uint8_t* q = x + 4;
  for (int i = 0; i < 16; i++) {
    y[i] = static_cast<float>(low(q[i])) * d + m;
    y[i + 16] = static_cast<float>(high(q[i])) * d + m;
  }
}

// The fifth bits of all 32 numbers are one word.
void q5_0(const uint8_t* x, float* y) {
  const float d = half_at(x);
  const uint32_t fifth = word_at(x + 2);
  const uint8_t* q = x + 6;
  for (int i = 0; i < 16; i++) {
    y[i] = static_cast<float>((low(q[i]) | static_cast<int>(fifth >> i & 1) << 4) - 16) * d;
    y[i + 16] = static_cast<float>((high(q[i]) | static_cast<int>(fifth >> (i + 16) & 1) << 4) - 16) * d;
  }
}

void q5_1(const uint8_t* x, float* y) {
  const float d = half_at(x), m = half_at(x + 2);
  const uint32_t fifth = word_at(x + 4);
  const uint8_t* q = x + 8;
  for (int i = 0; i < 16; i++) {
    y[i] = static_cast<float>(low(q[i]) | static_cast<int>(fifth >> i & 1) << 4) * d + m;
    y[i + 16] = static_cast<float>(high(q[i]) | static_cast<int>(fifth >> (i + 16) & 1) << 4) * d + m;
  }
}

void q8_0(const uint8_t* x, float* y) {
  const float d = half_at(x);
  for (int i = 0; i < 32; i++) y[i] = static_cast<float>(static_cast<int8_t>(x[2 + i])) * d;
}

// ------------------------------------------------------------------ blocks of 256 with scales of their parts

// 16 parts, each with a scale and a minimum of four bits; numbers of two bits, 32 bytes for 128 of them.
void q2_k(const uint8_t* x, float* y) {
  const uint8_t *scales = x, *q = x + 16;
  const float d = half_at(x + 80), m = half_at(x + 82);
  for (int part = 0; part < 16; part++) {
    const float scale = d * static_cast<float>(low(scales[part])), least = m * static_cast<float>(high(scales[part]));
    const uint8_t* bytes = q + part / 8 * 32 + part % 2 * 16;
    const int shift = part % 8 / 2 * 2;
    for (int i = 0; i < 16; i++) y[16 * part + i] = scale * static_cast<float>(bytes[i] >> shift & 3) - least;
  }
}

// 16 parts with scales of six bits (the low four of eight and eight, then the upper two of all); the third bit of a
// number is apart, and its absence subtracts 4.
void q3_k(const uint8_t* x, float* y) {
  const uint8_t *third = x, *q = x + 32, *scales = x + 96;
  const float d = half_at(x + 108);
  for (int part = 0; part < 16; part++) {
    const int four = part < 8 ? low(scales[part]) : high(scales[part - 8]);
    const int two = scales[8 + part % 4] >> (part / 4 * 2) & 3;
    const float scale = d * static_cast<float>((four | two << 4) - 32);
    const uint8_t *bytes = q + part / 8 * 32 + part % 2 * 16, *bits = third + part % 2 * 16;
    const int shift = part % 8 / 2 * 2, bit = part / 2;
    for (int i = 0; i < 16; i++) {
      y[16 * part + i] = scale * static_cast<float>((bytes[i] >> shift & 3) - (bits[i] >> bit & 1 ? 0 : 4));
    }
  }
}

struct ScaleAndMin {
  float scale, least;
};

// Eight scales and eight minima of six bits in twelve bytes: four of each whole, with the upper two bits of the others.
inline ScaleAndMin scale_and_min(const uint8_t* p, int part, float d, float m) {
  int scale, least;
  if (part < 4) {
    scale = p[part] & 63;
    least = p[part + 4] & 63;
  } else {
    scale = low(p[part + 4]) | p[part - 4] >> 6 << 4;
    least = high(p[part + 4]) | p[part] >> 6 << 4;
  }
  return {d * static_cast<float>(scale), m * static_cast<float>(least)};
}

void q4_k(const uint8_t* x, float* y) {
  const float d = half_at(x), m = half_at(x + 2);
  const uint8_t* q = x + 16;
  for (int part = 0; part < 8; part++) {
    const auto [scale, least] = scale_and_min(x + 4, part, d, m);
    const uint8_t* bytes = q + part / 2 * 32;
    const int shift = part % 2 * 4;
    for (int i = 0; i < 32; i++) y[32 * part + i] = scale * static_cast<float>(bytes[i] >> shift & 15) - least;
  }
}

void q5_k(const uint8_t* x, float* y) {
  const float d = half_at(x), m = half_at(x + 2);
  const uint8_t *fifth = x + 16, *q = x + 48;
  for (int part = 0; part < 8; part++) {
    const auto [scale, least] = scale_and_min(x + 4, part, d, m);
    const uint8_t* bytes = q + part / 2 * 32;
    const int shift = part % 2 * 4;
    for (int i = 0; i < 32; i++) {
      const int value = (bytes[i] >> shift & 15) + (fifth[i] >> part & 1 ? 16 : 0);
      y[32 * part + i] = scale * static_cast<float>(value) - least;
    }
  }
}

// 16 parts with scales of eight bits; four low bits of a number in one place, two high ones in another.
void q6_k(const uint8_t* x, float* y) {
  const uint8_t *fours = x, *twos = x + 128, *scales = x + 192;
  const float d = half_at(x + 208);
  for (int part = 0; part < 16; part++) {
    const float scale = d * static_cast<float>(static_cast<int8_t>(scales[part]));
    const int half = part / 8, quarter = part % 8 / 2, start = part % 2 * 16;
    const uint8_t *bytes = fours + half * 64 + quarter % 2 * 32 + start, *bits = twos + half * 32 + start;
    const int shift = quarter / 2 * 4;
    for (int i = 0; i < 16; i++) {
      const int value = (bytes[i] >> shift & 15) | (bits[i] >> (2 * quarter) & 3) << 4;
      y[16 * part + i] = scale * static_cast<float>(value - 32);
    }
  }
}

// ------------------------------------------------------------------ four bits that number 16 unequal steps

constexpr float steps[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

void iq4_nl(const uint8_t* x, float* y) {
  const float d = half_at(x);
  for (int i = 0; i < 16; i++) {
    y[i] = d * steps[low(x[2 + i])];
    y[i + 16] = d * steps[high(x[2 + i])];
  }
}

// Eight parts with scales of six bits: four of them in nibbles, the upper two of all in one 16-bit word.
void iq4_xs(const uint8_t* x, float* y) {
  const float d = half_at(x);
  const int twos = x[2] | x[3] << 8;
  for (int part = 0; part < 8; part++) {
    const int four = x[4 + part / 2] >> (part % 2 * 4) & 15;
    const float scale = d * static_cast<float>((four | (twos >> (2 * part) & 3) << 4) - 32);
    const uint8_t* q = x + 8 + 16 * part;
    for (int i = 0; i < 16; i++) {
      y[32 * part + i] = scale * steps[low(q[i])];
      y[32 * part + 16 + i] = scale * steps[high(q[i])];
    }
  }
}

// ------------------------------------------------------------------ the kernel

using Block = void (*)(const uint8_t* x, float* y);

// In the order of Quantization.
constexpr Block blocks[] = {q4_0, q4_1, q5_0, q5_1, q8_0, q2_k, q3_k, q4_k, q5_k, q6_k, iq4_nl, iq4_xs};
static_assert(sizeof(blocks) / sizeof(*blocks) == static_cast<size_t>(Quantization::count_));

template <DType to> void convert(const float* x, void* y, int64_t first, int64_t n) {
  using To = Format<to>;
  auto* out = static_cast<typename To::T*>(y) + first;
  for (int64_t i = 0; i < n; i += width) To::store(out + i, load(x + i));  // blocks are whole vectors
}

bool dequantize(Quantization type, DType to, const uint8_t* x, void* y, int64_t count) {
  if (to != DType::float32 && to != DType::float16 && to != DType::bfloat16) return false;
  const Block block = blocks[static_cast<int>(type)];
  const int64_t numbers = block_layout(type).numbers, bytes = block_layout(type).bytes;
  parallel_ranges(count, grain / numbers, [=](int64_t begin, int64_t end) {
    float values[most];
    for (int64_t i = begin; i < end; i++) {
      const uint8_t* p = x + i * bytes;
      if (to == DType::float32) {
        block(p, static_cast<float*>(y) + i * numbers);
        continue;
      }
      block(p, values);
      if (to == DType::float16) convert<DType::float16>(values, y, i * numbers, numbers);
      else convert<DType::bfloat16>(values, y, i * numbers, numbers);
    }
  });
  return true;
}

}  // namespace

void register_dequantize(KernelTable& table) { table.dequantize = dequantize; }

}  // namespace tsgpt::TSGPT_NS
