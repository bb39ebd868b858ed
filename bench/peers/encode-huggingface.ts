/** GPT-2's tokenizer in JavaScript: the npm package @huggingface/tokenizers. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import { measureRival } from './encode.js';

interface HuggingFace {
  readonly Tokenizer: new (
    tokenizer: unknown,
    config: unknown,
  ) => { encode(text: string): { ids: number[] } };
}

await measureRival('@huggingface/tokenizers', async ({ module, folder }) => {
  const { default: library } = (await import(pathToFileURL(module).href)) as { default: HuggingFace };
  const json: unknown = JSON.parse(readFileSync(join(folder, 'tokenizer.json'), 'utf8'));
  const tokenizer = new library.Tokenizer(json, {});
  return (text) => tokenizer.encode(text).ids;
});
