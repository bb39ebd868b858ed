// The different words of texts and how often each occurs: all that training a tokenizer needs of its texts.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "split.h"
#include "string_table.h"

namespace tsgpt::tokenizers {

class WordCounts {
 public:
  explicit WordCounts(Split split) : splitter_(split) {}

  // Counts the words of a text.
  void add_text(std::string_view text) {
    auto* begin = reinterpret_cast<const uint8_t*>(text.data());
    splitter_.each(begin, begin + text.size(), [this](const uint8_t* from, const uint8_t* to) {
      add_word({reinterpret_cast<const char*>(from), static_cast<size_t>(to - from)}, 1);
    });
  }

  void add_word(std::string_view word, int64_t times) {
    uint32_t index = words_.add(word);
    if (index == counts_.size()) counts_.push_back(0);
    counts_[index] += times;
  }

  uint32_t size() const { return words_.size(); }
  std::string_view word(uint32_t index) const { return words_[index]; }
  int64_t count(uint32_t index) const { return counts_[index]; }

 private:
  Splitter splitter_;
  StringTable words_;
  std::vector<int64_t> counts_;
};

}  // namespace tsgpt::tokenizers
