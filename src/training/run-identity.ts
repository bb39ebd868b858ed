/** What differs between a saved run and the one that resumes it. */

import type { RunIdentity } from '../data/batch-source.js';

/** Keys of an identity that say how much data there is, by what is counted. */
const counts = { trainTokens: 'tokens', trainExamples: 'examples' };

/** What makes a run go on otherwise than the saved one would have: `batchSize: 12, now 16`. */
export function differences(saved: RunIdentity, now: RunIdentity): string[] {
  const names = [...new Set([...Object.keys(now), ...Object.keys(saved)])];
  const found = names
    .filter((name) => saved[name] !== now[name] && !(name in counts) && name !== 'trainHash')
    .map((name) => `${name}: ${saved[name] ?? 'not set'}, now ${now[name] ?? 'not set'}`);
  const counted = Object.entries(counts).filter(([name]) => saved[name] !== now[name]);
  for (const [name, unit] of counted) {
    found.push(`the training text: ${saved[name] ?? 'no'} ${unit}, now ${now[name] ?? 'none'}`);
  }
  if (counted.length === 0 && saved.trainHash !== now.trainHash) {
    found.push('the training text: it has changed since');
  }
  return found;
}
