/**
 * ROUGE ("ROUGE: A Package for Automatic Evaluation of Summaries", Lin, 2004) as Google's rouge-score computes it without its
 * stemmer: lower case, words of the letters a to z and digits; the mean of the texts' F-measures.
 */

import { checkPairs, countRuns } from './bleu.js';

/** Means over all texts, from 0 to 1. */
export interface Rouge {
  /** Words in common. */
  readonly rouge1: number;
  /** Pairs of words in common. */
  readonly rouge2: number;
  /** The longest sequence of words that both have, with others between them. */
  readonly rougeL: number;
}

/**
 * ROUGE of texts.
 *
 * @throws ArgumentError for no or unequally many texts.
 * @example
 * rouge(['the cat sat'], ['the cat ate']).rouge1; // 2 / 3
 */
export function rouge(texts: readonly string[], references: readonly string[]): Rouge {
  checkPairs('rouge', texts, references);
  const pairs = texts.map((text, i) => [wordsOf(text), wordsOf(references[i])] as const);
  const mean = (score: (written: string[], wanted: string[]) => number): number =>
    pairs.reduce((sum, [written, wanted]) => sum + score(written, wanted), 0) / pairs.length;
  return {
    rouge1: mean((a, b) => runs(a, b, 1)),
    rouge2: mean((a, b) => runs(a, b, 2)),
    rougeL: mean((a, b) => fMeasure(longestCommon(a, b), a.length, b.length)),
  };
}

const wordsOf = (text: string): string[] =>
  text
    .toLowerCase()
    .split(/[^a-z0-9]+/)
    .filter((word) => word !== '');

function runs(written: readonly string[], wanted: readonly string[], n: number): number {
  const known = countRuns(wanted, n);
  let common = 0;
  for (const [run, count] of countRuns(written, n)) common += Math.min(count, known.get(run) ?? 0);
  return fMeasure(common, Math.max(0, written.length - n + 1), Math.max(0, wanted.length - n + 1));
}

const fMeasure = (common: number, written: number, wanted: number): number =>
  common === 0 ? 0 : (2 * common) / (written + wanted);

/** Length of the longest common subsequence. */
function longestCommon(a: readonly string[], b: readonly string[]): number {
  let row = new Array<number>(b.length + 1).fill(0);
  for (const word of a) {
    const next = [0];
    for (let j = 0; j < b.length; j++) next.push(word === b[j] ? row[j] + 1 : Math.max(row[j + 1], next[j]));
    row = next;
  }
  return row[b.length];
}
