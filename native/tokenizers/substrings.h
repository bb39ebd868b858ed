// The substrings of words that occur more than once: those of the suffix tree's nodes only, as a substring that always
// goes on in the same way is no better piece than its continuation. Suffixes end with their word, at most `longest`
// characters on; they are sorted, and neighbours with a common beginning are the nodes (Abouelhoda et al. 2004).
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "utf8.h"
#include "word_counts.h"

namespace tsgpt::tokenizers {

// Calls use(text, characters, occurrences) for each of them that has at least two characters.
template <class Use> void each_substring(const WordCounts& words, size_t longest, Use&& use) {
  struct Suffix {
    const uint32_t* begin;
    uint32_t length;
    bool is_whole;  // it ends where its word does
    int64_t count;
  };
  std::vector<uint32_t> codes;
  std::vector<size_t> ends;
  for (uint32_t w = 0; w < words.size(); w++) {
    std::string_view word = words.word(w);
    for (size_t i = 0; i < word.size();) {
      size_t bytes = utf8_bytes(static_cast<uint8_t>(word[i]));
      codes.push_back(utf8_code(word.substr(i, bytes)));
      i += bytes;
    }
    ends.push_back(codes.size());
  }
  std::vector<Suffix> suffixes;
  suffixes.reserve(codes.size());
  for (size_t w = 0, i = 0; w < ends.size(); w++) {
    for (; i < ends[w]; i++) {
      size_t length = std::min(ends[w] - i, longest);
      suffixes.push_back(
          {codes.data() + i, static_cast<uint32_t>(length), length == ends[w] - i, words.count(static_cast<uint32_t>(w))});
    }
  }
  std::sort(suffixes.begin(), suffixes.end(), [](const Suffix& a, const Suffix& b) {
    return std::lexicographical_compare(a.begin, a.begin + a.length, b.begin, b.begin + b.length);
  });
  auto emit = [&](const Suffix& suffix, size_t length, int64_t count) {
    if (length < 2 || count < 2) return;
    std::string text;
    for (size_t i = 0; i < length; i++) append_utf8(suffix.begin[i], text);
    use(std::move(text), length, count);
  };
  std::vector<int64_t> sums = {0};
  for (const Suffix& suffix : suffixes) sums.push_back(sums.back() + suffix.count);
  struct Node {
    size_t length, first;
  };
  std::vector<Node> open = {{0, 0}};
  size_t before = 0;
  for (size_t i = 0; i < suffixes.size(); i++) {
    const Suffix& suffix = suffixes[i];
    size_t common = 0;  // with the next one
    if (i + 1 < suffixes.size()) {
      const Suffix& next = suffixes[i + 1];
      size_t most = std::min(suffix.length, next.length);
      while (common < most && suffix.begin[common] == next.begin[common]) common++;
    }
    if (suffix.is_whole && suffix.length > std::max(before, common)) emit(suffix, suffix.length, suffix.count);
    size_t first = i;
    while (open.back().length > common) {
      Node node = open.back();
      open.pop_back();
      emit(suffixes[node.first], node.length, sums[i + 1] - sums[node.first]);
      first = node.first;
    }
    if (open.back().length < common) open.push_back({common, first});
    before = common;
  }
}

}  // namespace tsgpt::tokenizers
