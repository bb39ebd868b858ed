// A hash table from a pair of token ids to a value: open addressing, grown at half load, nothing is ever removed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tsgpt::tokenizers {

inline uint64_t pair_key(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}
inline int32_t pair_left(uint64_t key) { return static_cast<int32_t>(key >> 32); }
inline int32_t pair_right(uint64_t key) { return static_cast<int32_t>(key); }

template <class Value> class PairTable {
 public:
  const Value* find(uint64_t key) const {
    for (size_t i = slot(key);; i = (i + 1) & mask_) {
      if (entries_[i].key == key) return &entries_[i].value;
      if (entries_[i].key == none) return nullptr;
    }
  }

  // The pair's value; a fresh one when it is new.
  Value& operator[](uint64_t key) {
    if (2 * (count_ + 1) > entries_.size()) grow();
    size_t i = slot(key);
    while (entries_[i].key != key && entries_[i].key != none) i = (i + 1) & mask_;
    if (entries_[i].key == none) {
      entries_[i].key = key;
      count_++;
    }
    return entries_[i].value;
  }

  // Makes room for so many pairs, when there are none yet.
  void reserve(size_t pairs) {
    int bits = 10;
    while ((size_t{1} << bits) < 2 * pairs) bits++;
    entries_.assign(size_t{1} << bits, Entry{});
    mask_ = entries_.size() - 1;
    shift_ = 64 - bits;
  }

  size_t memory() const { return entries_.capacity() * sizeof(Entry); }

 private:
  static constexpr uint64_t none = ~uint64_t{0};  // the pair (-1, -1): ids are never negative

  struct Entry {
    uint64_t key = none;
    Value value{};
  };

  size_t slot(uint64_t key) const { return static_cast<size_t>((key ^ key >> 29) * 0x9e3779b97f4a7c15u >> shift_); }

  void grow() {
    std::vector<Entry> before(entries_.size() * 2);
    before.swap(entries_);
    mask_ = entries_.size() - 1;
    shift_--;
    for (Entry& entry : before) {
      if (entry.key == none) continue;
      size_t i = slot(entry.key);
      while (entries_[i].key != none) i = (i + 1) & mask_;
      entries_[i] = std::move(entry);
    }
  }

  std::vector<Entry> entries_ = std::vector<Entry>(1024);
  size_t mask_ = 1023, count_ = 0;
  int shift_ = 54;
};

}  // namespace tsgpt::tokenizers
