// What words became, for one thread. Words of up to 16 bytes are their own key, so that a look costs no more than the
// comparison of two numbers; longer ones lie in a block. Up to three ids lie in the entry, more of them in a block. When
// the cache is full it begins anew: texts have few frequent words, they are soon back.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "string_table.h"

namespace tsgpt::tokenizers {

class WordCache {
 public:
  static constexpr size_t longest = 64;

  struct Entry {
    uint64_t key[2];     // the word's bytes; of a longer word its hash and its place
    uint16_t bytes = 0;  // 0: free
    uint16_t count;
    int32_t ids[3];  // with a count above 3 the first is the ids' place
  };

  // The entry of a word, or a free one (bytes 0) for it. `word` has 16 readable bytes from its begin on.
  Entry& find(std::string_view word) {
    if (2 * count_ >= entries_.size()) make_room();
    Key key = key_of(word);
    for (size_t i = key.slot >> shift_;; i = (i + 1) & (entries_.size() - 1)) {
      Entry& entry = entries_[i];
      if (entry.bytes == 0) {
        entry.key[0] = key.a;
        entry.key[1] = key.b;
        return entry;
      }
      if (entry.key[0] != key.a || entry.bytes != word.size()) continue;
      if (word.size() <= 16 ? entry.key[1] == key.b : words_.compare(entry.key[1], word.size(), word) == 0) return entry;
    }
  }

  // Fills the free entry that `find` gave.
  void store(Entry& entry, std::string_view word, const int32_t* ids, size_t count) {
    entry.bytes = static_cast<uint16_t>(word.size());
    entry.count = static_cast<uint16_t>(count);
    if (word.size() > 16) {
      entry.key[1] = words_.size();
      words_.append(word);
    }
    if (count > 3) {
      entry.ids[0] = static_cast<int32_t>(ids_.size());
      ids_.insert(ids_.end(), ids, ids + count);
    } else {
      std::memcpy(entry.ids, ids, count * sizeof(int32_t));
    }
    count_++;
  }

  const int32_t* ids(const Entry& entry) const { return entry.count > 3 ? ids_.data() + entry.ids[0] : entry.ids; }

 private:
  static constexpr size_t first_size = 1 << 12, last_size = 1 << 17;
  static constexpr int first_shift = 52;

  struct Key {
    uint64_t a, b, slot;
  };

  static Key key_of(std::string_view word) {
    if (word.size() > 16) {
      uint64_t hash = hash_bytes(word.data(), word.size());
      return {hash, 0, hash * 0x9e3779b97f4a7c15u};
    }
    uint64_t a, b;
    std::memcpy(&a, word.data(), 8);
    std::memcpy(&b, word.data() + 8, 8);
    if (word.size() <= 8) {
      b = 0;
      a &= ~uint64_t{0} >> (64 - 8 * word.size());
    } else {
      b &= ~uint64_t{0} >> (128 - 8 * word.size());
    }
    uint64_t mixed = (a ^ (b << 23 | b >> 41)) * 0x9e3779b97f4a7c15u;
    return {a, b, (mixed ^ mixed >> 32) * 0x9e3779b97f4a7c15u};
  }

  void make_room() {
    std::vector<Entry> before(entries_.size() < last_size ? entries_.size() * 2 : first_size);
    before.swap(entries_);
    if (before.size() == last_size) {
      words_.clear();
      ids_.clear();
      count_ = 0;
      shift_ = first_shift;
      return;
    }
    shift_--;
    for (const Entry& entry : before) {
      if (entry.bytes == 0) continue;
      uint64_t slot = entry.bytes > 16 ? entry.key[0] * 0x9e3779b97f4a7c15u
                                       : key_of(std::string_view(reinterpret_cast<const char*>(entry.key), entry.bytes)).slot;
      size_t i = slot >> shift_;
      while (entries_[i].bytes != 0) i = (i + 1) & (entries_.size() - 1);
      entries_[i] = entry;
    }
  }

  std::vector<Entry> entries_ = std::vector<Entry>(first_size);
  std::string words_;
  std::vector<int32_t> ids_;
  size_t count_ = 0;
  int shift_ = first_shift;
};

}  // namespace tsgpt::tokenizers
