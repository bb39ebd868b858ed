/**
 * Words of texts, counted as a normalizer and a pre-tokenizer of a `tokenizer.json` make them. In JavaScript, each
 * different word crosses to native code once.
 */

import { native } from '../../lib/native.js';
import type { NativeHandle } from '../../lib/native-addon.js';
import { AlignedText } from './aligned-text.js';
import { splitNumber } from './native-bpe.js';
import { readNormalizer } from './normalizers.js';
import { readPreTokenizer } from './pre-tokenizers.js';
import { eachText, type TokenizerTrainingControl, type TokenizerTrainingSource } from './training-texts.js';

/** Counts the words of a source; answers them and how many characters (UTF-16 units) were read. */
export async function countWords(
  name: string,
  source: TokenizerTrainingSource,
  specialTokens: readonly string[],
  steps: { readonly normalizer: object; readonly preTokenizer: object },
  control: TokenizerTrainingControl,
): Promise<{ counts: NativeHandle<'words'>; characters: number }> {
  const normalize = readNormalizer('normalizer', steps.normalizer);
  const { split } = readPreTokenizer('pre_tokenizer', steps.preTokenizer);
  const times = new Map<string, number>();
  const count = (text: string): void => {
    split(normalize(AlignedText.of(text, false)), true, ({ text: word }) => {
      times.set(word, (times.get(word) ?? 0) + 1);
    });
  };
  const characters = await eachText(name, source, specialTokens, count, control);
  const counts = native.createWordCounts(splitNumber('spaces'));
  for (const [word, occurrences] of times) native.countWord(counts, word, occurrences);
  return { counts, characters };
}
