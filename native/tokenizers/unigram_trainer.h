// Training of the unigram language model (Kudo 2018), as SentencePiece does it: begin with all frequent substrings of the
// words, then in turn fit the pieces' probabilities by expectation maximization and drop the pieces that the likelihood
// misses least, until the vocabulary has its size. A substring counts as often as its words occur; equal scores are
// ordered by the pieces' bytes, so that the same words always give the same pieces.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "pair_table.h"
#include "word_counts.h"

namespace tsgpt::tokenizers {

struct UnigramTraining {
  int64_t vocab_size = 8000;
  int64_t max_piece_length = 16;   // in characters
  int64_t seed_size = 1000000;     // substrings to begin with
  double shrinking_factor = 0.75;  // part of the pieces that a round keeps
  int64_t sub_iterations = 2;      // of expectation maximization in a round
};

struct UnigramPiece {
  std::string text;
  double score;  // log-probability
};

class UnigramTrainer {
 public:
  UnigramTrainer(const WordCounts& words, const UnigramTraining& training);

  // One round; false when the vocabulary is small enough and `pieces` is final.
  bool step();

  // By falling score; every character of the words is among them.
  const std::vector<UnigramPiece>& pieces() const { return pieces_; }

 private:
  struct Edge {
    size_t end;  // in bytes of the word
    int32_t id;  // -1: a character that is no piece
    double score;
  };

  void make_seeds(const WordCounts& words);
  void build_trie();
  // Calls edge(Edge) for each piece that begins at `begin`, one for the character there if it is no piece.
  template <class Use> void each_edge(std::string_view word, size_t begin, Use&& edge) const;
  void expect(std::vector<double>& expected);
  void maximize(const std::vector<double>& expected);
  void prune();
  double best_path(std::string_view word, bool without_whole, std::vector<int32_t>& path) const;
  void finish();

  UnigramTraining training_;
  std::vector<std::string> words_;
  std::vector<double> counts_;
  double total_count_ = 0;
  std::vector<std::string> characters_;
  std::vector<UnigramPiece> pieces_;

  PairTable<int32_t> trie_;          // (node, byte) to node
  std::vector<int32_t> node_piece_;  // -1: none ends there
  double unknown_score_ = 0;
  // Work space of a word.
  std::vector<double> forward_, backward_;
};

}  // namespace tsgpt::tokenizers
