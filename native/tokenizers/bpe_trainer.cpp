#include "bpe_trainer.h"

#include <algorithm>
#include <map>
#include <stdexcept>

#include "byte_alphabet.h"
#include "utf8.h"

namespace tsgpt::tokenizers {

BpeTrainer::BpeTrainer(const WordCounts& words, BpeTraining training) : training_(std::move(training)) {
  for (const std::string& token : training_.special_tokens) add_token(token, token, 1);
  make_alphabet(words);
  make_words(words);
  queue_fresh();
}

int32_t BpeTrainer::add_token(const std::string& text, const std::string& raw, int64_t length) {
  uint32_t id = ids_.add(text);
  if (id == tokens_.size()) {
    tokens_.push_back(text);
    raw_.push_back(raw);
    lengths_.push_back(length);
  }
  return static_cast<int32_t>(id);
}

// Calls symbol(code, raw) for each character of a word: the code point with which it is written, and its bytes.
template <class Symbol> void BpeTrainer::each_symbol(std::string_view word, Symbol&& symbol) const {
  for (size_t i = 0; i < word.size();) {
    size_t bytes = training_.byte_level ? 1 : utf8_bytes(static_cast<uint8_t>(word[i]));
    std::string_view raw = word.substr(i, bytes);
    i += bytes;
    uint32_t code = training_.byte_level ? ByteAlphabet::get().code(static_cast<uint8_t>(raw[0])) : utf8_code(raw);
    symbol(code, raw, i >= word.size());
  }
}

std::string BpeTrainer::written(uint32_t code) const {
  std::string text;
  append_utf8(code, text);
  return text;
}

void BpeTrainer::make_alphabet(const WordCounts& words) {
  struct Letter {
    uint32_t code;
    int64_t count;
    std::string raw;
  };
  std::map<uint32_t, Letter> alphabet;
  for (uint32_t w = 0; w < words.size(); w++) {
    each_symbol(words.word(w), [&](uint32_t code, std::string_view raw, bool) {
      Letter& letter = alphabet.try_emplace(code, Letter{code, 0, std::string(raw)}).first->second;
      letter.count += words.count(w);
    });
  }
  for (size_t i = 0; i < training_.initial_alphabet.size();) {
    std::string_view character = std::string_view(training_.initial_alphabet).substr(i);
    character = character.substr(0, utf8_bytes(static_cast<uint8_t>(character[0])));
    i += character.size();
    std::string raw;
    if (!training_.byte_level || !ByteAlphabet::get().decode(character, raw)) raw = character;
    uint32_t code = utf8_code(character);
    alphabet.try_emplace(code, Letter{code, 0, raw}).first->second.count = INT64_MAX;
  }
  std::vector<Letter> letters;
  for (auto& [code, letter] : alphabet) letters.push_back(std::move(letter));
  if (static_cast<int64_t>(letters.size()) > training_.limit_alphabet) {
    std::stable_sort(letters.begin(), letters.end(), [](const Letter& a, const Letter& b) { return a.count > b.count; });
    letters.resize(static_cast<size_t>(training_.limit_alphabet));
    std::sort(letters.begin(), letters.end(), [](const Letter& a, const Letter& b) { return a.code < b.code; });
  }
  for (const Letter& letter : letters) add_token(written(letter.code), letter.raw, 1);
}

void BpeTrainer::make_words(const WordCounts& words) {
  // Characters in the middle and at the end of words are other tokens where there is a prefix or a suffix: first they are
  // collected, so that their ids do not depend on the order of the words.
  struct Form {
    int kind;  // 1: with prefix, 2: with suffix
    uint32_t code;
    bool operator<(const Form& other) const { return kind != other.kind ? kind < other.kind : code < other.code; }
  };
  std::map<Form, std::string> forms;  // with their raw bytes
  auto kind = [&](bool first, bool last) {
    return (first || training_.prefix.empty() ? 0 : 1) + (last && !training_.suffix.empty() ? 2 : 0);
  };
  auto each = [&](std::string_view word, auto&& use) {
    bool first = true;
    each_symbol(word, [&](uint32_t code, std::string_view raw, bool last) {
      if (ids_.find(written(code)) != StringTable::none) use(Form{kind(first, last), code}, raw);
      first = false;
    });
  };
  for (uint32_t w = 0; w < words.size(); w++) {
    each(words.word(w), [&](Form form, std::string_view raw) {
      if (form.kind != 0) forms.try_emplace(form, raw);
    });
  }
  std::map<Form, int32_t> form_ids;
  for (const auto& [form, raw] : forms) {
    auto dress = [&](const std::string& text) {
      return (form.kind & 1 ? training_.prefix : "") + text + (form.kind & 2 ? training_.suffix : "");
    };
    form_ids[form] = add_token(dress(written(form.code)), dress(raw), 1);
  }
  std::map<uint32_t, int32_t> letter_ids;
  for (uint32_t w = 0; w < words.size(); w++) {
    Word word{words.count(w), symbols_.size(), 0};
    each(words.word(w), [&](Form form, std::string_view) {
      int32_t id;
      if (form.kind != 0) {
        id = form_ids[form];
      } else {
        auto [known, is_new] = letter_ids.try_emplace(form.code, 0);
        if (is_new) known->second = static_cast<int32_t>(ids_.find(written(form.code)));
        id = known->second;
      }
      symbols_.push_back(id);
    });
    word.length = static_cast<uint32_t>(symbols_.size() - word.begin);
    words_.push_back(word);
    for (size_t i = word.begin + 1; i < symbols_.size(); i++) {
      change_count(symbols_[i - 1], symbols_[i], word.count, w);
    }
  }
}

// ------------------------------------------------------------------ the queue

void BpeTrainer::change_count(int32_t left, int32_t right, int64_t change, uint32_t word) {
  uint64_t key = pair_key(left, right);
  Pair& pair = pairs_[key];
  pair.count += change;
  if (change < 0) return;
  if (pair.fresh == 0) {
    fresh_.push_back({key, {}});
    pair.fresh = static_cast<uint32_t>(fresh_.size());
  }
  std::vector<uint32_t>& words = fresh_[pair.fresh - 1].words;
  if (words.empty() || words.back() != word) words.push_back(word);
}

bool BpeTrainer::after(const Candidate& a, const Candidate& b) const {
  if (a.count != b.count) return a.count < b.count;
  if (!training_.greater_wins) return a.pair > b.pair;
  const std::string& left_a = raw_[static_cast<size_t>(pair_left(a.pair))];
  const std::string& left_b = raw_[static_cast<size_t>(pair_left(b.pair))];
  if (int order = left_a.compare(left_b); order != 0) return order < 0;
  return raw_[static_cast<size_t>(pair_right(a.pair))] < raw_[static_cast<size_t>(pair_right(b.pair))];
}

// Pairs that appeared since the last call come into the queue.
void BpeTrainer::queue_fresh() {
  for (Fresh& fresh : fresh_) {
    Pair& pair = pairs_[fresh.pair];
    pair.fresh = 0;
    if (pair.count < 1) continue;
    queue_.push_back({pair.count, fresh.pair, std::move(fresh.words)});
    std::push_heap(queue_.begin(), queue_.end(), [this](auto& a, auto& b) { return after(a, b); });
  }
  fresh_.clear();
}

bool BpeTrainer::step(int64_t merges) {
  auto order = [this](const Candidate& a, const Candidate& b) { return after(a, b); };
  while (merges > 0) {
    if (static_cast<int64_t>(tokens_.size()) >= training_.vocab_size || queue_.empty()) return false;
    std::pop_heap(queue_.begin(), queue_.end(), order);
    Candidate top = std::move(queue_.back());
    queue_.pop_back();
    int64_t count = pairs_[top.pair].count;
    if (top.count != count) {
      if (count < 1) continue;
      top.count = count;
      queue_.push_back(std::move(top));
      std::push_heap(queue_.begin(), queue_.end(), order);
      continue;
    }
    if (count < training_.min_frequency) return false;
    int32_t id = merged_token(pair_left(top.pair), pair_right(top.pair));
    merges_.push_back(top.pair);
    for (uint32_t word : top.words) merge_in_word(word, top.pair, id);
    queue_fresh();
    merges--;
  }
  return true;
}

int32_t BpeTrainer::merged_token(int32_t left, int32_t right) {
  auto l = static_cast<size_t>(left), r = static_cast<size_t>(right);
  auto join = [&](const std::string& a, const std::string& b) {
    bool continues = !training_.prefix.empty() && b.compare(0, training_.prefix.size(), training_.prefix) == 0;
    return a + (continues ? b.substr(training_.prefix.size()) : b);
  };
  return add_token(join(tokens_[l], tokens_[r]), join(raw_[l], raw_[r]), lengths_[l] + lengths_[r]);
}

void BpeTrainer::merge_in_word(uint32_t index, uint64_t pair, int32_t id) {
  Word& word = words_[index];
  int32_t* symbols = symbols_.data() + word.begin;
  int32_t left = pair_left(pair), right = pair_right(pair);
  int64_t length = lengths_[static_cast<size_t>(id)];
  auto fits = [&](int32_t other) { return lengths_[static_cast<size_t>(other)] + length < training_.max_token_length; };
  uint32_t out = 0;
  for (uint32_t in = 0; in < word.length; in++) {
    if (symbols[in] != left || in + 1 == word.length || symbols[in + 1] != right) {
      symbols[out++] = symbols[in];
      continue;
    }
    if (out > 0) {
      int32_t before = symbols[out - 1];
      change_count(before, left, -word.count, index);
      if (fits(before)) change_count(before, id, word.count, index);
    }
    if (in + 2 < word.length) {
      int32_t next = symbols[in + 2];
      change_count(right, next, -word.count, index);
      if (fits(next)) change_count(id, next, word.count, index);
    }
    symbols[out++] = id;
    in++;
  }
  word.length = out;
}

}  // namespace tsgpt::tokenizers
