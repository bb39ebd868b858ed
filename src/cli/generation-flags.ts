/** The flags of the commands that use a trained model: generate, chat and eval. */

import { integer, number, section, text, toggle, type FlagValues } from './args.js';
import { backend, config, help, json, seed, threads } from './common-flags.js';
import { maskFlags, tableColumns } from './table-flags.js';

const model = section('Model', {
  model: text({
    hint: 'DIR',
    default: 'model',
    filled: true,
    help: 'folder written by train, or a model of Hugging Face',
  }),
  tokenizer: text({ hint: 'PATH', filled: true, help: "tokenizer to use instead of the model folder's" }),
});

/** Without these three a model does what its generation_config.json says; where that is silent, see {@link unsaid}. */
const sampling = section('Sampling', {
  temperature: number({
    min: 0,
    help: "how daring; 0: the likeliest token (default: the model's generation config, else 0.8)",
  }),
  'top-k': integer({ min: 0, help: 'choose among the K likeliest tokens; 0: all (default: likewise, 40)' }),
  'top-p': number({
    above: 0,
    max: 1,
    help: 'choose among the likeliest of this total probability (default: likewise, 0.9)',
  }),
  'min-p': number({ min: 0, max: 1, help: 'choose among tokens of this part of the greatest probability' }),
  'typical-p': number({ above: 0, max: 1, help: 'choose among the most typical of this total probability' }),
  'repetition-penalty': number({ above: 0, help: 'divides the scores of tokens that occurred; 1: off' }),
  'frequency-penalty': number({ help: 'taken from the score of a token each time it was generated' }),
  'presence-penalty': number({ help: 'taken from the score of each token that was generated' }),
  'no-repeat-ngram': integer({ min: 0, help: 'no run of so many tokens comes twice; 0: off' }),
  seed,
});

const maxTokens = (fallback: number) =>
  integer({
    default: fallback,
    min: 1,
    sought: ['tokens', 'length', 'max-new-tokens'],
    help: 'tokens to generate at most',
  });
const stop = text({ filled: true, help: 'end before this text' });

export const generateFlags = {
  ...model,
  ...section('Text', {
    prompt: text({ help: 'how the text begins; - reads standard input (default: a line break)' }),
    prompts: text({
      hint: 'FILE',
      filled: true,
      help: 'a prompt on each line, continued side by side; - reads standard input',
    }),
    batch: integer({ default: 8, min: 1, help: 'prompts of --prompts that are continued at a time' }),
    sequences: integer({
      default: 1,
      min: 1,
      max: 1024,
      sought: ['samples', 'num-return-sequences', 'n'],
      help: 'texts for each prompt',
    }),
    interactive: toggle({ help: 'ask for prompts; /help lists the commands' }),
    'max-tokens': maxTokens(100),
    'min-tokens': integer({ min: 0, sought: ['min-new-tokens'], help: 'no end of text before so many' }),
    stop,
  }),
  ...sampling,
  ...section('Beam search', {
    beams: integer({
      default: 1,
      min: 1,
      max: 256,
      sought: ['num-beams'],
      help: 'likeliest beginnings that go on side by side, instead of drawing; 1: off',
    }),
    'length-penalty': number({ help: 'above 0 favours long texts (default 1)' }),
    'early-stopping': toggle({ help: 'end as soon as there are as many texts as beams' }),
  }),
  ...section('Running', { threads, backend, config, json, help }),
};

export const chatFlags = {
  ...model,
  ...section('Conversation', {
    system: text({ help: 'what the model is told before the conversation' }),
    'max-tokens': maxTokens(512),
    stop,
  }),
  ...sampling,
  ...section('Running', { threads, backend, config, help }),
};

/** What {@link evalFlags} and the other flags of trained models begin with. */
export const modelFlags = model;

export const evalFlags = {
  ...model,
  ...section('Evaluation', {
    data: text({
      hint: 'PATH',
      default: '-',
      filled: true,
      sought: ['text', 'file', 'input', 'dataset'],
      help: 'text file, folder, quoted glob, or - for standard input',
    }),
    window: integer({ min: 2, help: "tokens the model sees at once (default: all of the model's context)" }),
    stride: integer({
      min: 1,
      help: 'tokens from one window to the next, below --window (default: half of it)',
    }),
  }),
  ...section('Encoders and T5', {
    ...tableColumns,
    ...maskFlags,
    pseudo: toggle({
      sought: ['pseudo-perplexity'],
      help: 'bert: pseudo-perplexity, each token hidden once',
    }),
    batch: integer({ default: 16, min: 1, sought: ['batch-size'], help: 'texts at a time' }),
    beams: integer({ default: 1, min: 1, max: 256, help: 't5: beams of the search; 1: greedy' }),
    'max-tokens': integer({ default: 100, min: 1, help: 't5: tokens of a text at most' }),
    seed: integer({ default: 0, min: 0, help: 'bert: seed of the hidden tokens' }),
  }),
  ...section('Running', { threads, backend, config, json, help }),
};

export type GenerateValues = FlagValues<typeof generateFlags>;
export type ChatValues = FlagValues<typeof chatFlags>;
export type EvalValues = FlagValues<typeof evalFlags>;

/** The flags that {@link samplingOptions} reads. */
type SamplingValues = FlagValues<typeof sampling> &
  Pick<ChatValues, 'max-tokens' | 'stop'> &
  Partial<Pick<GenerateValues, 'min-tokens' | 'beams' | 'length-penalty' | 'early-stopping'>>;

/** How texts are drawn where neither flags nor the model say it. */
const unsaid = { temperature: 0.8, topK: 40, topP: 0.9 };

/** What the library's `generate` needs, from the flags. @param said The model's generation_config.json. */
export function samplingOptions(values: SamplingValues, said?: Readonly<Record<string, unknown>> | null) {
  const { beams = 1 } = values;
  const { do_sample = null, num_beams = 1 } = said ?? {};
  const modelDecides = do_sample !== null || num_beams !== 1;
  return defined({
    ...(beams === 1 && !modelDecides ? unsaid : {}),
    ...defined({
      maxNewTokens: values['max-tokens'],
      minNewTokens: values['min-tokens'],
      stopStrings: values.stop,
      temperature: values.temperature,
      topK: values['top-k'],
      topP: values['top-p'],
      minP: values['min-p'],
      typicalP: values['typical-p'],
      repetitionPenalty: values['repetition-penalty'],
      frequencyPenalty: values['frequency-penalty'],
      presencePenalty: values['presence-penalty'],
      noRepeatNgramSize: values['no-repeat-ngram'],
      seed: values.seed,
      ...(beams > 1
        ? {
            numBeams: beams,
            lengthPenalty: values['length-penalty'],
            earlyStopping: values['early-stopping'],
          }
        : {}),
    }),
  });
}

/** Without what is undefined. */
function defined<T extends object>(options: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
