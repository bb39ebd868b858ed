/** `tsgpt tokenize`: texts to a token file. */

import { tokenizeFiles, type TokenizeProgress, type TokenizeResult } from '../data/index.js';
import { AutoTokenizer } from '../tokenizers/index.js';
import { formatBytes, formatCount, formatDuration } from './format.js';
import { stopOnSignals } from './signals.js';
import type { TokenizeValues } from './tokenize-flags.js';

/** Runs the command and answers its exit code. */
export async function tokenize(values: TokenizeValues): Promise<number> {
  const tokenizer = AutoTokenizer.fromPretrained(values.tokenizer);
  using stop = stopOnSignals('stopped; nothing was written');
  const progress = new TokenizeLine();
  const start = performance.now();
  let result: TokenizeResult;
  try {
    result = await tokenizeFiles(values.data, {
      ...{ tokenizer, out: values.out, format: values.format as 'auto', textField: values['text-field'] },
      ...(values.separator === undefined ? {} : { separator: values.separator }),
      ...{ appendEos: !values['no-eos'], signal: stop.signal },
      onProgress: (state) => progress.update(state),
    });
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    process.exit(stop.exitCode); // a read that waits for input would hold the process
  } finally {
    progress.end();
  }
  const { documents, tokens, bytes, files } = result;
  const seconds = (performance.now() - start) / 1000;
  process.stderr.write(
    `${formatCount(documents)} document${documents === 1 ? '' : 's'} of ${files.length} file${files.length === 1 ? '' : 's'}, ` +
      `${formatBytes(bytes)}: ${formatCount(tokens)} tokens in ${formatDuration(seconds)}; saved in ${values.out}\n`,
  );
  if (values.json) {
    const report = { documents, tokens, bytes, files: files.length, seconds, path: values.out };
    process.stdout.write(`${JSON.stringify({ ...report, vocab_size: tokenizer.vocabSize })}\n`);
  }
  return 0;
}

const redrawMs = 100;
const plainMs = 10_000;

/** One line on standard error: rewritten on a terminal, else a new one every ten seconds. */
class TokenizeLine {
  readonly #terminal = process.stderr.isTTY;
  readonly #started = performance.now();
  #last = performance.now();

  update({ bytes, totalBytes, documents, tokens }: TokenizeProgress): void {
    const now = performance.now();
    if (now - this.#last < (this.#terminal ? redrawMs : plainMs)) return;
    this.#last = now;
    const seconds = (now - this.#started) / 1000;
    const left = seconds * (totalBytes / bytes - 1);
    const known = Number.isFinite(left);
    const parts = [
      known ? `${Math.floor((100 * bytes) / totalBytes)}%` : formatBytes(bytes),
      `${formatCount(documents)} documents`,
      `${formatCount(tokens)} tokens`,
      `${formatCount(tokens / seconds)} tok/s`,
      ...(known ? [`${formatDuration(left)} left`] : []),
    ];
    const line = parts.join('  ');
    process.stderr.write(this.#terminal ? `\r${line}\x1b[K` : `${line}\n`);
  }

  end(): void {
    if (this.#terminal) process.stderr.write('\r\x1b[K');
  }
}
