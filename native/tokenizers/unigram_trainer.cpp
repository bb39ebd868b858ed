#include "unigram_trainer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "substrings.h"
#include "utf8.h"

namespace tsgpt::tokenizers {
namespace {

constexpr double impossible = -std::numeric_limits<double>::infinity();
// A character that is no piece counts as this much less likely than the least likely piece (as in SentencePiece).
constexpr double unknown_penalty = 10;
// Pieces that are expected to occur less often than this are dropped when the probabilities are fitted.
constexpr double least_expected = 0.5;
// Vocabularies are thinned out down to this many times their size, and then cut.
constexpr double surplus = 1.1;

double add_logs(double a, double b) {
  if (a < b) std::swap(a, b);
  return b == impossible ? a : a + std::log1p(std::exp(b - a));
}

// The derivative of log Gamma: by recurrence up to 7, then by its asymptotic series around x - 1/2.
double digamma(double x) {
  double result = 0;
  for (; x < 7; x++) result -= 1 / x;
  x -= 0.5;
  double r = 1 / (x * x);
  return result + std::log(x) + r * (1.0 / 24 - r * (7.0 / 960 - r * (31.0 / 8064 - r * (127.0 / 30720))));
}

void sort_by_score(std::vector<UnigramPiece>& pieces) {
  std::sort(pieces.begin(), pieces.end(), [](const UnigramPiece& a, const UnigramPiece& b) {
    return a.score != b.score ? a.score > b.score : a.text < b.text;
  });
}

}  // namespace

UnigramTrainer::UnigramTrainer(const WordCounts& words, const UnigramTraining& training) : training_(training) {
  std::vector<uint32_t> order(words.size());  // so that sums do not depend on the order of the texts
  std::iota(order.begin(), order.end(), 0u);
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return words.word(a) < words.word(b); });
  for (uint32_t w : order) {
    words_.emplace_back(words.word(w));
    counts_.push_back(static_cast<double>(words.count(w)));
    total_count_ += counts_.back();
  }
  make_seeds(words);
  build_trie();
}

void UnigramTrainer::make_seeds(const WordCounts& words) {
  std::map<std::string, double> characters;
  for (size_t w = 0; w < words_.size(); w++) {
    for (size_t i = 0; i < words_[w].size();) {
      size_t bytes = utf8_bytes(static_cast<uint8_t>(words_[w][i]));
      characters[words_[w].substr(i, bytes)] += counts_[w];
      i += bytes;
    }
  }
  std::vector<UnigramPiece> seeds;
  each_substring(words, static_cast<size_t>(training_.max_piece_length), [&](std::string text, size_t length, int64_t count) {
    seeds.push_back({std::move(text), static_cast<double>(count) * static_cast<double>(length)});
  });
  sort_by_score(seeds);
  if (seeds.size() > static_cast<size_t>(training_.seed_size)) seeds.resize(static_cast<size_t>(training_.seed_size));
  for (const auto& [text, count] : characters) {
    characters_.push_back(text);
    pieces_.push_back({text, count});
  }
  pieces_.insert(pieces_.end(), std::make_move_iterator(seeds.begin()), std::make_move_iterator(seeds.end()));
  double sum = 0;
  for (const UnigramPiece& piece : pieces_) sum += piece.score;
  for (UnigramPiece& piece : pieces_) piece.score = std::log(piece.score) - std::log(sum);
}

// ------------------------------------------------------------------ words as paths of pieces

void UnigramTrainer::build_trie() {
  trie_ = {};
  node_piece_.assign(1, -1);
  double least = 0;
  for (size_t id = 0; id < pieces_.size(); id++) {
    int32_t node = 0;
    for (char c : pieces_[id].text) {
      int32_t& next = trie_[pair_key(node, static_cast<uint8_t>(c))];
      if (next == 0) {
        next = static_cast<int32_t>(node_piece_.size());
        node_piece_.push_back(-1);
      }
      node = next;
    }
    node_piece_[static_cast<size_t>(node)] = static_cast<int32_t>(id);
    least = std::min(least, pieces_[id].score);
  }
  unknown_score_ = least - unknown_penalty;
}

template <class Use> void UnigramTrainer::each_edge(std::string_view word, size_t begin, Use&& edge) const {
  size_t character = begin + utf8_bytes(static_cast<uint8_t>(word[begin]));
  bool has_character = false;
  int32_t node = 0;
  for (size_t i = begin; i < word.size(); i++) {
    const int32_t* next = trie_.find(pair_key(node, static_cast<uint8_t>(word[i])));
    if (!next) break;
    node = *next;
    int32_t id = node_piece_[static_cast<size_t>(node)];
    if (id < 0) continue;
    has_character |= i + 1 == character;
    edge(Edge{i + 1, id, pieces_[static_cast<size_t>(id)].score});
  }
  if (!has_character) edge(Edge{character, -1, unknown_score_});
}

// Expected occurrences of each piece, by the forward-backward algorithm over all ways to cut a word.
void UnigramTrainer::expect(std::vector<double>& expected) {
  expected.assign(pieces_.size(), 0);
  for (size_t w = 0; w < words_.size(); w++) {
    std::string_view word = words_[w];
    forward_.assign(word.size() + 1, impossible);
    backward_.assign(word.size() + 1, impossible);
    forward_[0] = backward_[word.size()] = 0;
    for (size_t i = 0; i < word.size(); i++) {
      if (forward_[i] == impossible) continue;
      each_edge(word, i, [&](const Edge& e) { forward_[e.end] = add_logs(forward_[e.end], forward_[i] + e.score); });
    }
    for (size_t i = word.size(); i-- > 0;) {
      if (forward_[i] == impossible) continue;
      each_edge(word, i, [&](const Edge& e) { backward_[i] = add_logs(backward_[i], e.score + backward_[e.end]); });
    }
    double whole = forward_[word.size()];
    for (size_t i = 0; i < word.size(); i++) {
      if (forward_[i] == impossible) continue;
      each_edge(word, i, [&](const Edge& e) {
        if (e.id < 0) return;
        expected[static_cast<size_t>(e.id)] += counts_[w] * std::exp(forward_[i] + e.score + backward_[e.end] - whole);
      });
    }
  }
}

// Not the frequencies themselves: their digamma is the variational step under a Dirichlet process prior, which favours
// few pieces (Liang & Klein, ACL 2007 tutorial).
void UnigramTrainer::maximize(const std::vector<double>& expected) {
  double sum = 0;
  std::vector<UnigramPiece> kept;
  for (size_t id = 0; id < pieces_.size(); id++) {
    if (expected[id] < least_expected) continue;
    kept.push_back({std::move(pieces_[id].text), expected[id]});
    sum += expected[id];
  }
  for (UnigramPiece& piece : kept) piece.score = digamma(piece.score) - digamma(sum);
  pieces_ = std::move(kept);
  build_trie();
}

// The likeliest way to cut a word, and its score; `without_whole`: into more than one piece.
double UnigramTrainer::best_path(std::string_view word, bool without_whole, std::vector<int32_t>& path) const {
  struct Step {
    double score = impossible;
    size_t from = 0;
    int32_t id = -1;
  };
  std::vector<Step> best(word.size() + 1);
  best[0].score = 0;
  for (size_t i = 0; i < word.size(); i++) {
    if (best[i].score == impossible) continue;
    each_edge(word, i, [&](const Edge& e) {
      if (without_whole && i == 0 && e.end == word.size()) return;
      if (best[i].score + e.score > best[e.end].score) best[e.end] = {best[i].score + e.score, i, e.id};
    });
  }
  path.clear();
  if (best[word.size()].score == impossible) return impossible;
  for (size_t at = word.size(); at > 0; at = best[at].from) {
    if (best[at].id >= 0) path.push_back(best[at].id);
  }
  return best[word.size()].score;
}

// Drops the pieces without which the likelihood falls least, when each is replaced by its next best way to be cut.
void UnigramTrainer::prune() {
  std::vector<double> frequency(pieces_.size(), 0);
  std::vector<int32_t> path;
  for (size_t w = 0; w < words_.size(); w++) {
    best_path(words_[w], false, path);
    for (int32_t id : path) frequency[static_cast<size_t>(id)] += counts_[w];
  }
  double sum = std::accumulate(frequency.begin(), frequency.end(), 0.0);
  struct Candidate {
    size_t id;
    double loss;
  };
  std::vector<Candidate> candidates;
  std::vector<UnigramPiece> kept;
  for (size_t id = 0; id < pieces_.size(); id++) {
    double other = best_path(pieces_[id].text, true, path);
    if (other == impossible) {  // one character: nothing can stand for it
      kept.push_back(pieces_[id]);
      continue;
    }
    if (frequency[id] == 0) continue;
    if (other > pieces_[id].score) {  // it is on some best paths by rounding only
      kept.push_back(pieces_[id]);
      continue;
    }
    double log_alternative = 0;
    double log_sum = std::log(sum + frequency[id] * (static_cast<double>(path.size()) - 1));
    for (int32_t piece : path) log_alternative += std::log(frequency[static_cast<size_t>(piece)] + frequency[id]) - log_sum;
    double loss = frequency[id] / total_count_ * (std::log(frequency[id]) - std::log(sum) - log_alternative);
    candidates.push_back({id, loss});
  }
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Candidate& a, const Candidate& b) { return a.loss > b.loss; });
  auto wanted = static_cast<size_t>(static_cast<double>(training_.vocab_size) * surplus);
  wanted = std::max(wanted, static_cast<size_t>(static_cast<double>(pieces_.size()) * training_.shrinking_factor));
  for (const Candidate& candidate : candidates) {
    if (kept.size() >= wanted) break;
    kept.push_back(std::move(pieces_[candidate.id]));
  }
  pieces_ = std::move(kept);
  build_trie();
}

bool UnigramTrainer::step() {
  std::vector<double> expected;
  for (int64_t i = 0; i < training_.sub_iterations; i++) {
    expect(expected);
    maximize(expected);
  }
  if (static_cast<double>(pieces_.size()) <= static_cast<double>(training_.vocab_size) * surplus) {
    finish();
    return false;
  }
  size_t before = pieces_.size();
  prune();
  if (pieces_.size() < before) return true;
  finish();
  return false;
}

// All characters, then the likeliest pieces up to the size of the vocabulary.
void UnigramTrainer::finish() {
  sort_by_score(pieces_);
  std::map<std::string, double> scores;
  for (const UnigramPiece& piece : pieces_) scores[piece.text] = piece.score;
  std::vector<UnigramPiece> result;
  double least = pieces_.empty() ? 0 : pieces_.back().score;
  double penalty = 0;
  for (const std::string& character : characters_) {
    if (auto known = scores.find(character); known != scores.end()) {
      result.push_back({character, known->second});
      scores.erase(known);
    } else {
      result.push_back({character, least - (penalty += 0.0001)});  // each its own, so that their order is no chance
    }
  }
  for (UnigramPiece& piece : pieces_) {
    if (static_cast<int64_t>(result.size()) >= training_.vocab_size) break;
    if (scores.count(piece.text)) result.push_back(std::move(piece));
  }
  sort_by_score(result);
  pieces_ = std::move(result);
}

}  // namespace tsgpt::tokenizers
