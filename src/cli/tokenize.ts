/** `tsgpt tokenize`: texts to a token file. */

import { tokenizeFiles, type TokenizeProgress, type TokenizeResult } from '../data/index.js';
import { AutoTokenizer } from '../tokenizers/index.js';
import { formatBytes, formatCount, formatDuration } from './format.js';
import { stopOnSignals } from './signals.js';
import { StatusLine } from './status-line.js';
import type { TokenizeValues } from './tokenize-flags.js';

/** Runs the command and answers its exit code. */
export async function tokenize(values: TokenizeValues): Promise<number> {
  const tokenizer = AutoTokenizer.fromPretrained(values.tokenizer);
  using stop = stopOnSignals('stopped; nothing was written');
  const progress = new StatusLine();
  const start = performance.now();
  let result: TokenizeResult;
  try {
    result = await tokenizeFiles(values.data, {
      ...{ tokenizer, out: values.out, format: values.format as 'auto', textField: values['text-field'] },
      ...(values.separator === undefined ? {} : { separator: values.separator }),
      ...{ appendEos: !values['no-eos'], signal: stop.signal },
      onProgress: (state) => progress.update(() => partsOf(state, progress)),
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

function partsOf({ bytes, totalBytes, documents, tokens }: TokenizeProgress, line: StatusLine): string[] {
  const { percent = formatBytes(bytes), left } = line.share(bytes, totalBytes);
  const done = [`${formatCount(documents)} documents`, `${formatCount(tokens)} tokens`];
  return [
    percent,
    ...done,
    `${formatCount(tokens / line.seconds)} tok/s`,
    ...(left === undefined ? [] : [left]),
  ];
}
