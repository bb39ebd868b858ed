/** Ids, tokens and texts that other implementations recorded: every one must be met exactly. */

import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';

import { describe, expect, it } from 'vitest';

import { AutoTokenizer, type PretrainedTokenizer } from '../../../src/tokenizers/index.js';
import { isMissing, readShared, shared } from '../../support/shared.js';

const open = (...path: string[]): PretrainedTokenizer =>
  AutoTokenizer.fromPretrained(shared(...path)) as PretrainedTokenizer;

describe.skipIf(isMissing())("llama.cpp's ids", () => {
  it.each([
    ['gpt-2', 'gpt2'],
    ['gpt-2', 'gpt2/vocab.json'],
    ['qwen2', 'qwen2'],
    ['bert-bge', 'bert-base-uncased'],
    ['bert-bge', 'bert-base-uncased/vocab.txt'],
    ['phi-3', 'phi-3'],
    ['llama-spm', 'phi-3'],
  ])('%s with %s', (name, folder) => {
    expectLlamaCpp(open('tokenizers', folder), name);
  });
});

function expectLlamaCpp(tokenizer: PretrainedTokenizer, name: string): void {
  const read = (end: string): string =>
    readFileSync(shared('vectors', 'llama.cpp', `ggml-vocab-${name}.gguf.${end}`), 'utf8');
  const texts = read('inp').split('\n__ggml_vocab_test__\n');
  const lines = read('out').split('\n');
  expect(texts.length).toBe(47);
  texts.forEach((text, at) => {
    const expected = lines[at].trim() === '' ? [] : lines[at].trim().split(' ').map(Number);
    expect([...tokenizer.encode(text, { addSpecialTokens: false })], JSON.stringify(text)).toEqual(expected);
  });
}

interface Case {
  readonly text: string;
  readonly text_pair?: string;
  readonly tokens?: readonly string[];
  readonly ids: readonly number[];
  readonly decoded?: string;
}

describe.skipIf(isMissing())("transformers.js's ids, tokens and texts", () => {
  it.each([
    ['gpt2', 'Xenova/gpt2', 'gpt2'],
    ['gpt2', 'openai-community/gpt2', 'gpt2'],
    ['bert', 'Xenova/bert-base-uncased', 'bert-base-uncased'],
    ['t5', 'Xenova/t5-small', 't5'],
    ['t5', 'google-t5/t5-small', 't5'],
    ['llama', 'Xenova/llama-tokenizer', 'phi-3'],
    ['qwen2', 'Xenova/Qwen1.5-0.5B-Chat', 'qwen2'],
    ['gpt2', 'Xenova/gpt-4', 'tiktoken/cl100k_base.tiktoken'],
  ])('%s: %s', (family, model, folder) => {
    const tokenizer = open('tokenizers', folder);
    const cases = readShared<Record<string, Record<string, Case>>>(
      'vectors',
      'transformers.js',
      `${family}.json`,
    )[model];
    // Phi-3 has Llama 2's vocabulary, but does not begin with <s>.
    const withoutBos = model === 'Xenova/llama-tokenizer';
    for (const [name, { text, text_pair: pair, tokens, ids, decoded }] of Object.entries(cases)) {
      const options = pair === undefined ? {} : { textPair: pair };
      const encoded = [...tokenizer.encode(text, options)];
      expect(withoutBos ? [1, ...encoded] : encoded, name).toEqual(ids);
      expect([...tokenizer.encodePlus(text, options).ids], name).toEqual(encoded);
      if (tokens !== undefined) {
        const plain = tokenizer.tokenize(text, { ...options, addSpecialTokens: false });
        // T5's recorded tokens show the character that is unknown, not the unknown token.
        const shown = (token: string, at: number): string => (plain[at] === '<unk>' ? '<unk>' : token);
        if (pair === undefined) expect(plain, name).toEqual(tokens.map(shown));
      }
      // GPT-2's folder here has no tokenizer_config.json; the published one asks for it.
      const clean = folder === 'gpt2' ? { cleanUpTokenizationSpaces: true } : {};
      if (decoded !== undefined) expect(tokenizer.decode(ids, clean), name).toBe(decoded);
    }
  });
});

interface SentencePieceCases {
  readonly vocab_size: number;
  readonly cases: readonly {
    readonly text: string;
    readonly pieces: readonly string[];
    readonly ids: readonly number[];
    readonly decoded: string;
  }[];
}

describe.skipIf(isMissing())("SentencePiece's ids and texts", () => {
  const recorded = isMissing()
    ? {}
    : readShared<Record<string, SentencePieceCases>>('vectors', 'sentencepiece', 'encode.json');

  it.each(Object.keys(recorded).filter((path) => existsSync(shared(path))))('%s', (path) => {
    const tokenizer = open(path);
    const { vocab_size: size, cases } = recorded[path];
    expect(tokenizer.vocabSize).toBe(size);
    for (const { text, ids, decoded } of cases) {
      // SentencePiece itself finds no control pieces in a text.
      const encoded = [...tokenizer.encode(text, { parseSpecialTokens: false })];
      expect(encoded, JSON.stringify(text)).toEqual(ids);
      if (!ids.includes(tokenizer.unkId!)) expect(tokenizer.decode(ids)).toBe(decoded);
    }
  });
});

describe.skipIf(isMissing())('the vocabulary of a GGUF file', () => {
  it.each([
    ['gpt-2', 'gpt-2'],
    ['bert-bge', 'bert-bge'],
    ['phi-3', 'phi-3'],
  ])("gives llama.cpp's ids: %s", (file, name) => {
    const tokenizer = AutoTokenizer.fromPretrained(
      shared('gguf', `ggml-vocab-${file}.gguf`),
    ) as PretrainedTokenizer;
    expectLlamaCpp(tokenizer, name);
  });
});

describe.skipIf(isMissing())('other recorded files', () => {
  it('takes the ids that the file gives to tokens beside the vocabulary', () => {
    const tokenizer = open('tokenizers', 'labse-broken', 'tokenizer.json');
    const ids = [...tokenizer.encode('the brown fox [MASK]')];
    expect(ids).toEqual([101, 14985, 51775, 193284, 103, 102]);
    expect(tokenizer.decode(ids, { skipSpecialTokens: true })).toBe('the brown fox');
    const added = open('tokenizers', 'added-tokens', 'tokenizer.json');
    expect(added.decode(added.encode('<|placeholder2|><|placeholder4|>'))).toBe(
      '<|placeholder2|><|placeholder4|>',
    );
    expect([...added.encode('<|placeholder2|><|placeholder4|>')]).toEqual([32003, 32005]);
  });

  it('refuses merges of absent tokens, as Hugging Face does', () => {
    expect(() => open('tokenizers', 'swift-small', 'tokenizer.json')).toThrow(
      'merge 0 ("off" and "line") needs',
    );
  });

  it('puts <s> before the text of stories260K', () => {
    const tokenizer = open('models', 'stories260K-hf');
    const ids = [...tokenizer.encode('Once upon a time')];
    expect(ids[0]).toBe(tokenizer.bosId);
    expect(tokenizer.decode(ids, { skipSpecialTokens: true })).toBe('Once upon a time');
    expect(tokenizer.eosId).toBe(2);
  });

  it('takes the special tokens of a configuration', () => {
    const tokenizer = open('models', 'lm-buddy-tiny_gpt2');
    expect(tokenizer.eosId).toBe(20);
    expect(tokenizer.bosId).toBe(20);
    expect(tokenizer.unkId).toBe(19);
    expect(tokenizer.padId).toBeUndefined();
  });

  it('encodes tinyshakespeare to the ids that all GPT-2 tokenizers give', () => {
    const tokenizer = open('tokenizers', 'gpt2');
    const text = readFileSync(shared('text', 'tinyshakespeare.txt'), 'utf8');
    const ids = tokenizer.encode(text);
    expect(ids.length).toBe(338_025);
    const hash = createHash('sha256').update(Buffer.from(ids.buffer)).digest('hex');
    expect(hash).toMatch(/^0c00ab83dc7f/);
    expect(tokenizer.decode(ids)).toBe(text);
  });
});
