/** GPT-2's tokenizer in JavaScript: the npm package gpt-tokenizer. */

import { pathToFileURL } from 'node:url';

import { measureRival } from './encode.js';

interface Encoder {
  readonly encode: (text: string) => number[];
}

await measureRival('gpt-tokenizer', async ({ module }) => {
  const { encode } = (await import(pathToFileURL(module).href)) as Encoder;
  return encode;
});
