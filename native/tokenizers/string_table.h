// Byte strings in one block, numbered in the order in which they came, found by a hash table.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace tsgpt::tokenizers {

inline uint64_t hash_bytes(const void* data, size_t n) {
  constexpr uint64_t k = 0x9e3779b97f4a7c15u;
  auto* p = static_cast<const uint8_t*>(data);
  uint64_t h = n * k, word = 0;
  for (; n >= 8; p += 8, n -= 8) {
    std::memcpy(&word, p, 8);
    h = (h ^ word) * k;
    h ^= h >> 32;
  }
  word = 0;
  std::memcpy(&word, p, n);
  h = (h ^ word) * k;
  return h ^ h >> 32;
}

class StringTable {
 public:
  static constexpr uint32_t none = UINT32_MAX;

  uint32_t size() const { return static_cast<uint32_t>(ends_.size() - 1); }
  std::string_view operator[](uint32_t index) const {
    return std::string_view(block_).substr(ends_[index], ends_[index + 1] - ends_[index]);
  }

  // Makes room for so many strings, when there are none yet.
  void reserve(size_t strings) {
    size_t slots = 1024;
    while (slots < 2 * strings) slots *= 2;
    slots_.assign(slots, Slot{});
    ends_.reserve(strings + 1);
  }

  // The number of the string, `none` when it is not there.
  uint32_t find(std::string_view text) const { return slots_[find_slot(text, hash_bytes(text.data(), text.size()))].index; }

  // The number of the string, which is added when it is new.
  uint32_t add(std::string_view text) {
    if (2 * (static_cast<size_t>(size()) + 1) > slots_.size()) grow();
    uint64_t hash = hash_bytes(text.data(), text.size());
    Slot& slot = slots_[find_slot(text, hash)];
    if (slot.index == none) {
      slot = {static_cast<uint32_t>(hash), size()};
      block_.append(text);
      ends_.push_back(block_.size());
    }
    return slot.index;
  }

  size_t memory() const { return block_.capacity() + ends_.capacity() * 8 + slots_.capacity() * sizeof(Slot); }

 private:
  struct Slot {
    uint32_t hash = 0, index = none;
  };

  size_t find_slot(std::string_view text, uint64_t hash) const {
    size_t mask = slots_.size() - 1;
    for (size_t i = static_cast<uint32_t>(hash) & mask;; i = (i + 1) & mask) {
      const Slot& slot = slots_[i];
      if (slot.index == none || (slot.hash == static_cast<uint32_t>(hash) && (*this)[slot.index] == text)) return i;
    }
  }

  void grow() {
    std::vector<Slot> before(slots_.size() * 2);
    before.swap(slots_);
    size_t mask = slots_.size() - 1;
    for (const Slot& slot : before) {
      if (slot.index == none) continue;
      size_t i = slot.hash & mask;
      while (slots_[i].index != none) i = (i + 1) & mask;
      slots_[i] = slot;
    }
  }

  std::string block_;
  std::vector<size_t> ends_ = {0};
  std::vector<Slot> slots_ = std::vector<Slot>(1024);
};

}  // namespace tsgpt::tokenizers
