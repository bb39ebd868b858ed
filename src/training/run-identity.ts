/** What has to be the same for a resumed run to go on exactly as it would have: sizes, settings, the text. */

/** Sizes and settings of a run by name, with `trainTokens` and `trainHash` for its text. */
export type RunIdentity = Readonly<Record<string, number | string | boolean>>;

/** What makes a run go on otherwise than the saved one would have: `batchSize: 12, now 16`. */
export function differences(saved: RunIdentity, now: RunIdentity): string[] {
  const { trainHash: oldText, trainTokens: oldCount, ...old } = saved;
  const { trainHash: newText, trainTokens: newCount, ...settings } = now;
  const names = [...new Set([...Object.keys(settings), ...Object.keys(old)])];
  const found = names
    .filter((name) => old[name] !== settings[name])
    .map((name) => `${name}: ${old[name] ?? 'not set'}, now ${settings[name] ?? 'not set'}`);
  if (oldCount !== newCount) found.push(`the training text: ${oldCount} tokens, now ${newCount}`);
  else if (oldText !== newText) found.push('the training text: it has changed since');
  return found;
}

/** FNV-1a over the ids: tells two texts apart. */
export function hashIds(ids: Int32Array): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < ids.length; i++) h = Math.imul(h ^ ids[i], 0x01000193);
  return h >>> 0;
}
