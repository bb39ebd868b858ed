/** What `tsgpt train --arch bert|t5` learns: data, model and objective of each task, from the flags. */

import { Generator } from '../../lib/index.js';
import {
  classBatches,
  classesOf,
  corruptedBatches,
  encodeClassExamples,
  encodeSeq2SeqExamples,
  exampleBatches,
  ExampleSource,
  labelsOf,
  maskedBatches,
  MaskedTextSource,
  NextSentenceSource,
  readLabelledTexts,
  readTextPairs,
  readTexts,
  seq2seqBatches,
  shuffle,
  SpanCorruptionSource,
  splitSentences,
  splitTokens,
  TokenMasker,
  type BatchSource,
  type MaskedBatch,
} from '../data/index.js';
import { classificationReport, findClasses, maskedAccuracy, unigramAccuracy } from '../evaluation/index.js';
import {
  AutoModelForMaskedLM,
  AutoModelForSequenceClassification,
  AutoModelForSeq2SeqLM,
  BertForMaskedLM,
  BertForPreTraining,
  BertForSequenceClassification,
  DistilBertForSequenceClassification,
  T5,
} from '../models/index.js';
import { labelConfig, labelNames } from '../models/labels.js';
import type { Module } from '../nn/index.js';
import {
  AutoTokenizer,
  t5SpecialTokens,
  trainUnigram,
  trainWordPiece,
  type PretrainedTokenizer,
} from '../tokenizers/index.js';
import {
  maskedTokens,
  maskedTokensAndPairs,
  textClasses,
  textToText,
  type Objective,
  type Savable,
} from '../training/index.js';
import { UsageError } from './args.js';
import { labelColumns, pairColumns } from './columns.js';
import { formatCount } from './format.js';
import { encoderLength, isClassifier, pretrainedTokenizer } from './load.js';
import type { RunValues } from './run-flags.js';
import { encodeShown, showTraining } from './text-progress.js';

/** A task with everything that is needed to learn it. */
export interface Lesson<B> {
  readonly model: Module & Savable;
  readonly tokenizer: PretrainedTokenizer;
  readonly source: BatchSource<B>;
  readonly objective: Objective<B>;
  readonly validation: readonly B[];
  /** What is learned from, in words. */
  readonly about: string;
  /** Whether the loss is one of tokens. */
  readonly isOfTokens: boolean;
  /** Measures of the model on the validation part, by name. */
  readonly judge: () => Readonly<Record<string, number>>;
}

/** What the flags ask to learn. @throws UsageError, FileError or ArgumentError for what cannot be learned. */
export async function lessonOf(values: RunValues): Promise<Lesson<unknown>> {
  const task = taskOf(values);
  if (values.arch === 'bert') return task === 'text' ? hiddenTokens(values) : labels(values);
  return task === 'text' ? spans(values) : pairs(values);
}

/** The task that is given, or that the name of the data says. */
function taskOf({ arch, task, data }: RunValues): 'text' | 'labels' | 'pairs' {
  const ofTable = arch === 'bert' ? 'labels' : 'pairs';
  if (task === undefined) return /\.(tsv|jsonl|ndjson)$/i.test(data) ? ofTable : 'text';
  if (task === 'text' || task === ofTable) return task;
  throw new UsageError(`--task ${task} is not for --arch ${arch}, which learns from text or ${ofTable}`);
}

/** BERT: hidden tokens of a text, and with --next-sentence whether sentences follow one another. */
async function hiddenTokens(values: RunValues): Promise<Lesson<MaskedBatch>> {
  const { text } = await readTexts(values.data);
  const tokenizer = await tokenizerOf(values, () =>
    showTraining((onProgress) => trainWordPiece([text], { vocabSize: vocabulary(values), onProgress })),
  );
  const masker = new TokenMasker(tokenizer, maskingOf(values));
  const sizes = { batchSize: values.batch, sequenceLength: values.seq, tokenizer, masker };
  const [order, judged] = [new Generator(values.seed), new Generator(0)];
  const encode = (part: string): Int32Array => tokenizer.encode(part, { addSpecialTokens: false });
  if (values['next-sentence']) {
    const documents = splitSentences(text).map((sentences) => sentences.map(encode));
    const { train, validation } = splitList(documents, values['val-split']);
    const path = modelPath(values);
    const model =
      path === undefined
        ? new BertForPreTraining(bertConfig(values, tokenizer))
        : BertForPreTraining.fromPretrained(path, { dtype: 'float32' });
    checkSequence(values, encoderLength(model));
    const source = new NextSentenceSource(train, sizes, order);
    const drawn = validation.length === 0 ? null : new NextSentenceSource(validation, sizes, judged);
    const batches = Array.from({ length: Math.ceil(drawn?.length ?? 0) }, () => drawn!.next());
    const about = `text: ${formatCount(documents.length)} documents, vocabulary ${tokenizer.vocabSize}`;
    const judge = () => foundTokens(model, train.flat(), batches);
    const objective = maskedTokensAndPairs(model) as Objective<MaskedBatch>;
    return { model, tokenizer, source, objective, validation: batches, about, isOfTokens: true, judge };
  }
  const ids = await encodeShown(tokenizer, text);
  const { train, validation } = splitTokens(ids, values['val-split']);
  const path = modelPath(values);
  const model =
    path === undefined
      ? new BertForMaskedLM(bertConfig(values, tokenizer))
      : AutoModelForMaskedLM.fromPretrained(path, { dtype: 'float32' });
  checkSequence(values, encoderLength(model));
  const batches = maskedBatches(validation, sizes, judged);
  return {
    ...{ model, tokenizer, objective: maskedTokens(model), validation: batches, isOfTokens: true },
    source: new MaskedTextSource(train, sizes, order),
    about: `text: ${formatCount(text.length)} characters, ${formatCount(train.length)} tokens to train on, vocabulary ${tokenizer.vocabSize}`,
    judge: () => foundTokens(model, [train], batches),
  };
}

/** The part of the hidden tokens that the model finds, and that is the most frequent token. */
function foundTokens(
  model: Parameters<typeof maskedAccuracy>[0],
  train: readonly Int32Array[],
  batches: readonly MaskedBatch[],
): Record<string, number> {
  if (batches.length === 0) return {};
  return {
    masked_accuracy: maskedAccuracy(model, batches).accuracy,
    unigram_accuracy: unigramAccuracy(Int32Array.from(train.flatMap((ids) => [...ids])), batches).accuracy,
  };
}

/** BERT and its relatives: the labels of texts. */
async function labels(values: RunValues): Promise<Lesson<unknown>> {
  const texts = await readLabelledTexts(values.data, labelColumns(values));
  const tokenizer = await tokenizerOf(values, () =>
    trainWordPiece(
      texts.map(({ text, pair = '' }) => `${text} ${pair}`),
      { vocabSize: vocabulary(values) },
    ),
  );
  const model = classifierOf(values, tokenizer, () => labelsOf(texts));
  checkSequence(values, encoderLength(model));
  const names = labelNames(model.constructor.name, model.config);
  const examples = encodeClassExamples(tokenizer, texts, classesOf(texts, names), values.seq);
  const { train, validation } = splitList(shuffle(examples, new Generator(0)), values['val-split']);
  const segments = !(model instanceof DistilBertForSequenceClassification);
  const batching = classBatches(values.batch, tokenizer.padId!, { segments });
  const batches = exampleBatches(validation, batching);
  return {
    ...{ model, tokenizer, objective: textClasses(model), validation: batches, isOfTokens: false },
    source: new ExampleSource(train, batching, new Generator(values.seed)),
    about: `table: ${train.length} texts to train on, ${validation.length} to validate; labels ${names.join(', ')}`,
    judge: (): Record<string, number> => {
      if (batches.length === 0) return {};
      const { expected, found } = findClasses(model, batches);
      const { accuracy, macro } = classificationReport(expected, found, names);
      return { accuracy, macro_f1: macro.f1 };
    },
  };
}

/** A model with a head for the labels: that of the folder where it has one for them, else a new one. */
function classifierOf(values: RunValues, tokenizer: PretrainedTokenizer, found: () => string[]) {
  const { resume, model: folder, from } = values;
  const load = AutoModelForSequenceClassification;
  if (resume) return load.fromPretrained(folder, { dtype: 'float32' });
  const given = values.labels?.split(',').map((label) => label.trim());
  if (from !== undefined && given === undefined && isClassifier(from))
    return load.fromPretrained(from, { dtype: 'float32' });
  const names = given ?? found();
  if (names.length < 2)
    throw new UsageError(`there is one label only (${names.join()}); a classifier needs two`);
  if (from !== undefined) return load.fromPretrained(from, { newHead: true, labels: names });
  return new BertForSequenceClassification({
    ...bertConfig(values, tokenizer),
    id2label: labelConfig(names).id2label,
  });
}

/** T5: spans of a text. */
async function spans(values: RunValues): Promise<Lesson<unknown>> {
  const { text } = await readTexts(values.data);
  const tokenizer = await tokenizerOf(values, () => trainT5Tokenizer([text], values));
  const ids = await encodeShown(tokenizer, text);
  const { train, validation } = splitTokens(ids, values['val-split']);
  const model = t5Of(values, tokenizer);
  const options = {
    ...{ batchSize: values.batch, sequenceLength: values.seq, tokenizer },
    ...{ noiseDensity: values['noise-density'], meanSpanLength: values['mean-span'] },
  };
  return {
    ...{ model, tokenizer, objective: textToText(model), isOfTokens: true, judge: () => ({}) },
    source: new SpanCorruptionSource(train, options, new Generator(values.seed)),
    validation: corruptedBatches(validation, options, new Generator(0)),
    about: `text: ${formatCount(text.length)} characters, ${formatCount(train.length)} tokens to train on, vocabulary ${tokenizer.vocabSize}`,
  };
}

/** T5: texts for texts. */
async function pairs(values: RunValues): Promise<Lesson<unknown>> {
  const texts = await readTextPairs(values.data, pairColumns(values));
  const tokenizer = await tokenizerOf(values, () =>
    trainT5Tokenizer(
      texts.flatMap(({ source, target }) => [source, target]),
      values,
    ),
  );
  const model = t5Of(values, tokenizer);
  const examples = encodeSeq2SeqExamples(tokenizer, texts, values.seq);
  const { train, validation } = splitList(shuffle(examples, new Generator(0)), values['val-split']);
  const batching = seq2seqBatches(values.batch, tokenizer.padId!);
  return {
    ...{ model, tokenizer, objective: textToText(model), isOfTokens: true, judge: () => ({}) },
    source: new ExampleSource(train, batching, new Generator(values.seed)),
    validation: exampleBatches(validation, batching),
    about: `table: ${train.length} pairs to train on, ${validation.length} to validate, vocabulary ${tokenizer.vocabSize}`,
  };
}

/** Where the model comes from; undefined where it is new. */
const modelPath = ({ resume, model, from }: RunValues): string | undefined => (resume ? model : from);

/** The tokenizer of the model, the one that is given, or a new one. */
async function tokenizerOf(
  values: RunValues,
  make: () => Promise<PretrainedTokenizer>,
): Promise<PretrainedTokenizer> {
  const path = modelPath(values) ?? values.tokenizer;
  if (path === undefined) return make();
  const tokenizer = pretrainedTokenizer({ model: path }, AutoTokenizer.fromPretrained(path));
  if (tokenizer.padId !== undefined) return tokenizer;
  throw new UsageError(`the tokenizer of ${path} has no padding token, which --arch ${values.arch} needs`);
}

const vocabulary = (values: RunValues): number => values['vocab-size'] ?? 1000;

const trainT5Tokenizer = (texts: readonly string[], values: RunValues): Promise<PretrainedTokenizer> =>
  showTraining((onProgress) =>
    trainUnigram(texts, {
      ...{ vocabSize: vocabulary(values), specialTokens: t5SpecialTokens(), endToken: '</s>', onProgress },
    }),
  );

const maskingOf = (values: RunValues) => ({
  maskProb: values['mask-prob'],
  randomProb: values['random-prob'],
  keepProb: values['keep-prob'],
  wholeWords: values['whole-words'],
});

const bertConfig = (values: RunValues, tokenizer: PretrainedTokenizer) => ({
  vocab_size: tokenizer.vocabSize,
  hidden_size: values.embed,
  num_hidden_layers: values.layers,
  num_attention_heads: values.heads,
  intermediate_size: 4 * values.embed,
  max_position_embeddings: values.seq,
  hidden_dropout_prob: values.dropout,
  attention_probs_dropout_prob: values.dropout,
  pad_token_id: tokenizer.padId!,
});

function t5Of(values: RunValues, tokenizer: PretrainedTokenizer): T5 {
  const path = modelPath(values);
  if (path !== undefined) return AutoModelForSeq2SeqLM.fromPretrained(path, { dtype: 'float32' });
  const { embed, heads, layers, dropout } = values;
  return new T5({
    ...{ vocab_size: tokenizer.vocabSize, d_model: embed, d_kv: embed / heads, d_ff: 4 * embed },
    ...{ num_layers: layers, num_heads: heads, dropout_rate: dropout },
    ...{
      pad_token_id: tokenizer.padId,
      decoder_start_token_id: tokenizer.padId,
      eos_token_id: tokenizer.eosId,
    },
  });
}

function checkSequence({ seq }: RunValues, most: number): void {
  if (seq > most) throw new UsageError(`--seq ${seq} is more than the model's ${most} positions`);
}

/** Cuts off the last part of a list for validation. */
function splitList<T>(items: readonly T[], part: number): { train: T[]; validation: T[] } {
  const cut = Math.floor((1 - part) * items.length);
  return { train: items.slice(0, cut), validation: items.slice(cut) };
}
