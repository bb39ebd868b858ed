// Text into words, as the regular expressions of the published byte-level tokenizers cut it, written out by hand:
//
//   gpt2    's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//   llama3  (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|
//           \s+(?!\S)|\s+
//   qwen2   llama3 with \p{N} in place of \p{N}{1,3}
//   cl100k  llama3 with white space at the end of the text in one piece (\s+$ before \s*[\r\n]), as tiktoken has it
//   spaces  \S+ : the words between white space, which is dropped (classic BPE)
#pragma once

#include <cstdint>

#include "char_class.h"

namespace tsgpt::tokenizers {

enum class Split : int32_t { gpt2, llama3, qwen2, cl100k, spaces };
constexpr int32_t split_kinds = 5;

class Splitter {
 public:
  explicit Splitter(Split kind) : classes_(char_classes()), kind_(kind) {}

  // Calls word(begin, end) for each word of the text.
  template <class Word> void each(const uint8_t* p, const uint8_t* end, Word&& word) const {
    switch (kind_) {
      case Split::gpt2: return run(p, end, word, [this](auto* from, auto* to) { return next_gpt2(from, to); });
      case Split::llama3: return run(p, end, word, [this](auto* from, auto* to) { return next_llama3(from, to, 3, false); });
      case Split::qwen2: return run(p, end, word, [this](auto* from, auto* to) { return next_llama3(from, to, 1, false); });
      case Split::cl100k: return run(p, end, word, [this](auto* from, auto* to) { return next_llama3(from, to, 3, true); });
      case Split::spaces:
        for (;;) {
          p = skip(p, end, CharClass::space);
          if (p == end) return;
          const uint8_t* from = p;
          while (p < end && at(p).kind != CharClass::space) p += at(p).bytes;
          word(from, p);
        }
    }
  }

  // The first place from `p` on where every pattern begins a word, whatever stands before and behind: after a run of
  // letters or numbers. Texts cut there give the same words as whole.
  const uint8_t* next_cut(const uint8_t* p, const uint8_t* end) const {
    while (p < end && (*p & 0xc0) == 0x80) p++;
    CharClass before = CharClass::other;
    while (p < end) {
      Char c = at(p);
      if (c.kind != before && (before == CharClass::letter || before == CharClass::number)) return p;
      before = c.kind;
      p += c.bytes;
    }
    return end;
  }

 private:
  template <class Word, class Next> static void run(const uint8_t* p, const uint8_t* end, Word&& word, Next&& next) {
    while (p < end) {
      const uint8_t* to = next(p, end);
      word(p, to);
      p = to;
    }
  }

  Char at(const uint8_t* p) const { return char_at(classes_, p); }

  // The end of the run of characters of this class.
  const uint8_t* skip(const uint8_t* p, const uint8_t* end, CharClass kind) const {
    while (p < end) {
      Char c = at(p);
      if (c.kind != kind) return p;
      p += c.bytes;
    }
    return end;
  }

  static bool is_break(uint8_t c) { return c == '\r' || c == '\n'; }

  // \s+(?!\S)|\s+ : all white space up to the end of the text; before another character all but the last of it.
  const uint8_t* spaces(const uint8_t* p, const uint8_t* end) const {
    const uint8_t* last = p;
    const uint8_t* q = p;
    while (q < end) {
      Char c = at(q);
      if (c.kind != CharClass::space) return last > p ? last : q;
      last = q;
      q += c.bytes;
    }
    return end;
  }

  // Bytes of the contraction after the apostrophe, 0 when there is none. `fold`: in either case, with U+017F as an s.
  static int contraction(const uint8_t* p, const uint8_t* end, bool fold) {
    auto letter = [&](const uint8_t* q) {
      uint8_t c = q < end ? *q : 0;
      return fold && c >= 'A' && c <= 'Z' ? static_cast<uint8_t>(c | 0x20) : c;
    };
    uint8_t first = letter(p), second = letter(p + 1);
    if (first == 's' || first == 't' || first == 'm' || first == 'd') return 1;
    if ((first == 'r' || first == 'v') && second == 'e') return 2;
    if (first == 'l' && second == 'l') return 2;
    return fold && end - p >= 2 && p[0] == 0xc5 && p[1] == 0xbf ? 2 : 0;
  }

  const uint8_t* next_gpt2(const uint8_t* p, const uint8_t* end) const {
    if (*p == '\'') {
      if (int bytes = contraction(p + 1, end, false)) return p + 1 + bytes;
    }
    const uint8_t* q = *p == ' ' && p + 1 < end ? p + 1 : p;
    Char c = at(q);
    if (c.kind == CharClass::space) return spaces(p, end);
    return skip(q + c.bytes, end, c.kind);
  }

  const uint8_t* next_llama3(const uint8_t* p, const uint8_t* end, int digits, bool end_in_one) const {
    if (*p == '\'') {
      if (int bytes = contraction(p + 1, end, true)) return p + 1 + bytes;
    }
    Char c = at(p);
    const uint8_t* q = p + c.bytes;
    if (c.kind == CharClass::letter) return skip(q, end, CharClass::letter);
    if (c.kind == CharClass::number) {
      for (int i = 1; i < digits && q < end && at(q).kind == CharClass::number; i++) q += at(q).bytes;
      return q;
    }
    if (!is_break(*p) && q < end && at(q).kind == CharClass::letter) return skip(q, end, CharClass::letter);
    if (*p == ' ' && q < end && at(q).kind == CharClass::other) {
      c = at(q);
      q += c.bytes;
    }
    if (c.kind == CharClass::other) {
      q = skip(q, end, CharClass::other);
      while (q < end && is_break(*q)) q++;
      return q;
    }
    const uint8_t* after_break = nullptr;  // \s*[\r\n]+ ends behind the last line break of the white space
    const uint8_t* s = p;
    for (; s < end && at(s).kind == CharClass::space; s += at(s).bytes) {
      if (is_break(*s)) after_break = s + 1;
    }
    if (end_in_one && s == end) return end;
    return after_break ? after_break : spaces(p, end);
  }

  const CharClass* classes_;
  Split kind_;
};

}  // namespace tsgpt::tokenizers
