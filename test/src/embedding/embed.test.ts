/** Sentence embeddings: equal to one text at a time with padding, in order, and what bad input gets for an answer. */

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  ArgumentError,
  BertModel,
  ConfigError,
  DistilBertModel,
  embed,
  type EmbedOptions,
  type EncoderModel,
  Generator,
  memory,
  noGrad,
  type Pooling,
  poolTokens,
  RobertaModel,
  sentenceOptions,
  type Tensor,
  trainWordPiece,
} from '../../../src/index.js';
import { compiled, tsgpt } from '../../support/cli.js';
import { bool, int32 } from '../../support/encoders.js';
import { writeGguf } from '../../support/gguf.js';
import { expectClose } from '../../support/golden.js';

const folder = mkdtempSync(join(tmpdir(), 'tsgpt-embed-'));
afterAll(() => rmSync(folder, { recursive: true }));

const texts = [
  'the cat sat on the mat',
  'a dog',
  'the dog and the cat ran to the mat and sat on the mat and ran on',
  'cat',
  'the the the the the the the the',
];
const tokenizer = await trainWordPiece(texts, { vocabSize: 60 });
const sizes = { vocab_size: 60, num_hidden_layers: 2, max_position_embeddings: 40 };
const bertSizes = { ...sizes, hidden_size: 24, num_attention_heads: 3, intermediate_size: 40, initializer_range: 0.3 }; // prettier-ignore
const distilSizes = {
  vocab_size: 60,
  max_position_embeddings: 40,
  dim: 24,
  n_heads: 3,
  n_layers: 2,
  hidden_dim: 40,
  initializer_range: 0.3,
};
const options = { generator: new Generator(1) };
const bert = new BertModel(bertSizes, options).eval();
const models: [string, EncoderModel][] = [
  ['BERT', bert],
  ['RoBERTa', new RobertaModel({ ...bertSizes, pad_token_id: 0 }, options).eval()],
  ['DistilBERT', new DistilBertModel(distilSizes, options).eval()],
];

const ids = texts.map((text) => Array.from(tokenizer.encode(text)));

/** A text alone, its batch padded to 35 tokens that the mask hides: the plain way. */
function alone(
  model: EncoderModel,
  tokens: readonly number[],
  pooling: Pooling,
  normalize = true,
): Float64Array {
  const padded = [...tokens, ...Array<number>(35 - tokens.length).fill(0)];
  const attentionMask = bool([padded.map((_, i) => (i < tokens.length ? 1 : 0))]);
  const hidden = noGrad(() => model.forward(int32([padded]), { attentionMask }));
  const vector = poolTokens(hidden, pooling, { attentionMask }).toFloat64Array();
  const length = normalize ? Math.hypot(...vector) : 1;
  return vector.map((x) => x / length);
}

const close = { atol: 2e-6, rtol: 1e-5 };

describe.each(models)('embed with %s', (_, model) => {
  it.each(['cls', 'mean', 'max'] as const)(
    '%s: equals each text alone, in the order of the texts',
    async (pooling) => {
      const vectors = await embed(model, tokenizer, texts, { pooling });
      expect(vectors.shape).toEqual([5, 24]);
      const expected = ids.flatMap((tokens) => Array.from(alone(model, tokens, pooling)));
      expectClose(vectors, expected, close);
    },
  );

  it('does not depend on the batch that a text is in', async () => {
    const whole = await embed(model, tokenizer, texts);
    for (const batchTokens of [1, 12, 20]) {
      expectClose(await embed(model, tokenizer, texts, { batchTokens }), whole.toFloat64Array(), close);
    }
    const turned = await embed(model, tokenizer, texts.toReversed());
    const rows = (turned.toArray() as number[][]).toReversed();
    expectClose(rows.flat(), whole.toFloat64Array(), close);
  });
});

describe('embed', () => {
  it('takes token ids, and leaves vectors as they are when it is told', async () => {
    const vectors = await embed(bert, tokenizer, ids, { normalize: false });
    const expected = ids.flatMap((tokens) => Array.from(alone(bert, tokens, 'mean', false)));
    expectClose(vectors, expected, { atol: 1e-5, rtol: 1e-5 });
    const norms = (await embed(bert, tokenizer, texts)).toArray() as number[][];
    for (const row of norms) expect(Math.hypot(...row)).toBeCloseTo(1, 5);
  });

  it('has no dropout, keeps the mode of the model, and no memory', async () => {
    bert.train(true);
    try {
      const vectors = await embed(bert, tokenizer, texts);
      expect(bert.training).toBe(true);
      expectClose(
        vectors,
        ids.flatMap((tokens) => Array.from(alone(bert.eval(), tokens, 'mean'))),
        close,
      );
    } finally {
      bert.eval();
    }
    (await embed(bert, tokenizer, texts)).dispose();
    const before = memory().liveBytes;
    (await embed(bert, tokenizer, texts)).dispose();
    expect(memory().liveBytes).toBe(before);
  });

  it('refuses empty and long texts by their place, or cuts the long ones before their end', async () => {
    const refuses = (input: string[], message: string, more: EmbedOptions = {}) =>
      expect(embed(bert, tokenizer, input, more)).rejects.toThrow(new ArgumentError(message));
    await refuses([], 'embed: there must be a text at least');
    await refuses(['cat', ' \n'], 'embed: text 1 is empty; leave out texts that say nothing');
    const long = 'cat '.repeat(50);
    await refuses(['cat', 'dog', long], 'embed: text 2 has 52 tokens, at most 40 fit; truncate: true cuts its end');
    const [whole, cut] = [Array.from(tokenizer.encode(long)), { truncate: true, maxLength: 10 }];
    const expected = alone(bert, [...whole.slice(0, 9), whole[51]], 'mean');
    expectClose(await embed(bert, tokenizer, [long], cut), expected, close);
    await refuses(['cat'], "embed: pooling must be 'cls', 'mean' or 'max', got 'sum'", { pooling: 'sum' as 'max' });
    await refuses(['cat'], "embed: maxLength must be an integer from 1 to the model's context of 40, got 41", { maxLength: 41 });
    await refuses(['cat'], 'embed: batchTokens must be a positive integer, got 0', { batchTokens: 0 });
    await expect(embed(bert, tokenizer, ['cat'], { pool: 'cls' } as object)).rejects.toThrow('pool');
    await expect(embed(bert, tokenizer, [[]])).rejects.toThrow('embed: text 0 has no tokens');
  }); // prettier-ignore

  it('stops when it is aborted', async () => {
    const signal = AbortSignal.abort(new Error('enough'));
    await expect(embed(bert, tokenizer, texts, { signal })).rejects.toThrow('enough');
  });
});

describe('skipPadding', () => {
  const masks = [[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 1, 1, 1, 0], [1, 0, 1, 0, 1]]; // prettier-ignore
  const batch = int32(masks.map((row, r) => row.map((_, c) => 5 + ((3 * r + 7 * c) % 50))));
  const attentionMask = bool(masks);

  it.each(models)(
    '%s: the tokens’ outputs are the same, those of padding zeros; so are gradients',
    (_, model) => {
      const run = (skipPadding: boolean): Tensor => model.forward(batch, { attentionMask, skipPadding });
      const [kept, skipped] = noGrad(() => [run(false), run(true)]);
      const tokens = masks.flat().flatMap((token) => Array<number>(24).fill(token));
      const expected = kept.toFloat64Array().map((x, i) => x * tokens[i]);
      expectClose(skipped, expected, { atol: 1e-5, rtol: 1e-5 });
      const gradients = [false, true].map((skip) => {
        const hidden = run(skip);
        const only = attentionMask.reshape([4, 5, 1]).to('float32');
        hidden.mul(only).mul(hidden).sum().backward();
        const grads = model.parameters().map((p) => p.grad?.toFloat64Array() ?? new Float64Array(0));
        model.parameters().forEach((p) => (p.grad = null));
        return grads;
      });
      for (const [i, grad] of gradients[0].entries()) {
        expectClose(gradients[1][i], grad, { atol: 1e-3, rtol: 1e-3 }, model.namedParameters()[i][0]);
      }
    },
  );

  it('sees attention weights all the same', () => {
    const attentions: Tensor[] = [];
    noGrad(() => bert.forward(batch, { attentionMask, attentions, skipPadding: true }));
    expect(attentions.map((a) => a.shape)).toEqual([[4, 3, 5, 5], [4, 3, 5, 5]]); // prettier-ignore
  });
});

describe('sentenceOptions', () => {
  const at = (name: string, files: Record<string, unknown>): string => {
    const path = join(folder, name);
    mkdirSync(join(path, '1_Pooling'), { recursive: true });
    for (const [file, content] of Object.entries(files))
      writeFileSync(join(path, file), JSON.stringify(content));
    return path;
  };
  const modules = (...kinds: string[]) =>
    kinds.map((kind, idx) => ({ idx, type: `sentence_transformers.models.${kind}` }));

  it('are those of sentence-transformers’ files', () => {
    expect(sentenceOptions(at('nothing', {}))).toEqual({});
    const path = at('all', {
      'modules.json': modules('Transformer', 'Pooling', 'Normalize'),
      'sentence_bert_config.json': { max_seq_length: 256 },
      '1_Pooling/config.json': { pooling_mode_cls_token: true, pooling_mode_mean_tokens: false },
    });
    expect(sentenceOptions(path)).toEqual({ pooling: 'cls', normalize: true, maxLength: 256 });
    expect(sentenceOptions(at('raw', { 'modules.json': modules('Transformer', 'Pooling') }))).toEqual({
      normalize: false,
    });
  });

  it('are llama.cpp’s in a GGUF file', () => {
    const path = join(folder, 'x.gguf');
    const asked = (type: number) => {
      writeGguf(path, { 'general.architecture': { string: 'bert' }, 'bert.pooling_type': { uint32: type } });
      return sentenceOptions(path);
    };
    expect([asked(0), asked(1), asked(2)]).toEqual([{}, { pooling: 'mean' }, { pooling: 'cls' }]);
    expect(() => asked(3)).toThrow('bert.pooling_type is 3, known are 1 (mean) and 2 (cls)');
  });

  it('refuse what embed does not do', () => {
    const dense = at('dense', { 'modules.json': modules('Transformer', 'Pooling', 'Dense') });
    expect(() => sentenceOptions(dense)).toThrow(ConfigError);
    expect(() => sentenceOptions(dense)).toThrow('has a module of type Dense; known are');
    const two = at('two', { '1_Pooling/config.json': { pooling_mode_cls_token: true, pooling_mode_max_tokens: true } });
    expect(() => sentenceOptions(two)).toThrow('has pooling_mode_cls_token, pooling_mode_max_tokens');
    expect(() => sentenceOptions(join(folder, 'none'))).toThrow('cannot be read');
  }); // prettier-ignore
});

describe('tsgpt embed', () => {
  const model = join(folder, 'model');
  const run = (args: string[], input = '') => tsgpt(['embed', '--model', model, ...args], { input });
  const lines = (output: string) =>
    output
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { text: string; embedding: number[] });

  beforeAll(async () => {
    await compiled();
    bert.savePretrained(model, { tokenizer });
  }, 180_000);

  it('prints a line for each text, of an argument, a file or standard input', async () => {
    const expected = await embed(bert, tokenizer, texts);
    const data = join(folder, 'texts.txt');
    writeFileSync(data, `${texts.join('\n')}\n`);
    const [file, input, single] = await Promise.all([
      run(['--data', data]),
      run([], texts.join('\n')),
      run(['--text', texts[0], '--pooling', 'cls', '--no-normalize']),
    ]);
    expect(file.stderr).toContain('5 texts');
    expect(lines(file.stdout).map(({ text }) => text)).toEqual(texts);
    expectClose(lines(file.stdout).flatMap(({ embedding }) => embedding), expected.toFloat64Array(), close);
    expect(input.stdout).toBe(file.stdout);
    expectClose(lines(single.stdout)[0].embedding, alone(bert, ids[0], 'cls', false), { atol: 1e-5, rtol: 1e-5 });
  }); // prettier-ignore

  it('says which line is empty or too long, and cuts it when it is told', async () => {
    const long = 'cat '.repeat(50);
    const [empty, tooLong, cut, limit, blank] = await Promise.all([
      run([], 'cat\n\ndog'),
      run([], `cat\n${long}`),
      run(['--truncate', '--max-length', '10'], `cat\n${long}`),
      run(['--max-length', '41', '--text', 'cat']),
      run(['--text', '']),
    ]);
    expect(empty).toMatchObject({ code: 1, stderr: 'tsgpt: standard input: line 2 is empty\n' });
    expect(tooLong.stderr).toBe(
      'tsgpt: standard input: line 2 has 52 tokens, at most 40 fit; --truncate cuts its end\n',
    );
    expect(lines(cut.stdout)).toHaveLength(2);
    expect(limit).toMatchObject({ code: 2 });
    expect(limit.stderr).toContain("--max-length 41 is more than the model's context of 40");
    expect(blank.stderr).toContain('--text must not be empty');
  });
});
