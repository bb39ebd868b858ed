/**
 * `tsgpt eval`: perplexity of a text, and bits per byte, which do not depend on the tokenizer. Models that do not continue text
 * are judged by their task (eval-tasks.ts).
 */

import { readTexts } from '../data/index.js';
import { perplexity, type PerplexityProgress, type PerplexityResult } from '../evaluation/index.js';
import { AutoModel, GPT, Llama } from '../models/index.js';
import { UsageError } from './args.js';
import { formatCount, formatLoss } from './format.js';
import type { EvalValues } from './generation-flags.js';
import { evaluateTask } from './eval-tasks.js';
import { openWith } from './load.js';
import { stopOnSignals } from './signals.js';
import { StatusLine } from './status-line.js';

/** Runs the command and answers its exit code. */
export async function evaluate(values: EvalValues): Promise<number> {
  const { model, tokenizer } = openWith(values, (path) => AutoModel.fromPretrained(path));
  if (!(model instanceof GPT || model instanceof Llama)) return evaluateTask(model, tokenizer, values);
  const { window = model.contextLength } = values;
  if (window > model.contextLength) {
    throw new UsageError(`--window ${window} is more than the model's context of ${model.contextLength}`);
  }
  const { stride = Math.floor(window / 2) } = values;
  if (stride >= window) throw new UsageError(`--stride ${stride} must be below the window of ${window}`);
  const { text } = await readTexts(values.data);
  const ids = tokenizer.encode(text);
  // The first token is not predicted, so its bytes do not count.
  const first = tokenizer.decode(ids.subarray(0, 1), { skipSpecialTokens: true });
  const bytes = Buffer.byteLength(text) - Buffer.byteLength(first);
  using stop = stopOnSignals('stopped');
  const progress = new StatusLine();
  const started = performance.now();
  let result: PerplexityResult;
  try {
    const onProgress = ({ tokens, total, loss }: PerplexityProgress): void =>
      progress.update(() => {
        const { percent = '', left = '' } = progress.share(tokens, total);
        return [percent, `loss ${formatLoss(loss)}`, left];
      });
    result = await perplexity(model, ids, { window, stride, onProgress, signal: stop.signal });
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    return stop.exitCode!;
  } finally {
    progress.end();
  }
  const seconds = (performance.now() - started) / 1000;
  const { loss, tokens } = result;
  const bits = (loss * tokens) / Math.LN2 / bytes;
  if (values.json) {
    const report = {
      perplexity: result.perplexity,
      loss,
      bits_per_byte: bits,
      tokens,
      bytes,
      window,
      stride,
    };
    process.stdout.write(`${JSON.stringify({ ...report, tokens_per_second: tokens / seconds })}\n`);
    return 0;
  }
  process.stdout.write(
    `perplexity ${result.perplexity.toFixed(4)}  loss ${formatLoss(loss)}  bits per byte ${bits.toFixed(4)}\n`,
  );
  process.stderr.write(
    `${tokens} tokens, window ${window}, stride ${stride}, ${formatCount(tokens / seconds)} tok/s\n`,
  );
  return 0;
}
