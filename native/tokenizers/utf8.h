// Characters of valid UTF-8.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tsgpt::tokenizers {

// Bytes of the character that begins with this one.
inline size_t utf8_bytes(uint8_t lead) { return lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4; }

// The code point of one character.
inline uint32_t utf8_code(std::string_view character) {
  auto lead = static_cast<uint8_t>(character[0]);
  uint32_t code = character.size() == 1 ? lead : lead & (0x7fu >> character.size());
  for (size_t i = 1; i < character.size(); i++) code = code << 6 | (static_cast<uint8_t>(character[i]) & 0x3fu);
  return code;
}

inline void append_utf8(uint32_t code, std::string& text) {
  auto add = [&](uint32_t byte) { text.push_back(static_cast<char>(byte)); };
  if (code < 0x80) return add(code);
  if (code < 0x800) {
    add(0xc0 | code >> 6);
  } else if (code < 0x10000) {
    add(0xe0 | code >> 12);
    add(0x80 | (code >> 6 & 0x3f));
  } else {
    add(0xf0 | code >> 18);
    add(0x80 | (code >> 12 & 0x3f));
    add(0x80 | (code >> 6 & 0x3f));
  }
  add(0x80 | (code & 0x3f));
}

}  // namespace tsgpt::tokenizers
