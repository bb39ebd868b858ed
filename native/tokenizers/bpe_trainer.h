// Training of BPE (Sennrich et al. 2016): the most frequent pair of neighbouring tokens becomes a token, over and over.
// The order of the vocabulary, the counting and the ties are those of Hugging Face's trainer (tokenizers 0.23), whose
// results this reproduces; the words that a pair is in are kept with it, so a merge touches only those.
//
// Where Hugging Face's results vary from run to run, these do not: characters with prefix or suffix get their ids in
// the order of their code points, and of equally frequent characters the alphabet keeps the lower code points.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "pair_table.h"
#include "word_counts.h"

namespace tsgpt::tokenizers {

struct BpeTraining {
  int64_t vocab_size = 30000;
  int64_t min_frequency = 0;
  int64_t limit_alphabet = INT64_MAX;
  int64_t max_token_length = INT64_MAX;
  bool byte_level = true;  // words are bytes, written in the byte alphabet; else characters
  // Of equally frequent pairs the one of the greater strings wins (subword-nmt, cs336), else the one of the lower ids.
  bool greater_wins = false;
  std::vector<std::string> special_tokens;
  std::string initial_alphabet;  // characters, whether they occur or not
  std::string prefix, suffix;    // of tokens that go on in a word ("##"), of tokens that end one ("</w>")
};

class BpeTrainer {
 public:
  BpeTrainer(const WordCounts& words, BpeTraining training);

  // Makes up to so many merges; false when there is none to make any more.
  bool step(int64_t merges);

  const std::vector<std::string>& tokens() const { return tokens_; }
  const std::vector<uint64_t>& merges() const { return merges_; }

 private:
  struct Word {
    int64_t count;
    size_t begin;
    uint32_t length;
  };
  struct Pair {
    int64_t count = 0;
    uint32_t fresh = 0;  // one more than its place in `fresh_`
  };
  struct Fresh {
    uint64_t pair;
    std::vector<uint32_t> words;
  };
  // A pair in the queue, with words that it is in. Its count can have changed since.
  struct Candidate {
    int64_t count;
    uint64_t pair;
    std::vector<uint32_t> words;
  };

  int32_t add_token(const std::string& text, const std::string& raw, int64_t length);
  void make_alphabet(const WordCounts& words);
  void make_words(const WordCounts& words);
  void change_count(int32_t left, int32_t right, int64_t change, uint32_t word);
  void queue_fresh();
  bool after(const Candidate& a, const Candidate& b) const;
  int32_t merged_token(int32_t left, int32_t right);
  void merge_in_word(uint32_t word, uint64_t pair, int32_t id);
  template <class Symbol> void each_symbol(std::string_view word, Symbol&& symbol) const;
  std::string written(uint32_t code) const;

  BpeTraining training_;
  std::vector<std::string> tokens_;
  std::vector<std::string> raw_;  // what ties compare: bytes instead of the byte alphabet
  std::vector<int64_t> lengths_;  // in characters, without prefix and suffix
  StringTable ids_;               // of tokens_
  std::vector<Word> words_;
  std::vector<int32_t> symbols_;  // of all words
  PairTable<Pair> pairs_;
  std::vector<Fresh> fresh_;
  std::vector<Candidate> queue_;
  std::vector<uint64_t> merges_;
};

}  // namespace tsgpt::tokenizers
