// The alphabet in which byte-level vocabularies write bytes (GPT-2's bytes_to_unicode): 33-126, 161-172 and 174-255 stand
// for themselves, the other 68 bytes in their order are U+0100 and following.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tsgpt::tokenizers {

class ByteAlphabet {
 public:
  static const ByteAlphabet& get() {
    static const ByteAlphabet alphabet;
    return alphabet;
  }

  uint32_t code(uint8_t byte) const { return codes_[byte]; }

  // Adds the bytes that a token of the vocabulary stands for; false when it has another character in it.
  bool decode(std::string_view token, std::string& bytes) const {
    for (size_t i = 0; i < token.size(); i++) {
      auto c = static_cast<uint8_t>(token[i]);
      uint32_t code = c;
      if (c >= 0x80) {
        if (c < 0xc0 || c > 0xc7 || i + 1 == token.size()) return false;
        code = (c & 0x1fu) << 6 | (static_cast<uint8_t>(token[++i]) & 0x3fu);
      }
      if (code >= code_limit || bytes_[code] < 0) return false;
      bytes.push_back(static_cast<char>(bytes_[code]));
    }
    return true;
  }

  // Adds the character of a byte, in UTF-8.
  void encode(uint8_t byte, std::string& text) const {
    uint32_t code = codes_[byte];
    if (code < 0x80) {
      text.push_back(static_cast<char>(code));
    } else {
      text.push_back(static_cast<char>(0xc0 | code >> 6));
      text.push_back(static_cast<char>(0x80 | (code & 0x3f)));
    }
  }

 private:
  static constexpr uint32_t code_limit = 0x100 + 68;

  ByteAlphabet() {
    for (int16_t& byte : bytes_) byte = -1;
    uint32_t next = 0x100;
    for (uint32_t byte = 0; byte < 256; byte++) {
      bool itself = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
      codes_[byte] = itself ? byte : next++;
      bytes_[codes_[byte]] = static_cast<int16_t>(byte);
    }
  }

  uint32_t codes_[256];
  int16_t bytes_[code_limit];
};

}  // namespace tsgpt::tokenizers
