#include "char_class.h"

#include <cstring>

#include "unicode_classes.h"

namespace tsgpt::tokenizers {

const CharClass* char_classes() {
  static const CharClass* filled = [] {
    // A byte a code point: one look, and the system gives only those pages that texts touch.
    static CharClass table[0x110000];
    for (const CharRange& range : char_ranges) {
      std::memset(table + range.first, static_cast<int>(range.kind), range.last - range.first + 1);
    }
    return table;
  }();
  return filled;
}

}  // namespace tsgpt::tokenizers
