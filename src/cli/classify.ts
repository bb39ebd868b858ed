/** `tsgpt classify`: the classes of texts, by an encoder that was trained on labels. */

import { noGrad, scope, softmax } from '../../lib/index.js';
import { padIds, padRows, readTexts } from '../data/index.js';
import { DistilBertForSequenceClassification } from '../models/index.js';
import { problemTypeOf } from '../models/labels.js';
import { type PretrainedTokenizer } from '../tokenizers/index.js';
import { UsageError } from './args.js';
import type { ClassifyValues } from './encoder-flags.js';
import { encoderLength, openClassifier, pretrainedTokenizer } from './load.js';

interface Text {
  readonly text: string;
  readonly ids: Int32Array;
  readonly typeIds: Int32Array;
}

/** Runs the command and answers its exit code. */
export async function classify(values: ClassifyValues): Promise<number> {
  const { text, pair, data, json } = values;
  if (text !== undefined && data !== undefined) throw new UsageError('--text and --data exclude each other');
  if (pair !== undefined && text === undefined) throw new UsageError('--pair is the second text of --text');
  const opened = openClassifier(values);
  const { model } = opened;
  const tokenizer = pretrainedTokenizer(values, opened.tokenizer);
  const { padId = 0 } = tokenizer;
  if (problemTypeOf(model.config) !== 'single_label_classification') {
    throw new UsageError(
      `${values.model} was trained for ${problemTypeOf(model.config)}; classify tells one class of each text`,
    );
  }
  const labels = Object.values(model.config.id2label);
  const texts = text === undefined ? await linesOf(data ?? '-') : [text];
  const encoded = texts.map((one) => encode(tokenizer, one, pair, encoderLength(model)));
  for (let first = 0; first < encoded.length; first += values.batch) {
    const group = encoded.slice(first, first + values.batch);
    const probabilities = scope(() =>
      noGrad(() => {
        const { ids, attentionMask } = padIds(
          group.map((one) => one.ids),
          padId,
        );
        const hasSegments = pair !== undefined && !(model instanceof DistilBertForSequenceClassification);
        const tokenTypeIds = padRows(
          group.map(({ typeIds }) => typeIds),
          0,
        );
        const options = { ...(attentionMask && { attentionMask }), ...(hasSegments ? { tokenTypeIds } : {}) };
        return softmax(model.forward(ids, options), -1).toArray() as number[][];
      }),
    );
    group.forEach((one, i) => print(one.text, labels, probabilities[i], json));
  }
  return 0;
}

function encode(
  tokenizer: PretrainedTokenizer,
  text: string,
  pair: string | undefined,
  maxLength: number,
): Text {
  const textPair = pair === undefined ? {} : { textPair: pair };
  const { ids, typeIds } = tokenizer.encodePlus(text, { ...textPair, truncation: true, maxLength });
  return { text, ids, typeIds };
}

async function linesOf(path: string): Promise<string[]> {
  const { text } = await readTexts(path);
  return text.split(/\r?\n/).filter((line) => line.trim() !== '');
}

function print(
  text: string,
  labels: readonly string[],
  probabilities: readonly number[],
  json: boolean,
): void {
  const best = probabilities.indexOf(Math.max(...probabilities));
  const all = Object.fromEntries(labels.map((label, i) => [label, probabilities[i]]));
  const line = json
    ? JSON.stringify({ text, label: labels[best], probability: probabilities[best], probabilities: all })
    : `${labels[best]}\t${probabilities[best].toFixed(4)}\t${text}`;
  process.stdout.write(`${line}\n`);
}
