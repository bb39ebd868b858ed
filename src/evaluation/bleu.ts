/**
 * BLEU of a corpus ("BLEU: a Method for Automatic Evaluation of Machine Translation", Papineni et al., 2002) as sacreBLEU
 * computes it by default, so that values can be compared: tokenizer 13a, up to four words, exponential smoothing, one
 * reference for each text, case counts.
 */

import { ArgumentError } from '../../lib/index.js';

/** What {@link bleu} finds. */
export interface Bleu {
  /** From 0 to 100. */
  readonly score: number;
  /** Of one to four words in a row: the part, in percent, that the reference has too. */
  readonly precisions: readonly number[];
  /** Below 1 where the texts are shorter than the references. */
  readonly brevityPenalty: number;
  /** Words of all texts, and of all references. */
  readonly words: number;
  readonly referenceWords: number;
}

const longest = 4;

/**
 * BLEU of texts.
 *
 * @param texts What was written.
 * @param references What should have been.
 * @throws ArgumentError for no or unequally many texts.
 * @example
 * bleu(['the cat sat on the mat'], ['the cat sat on the mat']).score; // 100
 */
export function bleu(texts: readonly string[], references: readonly string[]): Bleu {
  checkPairs('bleu', texts, references);
  const matches = new Array<number>(longest).fill(0);
  const totals = new Array<number>(longest).fill(0);
  let [words, referenceWords] = [0, 0];
  texts.forEach((text, i) => {
    const [written, wanted] = [tokenize13a(text), tokenize13a(references[i])];
    words += written.length;
    referenceWords += wanted.length;
    for (let n = 1; n <= longest; n++) {
      const known = countRuns(wanted, n);
      for (const [run, count] of countRuns(written, n)) {
        matches[n - 1] += Math.min(count, known.get(run) ?? 0);
        totals[n - 1] += count;
      }
    }
  });
  const precisions = precisionsOf(matches, totals);
  const brevityPenalty = words >= referenceWords ? 1 : words === 0 ? 0 : Math.exp(1 - referenceWords / words);
  const isZero = precisions.includes(0);
  const logs = precisions.reduce((sum, p) => sum + Math.log(p), 0) / longest;
  return {
    score: isZero ? 0 : brevityPenalty * Math.exp(logs),
    precisions,
    brevityPenalty,
    words,
    referenceWords,
  };
}

/** Percentages; where nothing fits, half as much each time as if one did. Without any match they are all 0. */
function precisionsOf(matches: readonly number[], totals: readonly number[]): number[] {
  if (matches.every((count) => count === 0)) return matches.map(() => 0);
  let smoothing = 1;
  return matches.map((count, i) => {
    if (totals[i] === 0) return 0;
    if (count > 0) return (100 * count) / totals[i];
    smoothing *= 2;
    return 100 / (smoothing * totals[i]);
  });
}

/** How often each run of `n` words occurs. */
export function countRuns(words: readonly string[], n: number): Map<string, number> {
  const counts = new Map<string, number>();
  for (let i = 0; i + n <= words.length; i++) {
    const run = words.slice(i, i + n).join('\0');
    counts.set(run, (counts.get(run) ?? 0) + 1);
  }
  return counts;
}

/** Words as mteval-v13a has them: most punctuation stands alone, but points and commas stay in numbers. */
function tokenize13a(text: string): string[] {
  const spaced = ` ${text
    .replaceAll('<skipped>', '')
    .replaceAll('-\n', '')
    .replaceAll('\n', ' ')
    .replaceAll('&quot;', '"')
    .replaceAll('&amp;', '&')
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')} `
    .replace(/([{-~[-` -&(-+:-@/])/g, ' $1 ')
    .replace(/([^0-9])([.,])/g, '$1 $2 ')
    .replace(/([.,])([^0-9])/g, ' $1 $2')
    .replace(/([0-9])(-)/g, '$1 $2 ');
  return spaced.split(/\s+/).filter((word) => word !== '');
}

/** Throws ArgumentError unless there is a reference for each text, and a text at all. */
export function checkPairs(name: string, texts: readonly string[], references: readonly string[]): void {
  if (texts.length === references.length && texts.length > 0) return;
  throw new ArgumentError(
    `${name}: a reference for each text is needed, and one text at least; got ${references.length} for ${texts.length}`,
  );
}
