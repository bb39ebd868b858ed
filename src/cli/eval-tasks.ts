/** `tsgpt eval` of encoders and encoder-decoders: hidden tokens, labels, and texts for texts. */

import { Generator } from '../../lib/index.js';
import {
  classBatches,
  classesOf,
  encodeClassExamples,
  exampleBatches,
  maskedBatches,
  readLabelledTexts,
  readTextPairs,
  readTexts,
  TokenMasker,
} from '../data/index.js';
import {
  bleu,
  classificationReport,
  findClasses,
  maskedAccuracy,
  pseudoPerplexity,
  rouge,
  unigramAccuracy,
  type ClassScores,
} from '../evaluation/index.js';
import { generate } from '../generation/index.js';
import {
  BertForMaskedLM,
  BertForPreTraining,
  BertForSequenceClassification,
  DistilBertForMaskedLM,
  DistilBertForSequenceClassification,
  RobertaForMaskedLM,
  RobertaForSequenceClassification,
  T5,
  type MaskedModel,
  type PretrainedModel,
  type TextClassifier,
} from '../models/index.js';
import { labelNames } from '../models/labels.js';
import type { PretrainedTokenizer, Tokenizer } from '../tokenizers/index.js';
import { UsageError } from './args.js';
import { labelColumns, pairColumns } from './columns.js';
import type { EvalValues } from './generation-flags.js';
import { encoderLength, pretrainedTokenizer } from './load.js';
import { stopOnSignals } from './signals.js';

/** Measures, and how they are shown. */
interface Findings {
  readonly json: object;
  readonly lines: readonly string[];
}

/** Judges a model by its task and answers the exit code. */
export async function evaluateTask(
  model: PretrainedModel,
  any: Tokenizer,
  values: EvalValues,
): Promise<number> {
  const tokenizer = pretrainedTokenizer(values, any);
  using stop = stopOnSignals('stopped');
  let findings: Findings;
  try {
    findings = await judge(model, tokenizer, values, stop.signal);
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    return stop.exitCode!;
  }
  process.stdout.write(values.json ? `${JSON.stringify(findings.json)}\n` : `${findings.lines.join('\n')}\n`);
  return 0;
}

function judge(
  model: PretrainedModel,
  tokenizer: PretrainedTokenizer,
  values: EvalValues,
  signal: AbortSignal,
): Promise<Findings> {
  if (model instanceof T5) return translations(model, tokenizer, values, signal);
  if (
    model instanceof BertForSequenceClassification ||
    model instanceof RobertaForSequenceClassification ||
    model instanceof DistilBertForSequenceClassification
  ) {
    return labels(model, tokenizer, values);
  }
  if (
    model instanceof BertForMaskedLM ||
    model instanceof BertForPreTraining ||
    model instanceof RobertaForMaskedLM ||
    model instanceof DistilBertForMaskedLM
  ) {
    return values.pseudo ? pseudo(model, tokenizer, values, signal) : hiddenTokens(model, tokenizer, values);
  }
  throw new UsageError(
    `${values.model} is a ${model.constructor.name}, which eval cannot judge; it takes decoders, T5s, and encoders that predict tokens or classify texts`,
  );
}

const percent = (part: number): string => `${(100 * part).toFixed(2)} %`;

/** Tokens of a window: those that the flags say, at most those that the model takes. */
function windowOf(values: EvalValues, most: number): number {
  const { window = Math.min(most, 512) } = values;
  if (window > most) throw new UsageError(`--window ${window} is more than the model's ${most} positions`);
  return window;
}

async function hiddenTokens(
  model: MaskedModel,
  tokenizer: PretrainedTokenizer,
  values: EvalValues,
): Promise<Findings> {
  const { text } = await readTexts(values.data);
  const masker = new TokenMasker(tokenizer, {
    maskProb: values['mask-prob'],
    randomProb: values['random-prob'],
    keepProb: values['keep-prob'],
    wholeWords: values['whole-words'],
  });
  const sizes = {
    batchSize: values.batch,
    sequenceLength: windowOf(values, encoderLength(model)),
    tokenizer,
    masker,
  };
  const ids = tokenizer.encode(text, { addSpecialTokens: false });
  const batches = maskedBatches(ids, sizes, new Generator(values.seed));
  const { accuracy, correct, total } = maskedAccuracy(model, batches);
  const unigram = unigramAccuracy(ids, batches).accuracy;
  return {
    json: { masked_accuracy: accuracy, correct, hidden: total, unigram_accuracy: unigram },
    lines: [
      `masked accuracy ${percent(accuracy)}  ${correct} of ${total} hidden tokens  most frequent token ${percent(unigram)}`,
    ],
  };
}

async function pseudo(
  model: MaskedModel,
  tokenizer: PretrainedTokenizer,
  values: EvalValues,
  signal: AbortSignal,
): Promise<Findings> {
  const { text } = await readTexts(values.data);
  const maxLength = windowOf(values, encoderLength(model));
  const lines = text.split(/\r?\n/).filter((line) => line.trim() !== '');
  const texts = lines.map((line) => tokenizer.encode(line, { truncation: true, maxLength }));
  const { maskId } = tokenizer;
  if (maskId === undefined) throw new UsageError(`the tokenizer of ${values.model} has no mask token`);
  const { perplexity, loss, tokens } = await pseudoPerplexity(model, texts, {
    ...{ maskId, isSpecial: (id: number) => tokenizer.isSpecialId(id), batchSize: values.batch, signal },
  });
  return {
    json: { pseudo_perplexity: perplexity, loss, tokens, texts: texts.length },
    lines: [
      `pseudo-perplexity ${perplexity.toFixed(4)}  loss ${loss.toFixed(4)}  ${tokens} tokens of ${texts.length} texts`,
    ],
  };
}

async function labels(
  model: TextClassifier,
  tokenizer: PretrainedTokenizer,
  values: EvalValues,
): Promise<Findings> {
  const texts = await readLabelledTexts(values.data, labelColumns(values));
  const names = labelNames(model.constructor.name, model.config);
  const maxLength = windowOf(values, encoderLength(model));
  const examples = encodeClassExamples(tokenizer, texts, classesOf(texts, names), maxLength);
  const segments = !(model instanceof DistilBertForSequenceClassification);
  const batches = exampleBatches(examples, classBatches(values.batch, tokenizer.padId ?? 0, { segments }));
  const { expected, found } = findClasses(model, batches);
  const report = classificationReport(expected, found, names);
  const width = Math.max(12, ...names.map((name) => name.length));
  const row = (name: string, { precision, recall, f1, support }: ClassScores): string =>
    `${name.padEnd(width)} ${[precision, recall, f1].map((x) => x.toFixed(4).padStart(9)).join(' ')} ${String(support).padStart(8)}`;
  return {
    json: report,
    lines: [
      `${''.padEnd(width)} precision    recall        f1  support`,
      ...names.map((name) => row(name, report.classes[name])),
      row('macro avg', report.macro),
      row('weighted avg', report.weighted),
      `accuracy ${percent(report.accuracy)} of ${expected.length} texts`,
    ],
  };
}

async function translations(
  model: T5,
  tokenizer: PretrainedTokenizer,
  values: EvalValues,
  signal: AbortSignal,
): Promise<Findings> {
  const pairs = await readTextPairs(values.data, pairColumns(values));
  const texts: string[] = [];
  for (let first = 0; first < pairs.length; first += values.batch) {
    const sources = pairs.slice(first, first + values.batch).map(({ source }) => source);
    const search = values.beams > 1 ? { numBeams: values.beams } : { temperature: 0 };
    const options = { ...search, maxNewTokens: values['max-tokens'], signal };
    texts.push(...(await generate(model, tokenizer, sources, options).texts()));
  }
  const references = pairs.map(({ target }) => target);
  const { score, precisions, brevityPenalty } = bleu(texts, references);
  const { rouge1, rouge2, rougeL } = rouge(texts, references);
  const exact = texts.filter((text, i) => text.trim() === references[i].trim()).length / texts.length;
  return {
    json: {
      ...{ bleu: score, precisions, brevity_penalty: brevityPenalty },
      ...{ rouge1, rouge2, rouge_l: rougeL, exact_match: exact, texts: texts.length },
    },
    lines: [
      `BLEU ${score.toFixed(2)}  (${precisions.map((p) => p.toFixed(1)).join('/')}, brevity penalty ${brevityPenalty.toFixed(3)})`,
      `ROUGE-1 ${rouge1.toFixed(4)}  ROUGE-2 ${rouge2.toFixed(4)}  ROUGE-L ${rougeL.toFixed(4)}`,
      `exact match ${percent(exact)} of ${texts.length} texts`,
    ],
  };
}
