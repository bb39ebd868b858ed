// What the splitting patterns of byte-level tokenizers ask of a character: letter (\p{L}), number (\p{N}), white space
// (\s as Rust and Oniguruma have it: the property White_Space) or none of them. Text is valid UTF-8 everywhere below.
#pragma once

#include <cstdint>

namespace tsgpt::tokenizers {

enum class CharClass : uint8_t { other, letter, number, space };

struct CharRange {
  uint32_t first, last;
  CharClass kind;
};

// One entry for each code point; filled at the first use.
const CharClass* char_classes();

// A character: its class and its bytes in UTF-8.
struct Char {
  CharClass kind;
  int32_t bytes;
};

inline Char char_at(const CharClass* classes, const uint8_t* p) {
  uint32_t lead = p[0];
  if (lead < 0x80) return {classes[lead], 1};
  if (lead < 0xe0) return {classes[(lead & 0x1f) << 6 | (p[1] & 0x3fu)], 2};
  if (lead < 0xf0) return {classes[(lead & 0x0f) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu)], 3};
  return {classes[((lead & 0x07) << 18 | (p[1] & 0x3fu) << 12 | (p[2] & 0x3fu) << 6 | (p[3] & 0x3fu)) % 0x110000], 4};
}

}  // namespace tsgpt::tokenizers
