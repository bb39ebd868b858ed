/** `tsgpt fill-mask`: which tokens fit into the gaps of a text, by an encoder that predicts hidden tokens. */

import { noGrad, scope, softmax, tensor } from '../../lib/index.js';
import { readTexts } from '../data/index.js';
import { AutoModelForMaskedLM } from '../models/index.js';
import { UsageError } from './args.js';
import type { FillMaskValues } from './encoder-flags.js';
import { encoderLength, openWith, pretrainedTokenizer } from './load.js';

/** Runs the command and answers its exit code. */
export async function fillMask(values: FillMaskValues): Promise<number> {
  const { text: given, top, json } = values;
  if (given === undefined) throw new UsageError('--text must give a text with a gap, [MASK]');
  const opened = openWith(values, (path) => AutoModelForMaskedLM.fromPretrained(path));
  const { model } = opened;
  const tokenizer = pretrainedTokenizer(values, opened.tokenizer);
  const { maskId } = tokenizer;
  const mask = maskId === undefined ? undefined : tokenizer.idToToken(maskId);
  if (mask === undefined) throw new UsageError(`the tokenizer of ${values.model} has no mask token`);
  const text = (given === '-' ? (await readTexts('-')).text.trim() : given).replaceAll(
    /\[MASK\]|<mask>/g,
    mask,
  );
  const ids = tokenizer.encode(text);
  const gaps = [...ids.keys()].filter((place) => ids[place] === maskId);
  if (gaps.length === 0) throw new UsageError('--text has no gap; write [MASK] where a word is missing');
  if (ids.length > encoderLength(model)) {
    throw new UsageError(
      `--text has ${ids.length} tokens, the model takes ${encoderLength(model)}; give a shorter text`,
    );
  }
  const rows = scope(() =>
    noGrad(() => softmax(model.predict(model.hidden(tensor(ids, { shape: [1, ids.length] }))), -1).toArray()),
  ) as number[][][];
  for (const [gap, place] of gaps.entries()) {
    const row = rows[0][place].slice(0, tokenizer.vocabSize);
    const best = [...row.keys()].sort((a, b) => row[b] - row[a]).slice(0, top);
    for (const id of best) {
      const filled = Int32Array.from(ids);
      filled[place] = id;
      const token = tokenizer.decode([id]).trim();
      const whole = tokenizer.decode(filled.subarray(1, -1));
      const line = json
        ? JSON.stringify({ gap, token, id, probability: row[id], text: whole })
        : `${gaps.length > 1 ? `${gap + 1}\t` : ''}${row[id].toFixed(4)}\t${token}\t${whole}`;
      process.stdout.write(`${line}\n`);
    }
  }
  return 0;
}
