/** GPT-2's tokenizer in WebAssembly, from Rust: the npm package tiktoken. */

import { pathToFileURL } from 'node:url';

import { measureRival } from './encode.js';

interface Tiktoken {
  readonly get_encoding: (name: string) => {
    encode(text: string, allowed: string[], refused: string[]): Uint32Array;
  };
}

await measureRival('tiktoken', async ({ module }) => {
  const { get_encoding } = (await import(pathToFileURL(module).href)) as Tiktoken;
  const encoding = get_encoding('gpt2');
  return (text) => encoding.encode(text, [], []);
});
