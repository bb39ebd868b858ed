// Encoding and training of tokenizers for JavaScript.
#include "tokenizers.h"

#include <algorithm>
#include "../tokenizers/bpe.h"
#include "../tokenizers/bpe_trainer.h"
#include "../tokenizers/unigram_trainer.h"

#include "call.h"

namespace tsgpt {
namespace {

using namespace tokenizers;

constexpr napi_type_tag encoder_tag{0x6f1c9d2e7a4b4c05, 0x9e2b61f08d3a5c71};
constexpr napi_type_tag counts_tag{0x1d7e0b5c83f24a96, 0xb0c4e2975f61d83a};
constexpr napi_type_tag bpe_trainer_tag{0x83a6f0d94c1b4e72, 0xa5d9074be62f1c38};

constexpr napi_type_tag unigram_trainer_tag{0x2b9f4e7d60c8135a, 0xe6710d3ba8f5924c};

static_assert(Text::padding >= BpeEncoder::padding);

Split split_of(int32_t split) {
  if (split < 0 || split >= split_kinds) wrong("unknown split");
  return static_cast<Split>(split);
}

napi_value boolean(napi_env env, bool value) {
  napi_value result = nullptr;
  napi_get_boolean(env, value, &result);
  return result;
}

napi_value number(napi_env env, double value) {
  napi_value result = nullptr;
  napi_create_double(env, value, &result);
  return result;
}

// ------------------------------------------------------------------ byte-level BPE

// createBpe(tokens, ids, merges, ignoreMerges, rankByToken): see BpeEncoder.
napi_value create_bpe(napi_env env, const Call& call) {
  Text tokens = call.text(0), merges = call.text(2);
  size_t count = 0;
  const int32_t* ids = call.ints(1, count);
  auto encoder = std::make_unique<BpeEncoder>(tokens.view(), ids, count, merges.view(), call.flag(3), call.flag(4));
  int64_t total;
  napi_adjust_external_memory(env, static_cast<int64_t>(encoder->memory()), &total);
  return wrap(env, std::move(encoder), encoder_tag);
}

// encodeBpe(encoder, text, split): the ids.
napi_value encode_bpe(napi_env env, const Call& call) {
  auto& encoder = call.object<BpeEncoder>(0, encoder_tag);
  Text text = call.text(1);
  std::vector<std::vector<int32_t>> chunks = encoder.encode(text.view(), split_of(call.integer(2)));
  size_t count = 0;
  for (const auto& chunk : chunks) count += chunk.size();
  napi_value array = nullptr;
  int32_t* ids = new_ints(env, count, &array);
  for (const auto& chunk : chunks) ids = std::copy(chunk.begin(), chunk.end(), ids);
  return array;
}

// bpeOffsets(encoder, text, ids): begin and end of each token in the string.
napi_value bpe_offsets(napi_env env, const Call& call) {
  auto& encoder = call.object<BpeEncoder>(0, encoder_tag);
  Text text = call.text(1);
  size_t count = 0;
  const int32_t* ids = call.ints(2, count);
  std::vector<int32_t> offsets(2 * count);
  encoder.offsets(text.view(), ids, count, offsets.data());
  napi_value array = nullptr;
  std::copy(offsets.begin(), offsets.end(), new_ints(env, 2 * count, &array));
  return array;
}

// bpeHasAllBytes(encoder)
napi_value bpe_has_all_bytes(napi_env env, const Call& call) {
  return boolean(env, call.object<BpeEncoder>(0, encoder_tag).has_all_bytes());
}

// ------------------------------------------------------------------ training

// createWordCounts(split)
napi_value create_word_counts(napi_env env, const Call& call) {
  return wrap(env, std::make_unique<WordCounts>(split_of(call.integer(0))), counts_tag);
}

// countText(counts, text): counts the words of a text.
napi_value count_text(napi_env, const Call& call) {
  call.object<WordCounts>(0, counts_tag).add_text(call.text(1).view());
  return nullptr;
}

// countWord(counts, word, times)
napi_value count_word(napi_env, const Call& call) {
  call.object<WordCounts>(0, counts_tag).add_word(call.text(1).view(), call.integer(2));
  return nullptr;
}

// Strings that JavaScript joined with NUL.
std::vector<std::string> strings(const std::string& joined) {
  std::vector<std::string> all;
  for (size_t at = 0; at < joined.size();) {
    size_t end = joined.find('\0', at);
    all.push_back(joined.substr(at, end - at));
    at = end == std::string::npos ? joined.size() : end + 1;
  }
  return all;
}

// createBpeTrainer(counts, [vocabSize, minFrequency, limitAlphabet, maxTokenLength, byteLevel, greaterWins], specialTokens
// joined with NUL, initialAlphabet, prefix, suffix)
napi_value create_bpe_trainer(napi_env env, const Call& call) {
  auto& counts = call.object<WordCounts>(0, counts_tag);
  const double* numbers = call.numbers(1, 6);
  auto whole = [&](int i) { return static_cast<int64_t>(std::min(std::max(numbers[i], 0.0), 9007199254740991.0)); };
  BpeTraining training;
  training.vocab_size = whole(0);
  training.min_frequency = whole(1);
  training.limit_alphabet = whole(2);
  training.max_token_length = whole(3);
  training.byte_level = numbers[4] != 0;
  training.greater_wins = numbers[5] != 0;
  training.special_tokens = strings(call.string(2));
  training.initial_alphabet = call.string(3);
  training.prefix = call.string(4);
  training.suffix = call.string(5);
  return wrap(env, std::make_unique<BpeTrainer>(counts, std::move(training)), bpe_trainer_tag);
}

// stepBpeTrainer(trainer, merges): makes so many merges; false when there is none to make any more.
napi_value step_bpe_trainer(napi_env env, const Call& call) {
  return boolean(env, call.object<BpeTrainer>(0, bpe_trainer_tag).step(call.integer(1)));
}

// bpeTrainerSize(trainer): tokens so far.
napi_value bpe_trainer_size(napi_env env, const Call& call) {
  return number(env, static_cast<double>(call.object<BpeTrainer>(0, bpe_trainer_tag).tokens().size()));
}

// The texts of `count` things, as a JavaScript array.
template <class Text> napi_value string_array(napi_env env, size_t count, Text&& text_of) {
  napi_value array;
  napi_create_array_with_length(env, count, &array);
  for (size_t i = 0; i < count; i++) {
    napi_handle_scope scope;
    napi_open_handle_scope(env, &scope);
    const std::string& text = text_of(i);
    napi_value value;
    napi_create_string_utf8(env, text.data(), text.size(), &value);
    napi_set_element(env, array, static_cast<uint32_t>(i), value);
    napi_close_handle_scope(env, scope);
  }
  return array;
}

// bpeTrainerTokens(trainer): the tokens in the order of their ids.
napi_value bpe_trainer_tokens(napi_env env, const Call& call) {
  const auto& tokens = call.object<BpeTrainer>(0, bpe_trainer_tag).tokens();
  return string_array(env, tokens.size(), [&](size_t i) -> const std::string& { return tokens[i]; });
}

// bpeTrainerMerges(trainer): two ids for each merge.
napi_value bpe_trainer_merges(napi_env env, const Call& call) {
  const std::vector<uint64_t>& merges = call.object<BpeTrainer>(0, bpe_trainer_tag).merges();
  napi_value array = nullptr;
  int32_t* ids = new_ints(env, 2 * merges.size(), &array);
  for (uint64_t merge : merges) {
    *ids++ = pair_left(merge);
    *ids++ = pair_right(merge);
  }
  return array;
}

// createUnigramTrainer(counts, [vocabSize, maxPieceLength, seedSize, shrinkingFactor, subIterations])
napi_value create_unigram_trainer(napi_env env, const Call& call) {
  auto& counts = call.object<WordCounts>(0, counts_tag);
  const double* numbers = call.numbers(1, 5);
  UnigramTraining training;
  training.vocab_size = static_cast<int64_t>(numbers[0]);
  training.max_piece_length = static_cast<int64_t>(numbers[1]);
  training.seed_size = static_cast<int64_t>(numbers[2]);
  training.shrinking_factor = numbers[3];
  training.sub_iterations = static_cast<int64_t>(numbers[4]);
  return wrap(env, std::make_unique<UnigramTrainer>(counts, training), unigram_trainer_tag);
}

// stepUnigramTrainer(trainer): one round; false when it was the last.
napi_value step_unigram_trainer(napi_env env, const Call& call) {
  return boolean(env, call.object<UnigramTrainer>(0, unigram_trainer_tag).step());
}

// unigramTrainerSize(trainer): pieces so far.
napi_value unigram_trainer_size(napi_env env, const Call& call) {
  return number(env, static_cast<double>(call.object<UnigramTrainer>(0, unigram_trainer_tag).pieces().size()));
}

// unigramTrainerPieces(trainer): the pieces by falling score.
napi_value unigram_trainer_pieces(napi_env env, const Call& call) {
  const auto& pieces = call.object<UnigramTrainer>(0, unigram_trainer_tag).pieces();
  return string_array(env, pieces.size(), [&](size_t i) -> const std::string& { return pieces[i].text; });
}

// unigramTrainerScores(trainer)
napi_value unigram_trainer_scores(napi_env env, const Call& call) {
  const auto& pieces = call.object<UnigramTrainer>(0, unigram_trainer_tag).pieces();
  napi_value buffer, array = nullptr;
  void* data = nullptr;
  if (napi_create_arraybuffer(env, pieces.size() * sizeof(double), &data, &buffer) != napi_ok) throw std::bad_alloc();
  napi_create_typedarray(env, napi_float64_array, pieces.size(), buffer, 0, &array);
  auto* scores = static_cast<double*>(data);
  for (const UnigramPiece& piece : pieces) *scores++ = piece.score;
  return array;
}

}  // namespace

void define_tokenizers(napi_env env, napi_value exports) {
  define(env, exports, "createBpe", guarded<create_bpe>);
  define(env, exports, "encodeBpe", guarded<encode_bpe>);
  define(env, exports, "bpeOffsets", guarded<bpe_offsets>);
  define(env, exports, "bpeHasAllBytes", guarded<bpe_has_all_bytes>);
  define(env, exports, "createWordCounts", guarded<create_word_counts>);
  define(env, exports, "countText", guarded<count_text>);
  define(env, exports, "countWord", guarded<count_word>);
  define(env, exports, "createBpeTrainer", guarded<create_bpe_trainer>);
  define(env, exports, "stepBpeTrainer", guarded<step_bpe_trainer>);
  define(env, exports, "bpeTrainerSize", guarded<bpe_trainer_size>);
  define(env, exports, "bpeTrainerTokens", guarded<bpe_trainer_tokens>);
  define(env, exports, "bpeTrainerMerges", guarded<bpe_trainer_merges>);
  define(env, exports, "createUnigramTrainer", guarded<create_unigram_trainer>);
  define(env, exports, "stepUnigramTrainer", guarded<step_unigram_trainer>);
  define(env, exports, "unigramTrainerSize", guarded<unigram_trainer_size>);
  define(env, exports, "unigramTrainerPieces", guarded<unigram_trainer_pieces>);
  define(env, exports, "unigramTrainerScores", guarded<unigram_trainer_scores>);
}

}  // namespace tsgpt
