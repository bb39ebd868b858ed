/** From a model's files to text: stories260K, a trained Llama, from its folder and its GGUF files. */

import { describe, expect, it } from 'vitest';

import {
  AutoModelForCausalLM,
  AutoTokenizer,
  generate,
  openGguf,
  type Tokenizer,
} from '../../../src/index.js';
import { isMissing, readShared, shared } from '../../support/shared.js';

interface Recorded {
  greedy_from_bos: { prompt_ids: number[]; new_ids: number[]; text: string };
}

function ggufTokenizer(path: string): Tokenizer {
  using file = openGguf(path);
  return AutoTokenizer.fromGguf(file.metadata);
}

describe.skipIf(isMissing('models', 'stories260K-hf'))('stories260K', () => {
  const folder = shared('models', 'stories260K-hf');
  const gguf = shared('models', 'stories260K-gguf', 'stories260K-f32.gguf');
  const {
    prompt_ids: prompt,
    new_ids: ids,
    text,
  } = isMissing('models', 'stories260K-hf')
    ? { prompt_ids: [], new_ids: [], text: '' }
    : readShared<Recorded>('models', 'stories260K-hf', 'expected.json').greedy_from_bos;
  const greedy = { doSample: false, maxNewTokens: ids.length, eosTokenId: null };

  it.each([
    ['its folder', folder, () => AutoTokenizer.fromPretrained(folder)],
    ['its GGUF file', gguf, () => ggufTokenizer(gguf)],
  ])('tells the published story from %s', async (_, path, open) => {
    const generation = generate(AutoModelForCausalLM.fromPretrained(path), open(), prompt, greedy);
    const pieces: string[] = [];
    for await (const piece of generation) pieces.push(piece);
    expect(generation.tokens).toEqual(ids);
    expect(pieces.join('')).toBe(text);
    expect(pieces.length).toBeGreaterThan(150);
    expect(pieces.slice(0, 5)).toEqual(['Once', ' upon', ' a', ' time', ',']);
  });

  it('continues a prompt with its spaces, side by side with others', async () => {
    const tokenizer = AutoTokenizer.fromPretrained(folder);
    const model = AutoModelForCausalLM.fromPretrained(folder);
    const prompts = ['Once upon a time', 'Lily and Ben', 'The big red ball was'];
    const batch = generate(model, tokenizer, prompts, { doSample: false, maxNewTokens: 60 });
    const texts = await batch.texts();
    expect(texts[0]).toMatch(/^, there was a little girl named Lily\. She loved/);
    for (const [i, prompt] of prompts.entries()) {
      const alone = generate(model, tokenizer, prompt, { doSample: false, maxNewTokens: 60 });
      expect(await alone.text()).toBe(texts[i]);
      const whole = tokenizer.decode([...tokenizer.encode(prompt), ...alone.tokens], {
        skipSpecialTokens: true,
      });
      expect(prompt + texts[i]).toBe(whole);
    }
  });
});
