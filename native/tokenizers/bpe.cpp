#include "bpe.h"

#include <algorithm>
#include <atomic>
#include <new>
#include <queue>
#include <stdexcept>

#include "../runtime/parallel.h"
#include "byte_alphabet.h"
#include "word_cache.h"

namespace tsgpt::tokenizers {
namespace {

constexpr size_t chunk_bytes = 32 << 10;
// Up to this many tokens the pair of the lowest rank is found by looking at all of them, which is faster than a heap.
constexpr size_t most_scanned = 64;
static_assert(WordCache::longest <= most_scanned);

// Cuts off the text up to the next line break, which goes too.
std::string_view take_line(std::string_view& text) {
  size_t at = text.find('\n');
  std::string_view line = text.substr(0, at);
  text = at == std::string_view::npos ? std::string_view() : text.substr(at + 1);
  return line;
}

}  // namespace

// ------------------------------------------------------------------ vocabulary

BpeEncoder::BpeEncoder(std::string_view tokens, const int32_t* ids, size_t count, std::string_view merges, bool ignore_merges,
                       bool rank_by_token)
    : ignore_merges_(ignore_merges) {
  add_tokens(tokens, ids, count);
  add_merges(merges, rank_by_token);
  for (int byte = 0; byte < 256; byte++) {
    auto c = static_cast<char>(byte);
    byte_ids_[byte] = find_token({&c, 1});
    has_all_bytes_ &= byte_ids_[byte] >= 0;
  }
}

BpeEncoder::~BpeEncoder() = default;

void BpeEncoder::add_tokens(std::string_view tokens, const int32_t* ids, size_t count) {
  if (count == 0) return;
  int32_t last = *std::max_element(ids, ids + count), first = *std::min_element(ids, ids + count);
  if (first < 0 || last > most_ids) throw std::invalid_argument("an id is out of range");
  token_bytes_.assign(static_cast<size_t>(last) + 1, 0);
  tokens_.reserve(count);
  token_ids_.reserve(count);
  std::string bytes;
  for (size_t i = 0; i < count; i++) {
    bytes.clear();
    if (!ByteAlphabet::get().decode(take_line(tokens), bytes) || bytes.empty()) continue;
    if (tokens_.add(bytes) < token_ids_.size()) throw std::invalid_argument("a token is twice in the vocabulary");
    token_ids_.push_back(ids[i]);
    token_bytes_[static_cast<size_t>(ids[i])] = static_cast<int32_t>(bytes.size());
  }
  if (!tokens.empty()) throw std::invalid_argument("there are more tokens than ids");
}

int32_t BpeEncoder::find_token(std::string_view bytes) const {
  uint32_t index = tokens_.find(bytes);
  return index == StringTable::none ? -1 : token_ids_[index];
}

void BpeEncoder::add_merges(std::string_view merges, bool rank_by_token) {
  merges_.reserve(static_cast<size_t>(std::count(merges.begin(), merges.end(), '\n')) + 1);
  std::vector<uint32_t> ranks(rank_by_token ? token_bytes_.size() : 0, UINT32_MAX);  // of what merges make
  std::string bytes;
  for (uint32_t line = 0; !merges.empty(); line++) {
    std::string_view text = take_line(merges);
    size_t space = text.find(' ');
    int32_t ids[3] = {-1, -1, -1};
    bytes.clear();
    if (space != std::string_view::npos && ByteAlphabet::get().decode(text.substr(0, space), bytes)) {
      size_t left = bytes.size();
      if (ByteAlphabet::get().decode(text.substr(space + 1), bytes)) {
        std::string_view both = bytes;
        ids[0] = find_token(both.substr(0, left));
        ids[1] = find_token(both.substr(left));
        ids[2] = find_token(both);
      }
    }
    if (ids[0] < 0 || ids[1] < 0 || ids[2] < 0) {
      throw std::invalid_argument("merge " + std::to_string(line) + " ('" + std::string(text) +
                                  "') must be two tokens of the vocabulary that make one of it");
    }
    uint32_t rank = line;
    if (rank_by_token) {
      uint32_t& known = ranks[static_cast<size_t>(ids[2])];
      rank = known = std::min(known, line);
    }
    merges_[pair_key(ids[0], ids[1])] = {rank, ids[2]};
  }
}

size_t BpeEncoder::memory() const { return tokens_.memory() + token_ids_.capacity() * 8 + merges_.memory(); }

// ------------------------------------------------------------------ texts

std::vector<std::vector<int32_t>> BpeEncoder::encode(std::string_view text, Split split) const {
  const Splitter splitter(split);
  auto* begin = reinterpret_cast<const uint8_t*>(text.data());
  const uint8_t* end = begin + text.size();
  std::vector<std::string_view> chunks;
  for (const uint8_t* p = begin; p < end;) {
    const uint8_t* cut = static_cast<size_t>(end - p) <= chunk_bytes ? end : splitter.next_cut(p + chunk_bytes, end);
    chunks.emplace_back(reinterpret_cast<const char*>(p), static_cast<size_t>(cut - p));
    p = cut;
  }
  std::vector<std::vector<int32_t>> results(chunks.size());
  std::atomic<bool> out_of_memory{false};
  auto task = [&](size_t i) {
    try {
      std::unique_ptr<WordCache> cache = take_cache();
      encode_chunk(splitter, chunks[i], *cache, results[i]);
      give_cache(std::move(cache));
    } catch (const std::bad_alloc&) {
      out_of_memory = true;  // an exception must not leave the pool's thread
    }
  };
  parallel_run(
      static_cast<int64_t>(chunks.size()),
      [](void* context, int64_t i) { (*static_cast<decltype(task)*>(context))(static_cast<size_t>(i)); }, &task);
  if (out_of_memory) throw std::bad_alloc();
  return results;
}

void BpeEncoder::offsets(std::string_view text, const int32_t* ids, size_t count, int32_t* out) const {
  size_t at = 0;
  int32_t begin = 0, end = 0;  // of the character that the byte before `at` belongs to
  for (size_t i = 0; i < count; i++) {
    auto id = static_cast<size_t>(ids[i]);
    int32_t bytes = ids[i] >= 0 && id < token_bytes_.size() ? token_bytes_[id] : 0;
    if (bytes == 0 || text.size() - at < static_cast<size_t>(bytes)) break;
    for (int32_t b = 0; b < bytes; b++) {
      auto byte = static_cast<uint8_t>(text[at++]);
      if ((byte & 0xc0) != 0x80) {
        begin = end;
        end += byte >= 0xf0 ? 2 : 1;
      }
      if (b == 0) *out++ = begin;
    }
    *out++ = end;
    if (i + 1 == count && at == text.size()) return;
  }
  if (count != 0 || !text.empty()) throw std::invalid_argument("the ids are not those of the text");
}

std::unique_ptr<WordCache> BpeEncoder::take_cache() const {
  std::lock_guard<std::mutex> lock(caches_lock_);
  if (caches_.empty()) return std::make_unique<WordCache>();
  std::unique_ptr<WordCache> cache = std::move(caches_.back());
  caches_.pop_back();
  return cache;
}

void BpeEncoder::give_cache(std::unique_ptr<WordCache> cache) const {
  std::lock_guard<std::mutex> lock(caches_lock_);
  caches_.push_back(std::move(cache));
}

void BpeEncoder::encode_chunk(const Splitter& splitter, std::string_view text, WordCache& cache,
                              std::vector<int32_t>& ids) const {
  ids.reserve(text.size() / 3 + 16);
  auto* begin = reinterpret_cast<const uint8_t*>(text.data());
  splitter.each(begin, begin + text.size(), [&](const uint8_t* from, const uint8_t* to) {
    std::string_view word(reinterpret_cast<const char*>(from), static_cast<size_t>(to - from));
    if (word.size() > WordCache::longest) return encode_word(word, ids);
    WordCache::Entry& entry = cache.find(word);
    if (entry.bytes == 0) {
      size_t before = ids.size();
      encode_word(word, ids);
      cache.store(entry, word, ids.data() + before, ids.size() - before);
    } else {
      const int32_t* known = cache.ids(entry);
      ids.insert(ids.end(), known, known + entry.count);
    }
  });
}

// ------------------------------------------------------------------ words

void BpeEncoder::encode_word(std::string_view word, std::vector<int32_t>& ids) const {
  if (ignore_merges_) {
    if (int32_t id = find_token(word); id >= 0) {
      ids.push_back(id);
      return;
    }
  }
  size_t before = ids.size();
  for (char c : word) {
    if (int32_t id = byte_ids_[static_cast<uint8_t>(c)]; id >= 0) ids.push_back(id);
  }
  size_t count = ids.size() - before;
  ids.resize(before + (count <= most_scanned ? merge_by_scanning(ids.data() + before, count)
                                             : merge_by_heap(ids.data() + before, count)));
}

// Both of these merge `count` tokens in place and answer how many are left.

size_t BpeEncoder::merge_by_scanning(int32_t* ids, size_t count) const {
  if (count < 2) return count;
  constexpr BpeMerge no_merge{UINT32_MAX, -1};
  BpeMerge pairs[most_scanned];  // of a token and the next
  auto look = [&](size_t i) {
    const BpeMerge* merge = merges_.find(pair_key(ids[i], ids[i + 1]));
    pairs[i] = merge ? *merge : no_merge;
  };
  for (size_t i = 0; i + 1 < count; i++) look(i);
  while (count > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < count; i++) {
      if (pairs[i].rank < pairs[best].rank) best = i;
    }
    if (pairs[best].id < 0) break;
    ids[best] = pairs[best].id;
    count--;
    for (size_t i = best + 1; i < count; i++) {
      ids[i] = ids[i + 1];
      pairs[i - 1] = pairs[i];
    }
    if (best + 1 < count) look(best);
    if (best > 0) look(best - 1);
  }
  return count;
}

size_t BpeEncoder::merge_by_heap(int32_t* ids, size_t count) const {
  if (count > INT32_MAX) throw std::invalid_argument("a word is longer than 2 GiB");
  constexpr int32_t dead = -1;
  std::vector<int32_t> next(count), previous(count);
  for (size_t i = 0; i < count; i++) {
    next[i] = static_cast<int32_t>(i) + 1;
    previous[i] = static_cast<int32_t>(i) - 1;
  }
  // Rank and place in one number: the lowest rank first, then the leftmost. Entries go stale; they are looked at again.
  std::vector<uint64_t> candidates;
  auto look = [&](size_t i) -> const BpeMerge* {
    auto after = static_cast<size_t>(next[i]);
    return after < count ? merges_.find(pair_key(ids[i], ids[after])) : nullptr;
  };
  for (size_t i = 0; i < count; i++) {
    if (const BpeMerge* merge = look(i)) candidates.push_back(uint64_t{merge->rank} << 32 | i);
  }
  std::priority_queue<uint64_t, std::vector<uint64_t>, std::greater<uint64_t>> queue({}, std::move(candidates));
  while (!queue.empty()) {
    uint64_t top = queue.top();
    queue.pop();
    auto i = static_cast<size_t>(static_cast<uint32_t>(top));
    if (ids[i] == dead) continue;
    const BpeMerge* merge = look(i);
    if (!merge || merge->rank != top >> 32) continue;
    auto gone = static_cast<size_t>(next[i]);
    ids[i] = merge->id;
    ids[gone] = dead;
    next[i] = next[gone];
    if (static_cast<size_t>(next[i]) < count) previous[static_cast<size_t>(next[i])] = static_cast<int32_t>(i);
    if (const BpeMerge* fresh = look(i)) queue.push(uint64_t{fresh->rank} << 32 | i);
    if (previous[i] >= 0) {
      auto left = static_cast<size_t>(previous[i]);
      if (const BpeMerge* fresh = look(left)) queue.push(uint64_t{fresh->rank} << 32 | left);
    }
  }
  return static_cast<size_t>(std::remove(ids, ids + count, dead) - ids);
}

}  // namespace tsgpt::tokenizers
