// Byte-level BPE (Sennrich et al. 2016; GPT-2's byte alphabet): text to token ids.
//
// A text is cut into words; a word's bytes are tokens at first, and the neighbours with the merge of the lowest rank
// become one token, the leftmost first, until no merge applies. Words repeat, so what they became is remembered in a
// bounded cache. Long texts are cut between words into chunks for the thread pool; a word's ids depend on the word
// only, so the result is the same with any number of threads.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "pair_table.h"
#include "split.h"
#include "string_table.h"

namespace tsgpt::tokenizers {

struct BpeMerge {
  uint32_t rank;
  int32_t id;
};

class WordCache;

class BpeEncoder {
 public:
  // `tokens`: the vocabulary in the byte alphabet, one a line, with `ids`; `merges`: "left right", one a line, in the order
  // of their ranks. Tokens with other characters stay out: no text has them. `ignore_merges`: a word of the vocabulary is a
  // token at once. `rank_by_token`: merges that make the same token have the same rank. Throws std::invalid_argument.
  BpeEncoder(std::string_view tokens, const int32_t* ids, size_t count, std::string_view merges, bool ignore_merges,
             bool rank_by_token);
  ~BpeEncoder();
  BpeEncoder(const BpeEncoder&) = delete;

  // Ids of valid UTF-8, chunk by chunk. The text must have `padding` readable bytes behind it.
  std::vector<std::vector<int32_t>> encode(std::string_view text, Split split) const;
  static constexpr size_t padding = 16;

  // False when the vocabulary lacks bytes: texts then lose them (as in Hugging Face's library, where there is no unknown
  // token), and the tokens' lengths do not add up to the text's.
  bool has_all_bytes() const { return has_all_bytes_; }
  // Where in the JavaScript string (UTF-16) the characters of each token begin and end, two numbers a token. A token that
  // has a part of a character has the whole of it. Throws std::invalid_argument when the ids are not those of the text.
  void offsets(std::string_view text, const int32_t* ids, size_t count, int32_t* out) const;
  size_t memory() const;

 private:
  static constexpr int32_t most_ids = 1 << 26;  // a table is as long as the greatest id

  void add_tokens(std::string_view tokens, const int32_t* ids, size_t count);
  void add_merges(std::string_view merges, bool rank_by_token);
  int32_t find_token(std::string_view bytes) const;
  std::unique_ptr<WordCache> take_cache() const;
  void give_cache(std::unique_ptr<WordCache> cache) const;
  void encode_chunk(const Splitter& splitter, std::string_view text, WordCache& cache, std::vector<int32_t>& ids) const;
  void encode_word(std::string_view word, std::vector<int32_t>& ids) const;
  size_t merge_by_scanning(int32_t* ids, size_t count) const;
  size_t merge_by_heap(int32_t* ids, size_t count) const;

  bool ignore_merges_;
  bool has_all_bytes_ = true;
  int32_t byte_ids_[256];
  PairTable<BpeMerge> merges_;
  StringTable tokens_;  // by their bytes
  std::vector<int32_t> token_ids_, token_bytes_;

  // Caches that no thread uses at the moment.
  mutable std::mutex caches_lock_;
  mutable std::vector<std::unique_ptr<WordCache>> caches_;
};

}  // namespace tsgpt::tokenizers
