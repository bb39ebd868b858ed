/** A running generation, of one prompt or of several: what its consumer iterates and reads. */

import { ArgumentError } from '../../lib/index.js';

/** Why a text ended: at `maxNewTokens`, at a stop text, at an end-of-text token. */
export type FinishReason = 'length' | 'stop' | 'eos';

/** A token and its log-probability by the model, before temperature, penalties and cuts. */
export interface ScoredToken {
  readonly id: number;
  readonly logprob: number;
}

/** A generated token, and the likeliest tokens in its place, from the likeliest on. */
export interface TokenLogprobs extends ScoredToken {
  readonly top: readonly ScoredToken[];
}

/** One text in the making. */
export interface GeneratedSequence {
  /** Which of the prompts it continues. */
  readonly prompt: number;
  /** Ids of the prompt. */
  readonly promptTokens: number;
  /** How many of them the model was fed: the last ones, where they are more than its context. */
  prefillTokens: number;
  /** Ids generated so far, the end-of-text token not among them. */
  readonly tokens: number[];
  /** Null until it ends. */
  finishReason: FinishReason | null;
  /** For each of `tokens`, when the option `logprobs` asks for them; an end-of-text token's come last. */
  readonly logprobs: TokenLogprobs[];
  /** Of a beam search: the sum of the tokens' log-probabilities over the length to the power of `lengthPenalty`. */
  score: number | null;
}

/** A piece of the text of one sequence. */
export interface GeneratedPiece {
  /** Which sequence; see {@link BatchGeneration.sequences}. */
  readonly index: number;
  readonly text: string;
}

/** What the loops of generation fill in as they go. */
export interface Progress {
  readonly sequences: GeneratedSequence[];
  prefillSeconds: number;
  decodeSeconds: number;
}

/** What runs a generation: its pieces, as they become certain. */
export type Run = (progress: Progress) => AsyncGenerator<GeneratedPiece, void>;

/** What {@link Generation} and {@link BatchGeneration} share. It runs once. */
abstract class Running<T> implements AsyncIterable<T> {
  protected readonly progress: Progress;
  readonly #run: Run;
  #taken = false;

  /** @internal Use `generate`. */
  constructor(sequences: GeneratedSequence[], run: Run) {
    this.progress = { sequences, prefillSeconds: 0, decodeSeconds: 0 };
    this.#run = run;
  }

  /** Time spent on the prompts. The first token comes with them. */
  get prefillSeconds(): number {
    return this.progress.prefillSeconds;
  }

  /** Time spent on the tokens after the first. */
  get decodeSeconds(): number {
    return this.progress.decodeSeconds;
  }

  /**
   * The pieces of text as they become certain. Leaving the loop early frees the cache.
   * @throws ArgumentError the second time: the text is made only once.
   */
  abstract [Symbol.asyncIterator](): AsyncGenerator<T, void>;

  protected start(): AsyncGenerator<GeneratedPiece, void> {
    if (this.#taken) {
      throw new ArgumentError(
        'generate: this generation has run or is running; call generate again for another',
      );
    }
    this.#taken = true;
    return this.#run(this.progress);
  }
}

/** A running generation of one text: iterate it for pieces of text, or await `text()`. It runs once. */
export class Generation extends Running<string> {
  /** Ids generated so far. */
  get tokens(): readonly number[] {
    return this.#sequence.tokens;
  }

  /** Null until it ends. */
  get finishReason(): FinishReason | null {
    return this.#sequence.finishReason;
  }

  /** Ids of the prompt. */
  get promptTokens(): number {
    return this.#sequence.promptTokens;
  }

  /** How many of them the model was fed: the last ones, where they are more than its context. */
  get prefillTokens(): number {
    return this.#sequence.prefillTokens;
  }

  /** See {@link GeneratedSequence.logprobs}. */
  get logprobs(): readonly TokenLogprobs[] {
    return this.#sequence.logprobs;
  }

  /** See {@link GeneratedSequence.score}. */
  get score(): number | null {
    return this.#sequence.score;
  }

  get #sequence(): GeneratedSequence {
    return this.progress.sequences[0];
  }

  [Symbol.asyncIterator](): AsyncGenerator<string, void> {
    return texts(this.start());
  }

  /** Runs to the end and returns the whole text (without the prompt). */
  async text(): Promise<string> {
    let text = '';
    for await (const piece of this) text += piece;
    return text;
  }
}

/** A running generation of several texts at once: iterate it for pieces of any of them, or await `texts()`. It runs once. */
export class BatchGeneration extends Running<GeneratedPiece> {
  /** The texts in the making: `numReturnSequences` for the first prompt, then for the second, and so on. */
  get sequences(): readonly GeneratedSequence[] {
    return this.progress.sequences;
  }

  [Symbol.asyncIterator](): AsyncGenerator<GeneratedPiece, void> {
    return this.start();
  }

  /** Runs to the end and returns the whole texts (without the prompts), in the order of {@link sequences}. */
  async texts(): Promise<string[]> {
    const whole = this.sequences.map(() => '');
    for await (const { index, text } of this) whole[index] += text;
    return whole;
  }
}

async function* texts(pieces: AsyncGenerator<GeneratedPiece, void>): AsyncGenerator<string, void> {
  for await (const { text } of pieces) yield text;
}
