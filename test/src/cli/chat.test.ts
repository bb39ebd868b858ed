/** `tsgpt chat`: what goes to the model, what is kept, what is said where there is no template. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';

import { Conversation, type ChatTokenizer } from '../../../src/cli/chat.js';
import { CharTokenizer, Generator, GPT, PretrainedTokenizer } from '../../../src/index.js';
import { readTokenizerConfig } from '../../../src/tokenizers/config.js';
import { partsFromJson } from '../../../src/tokenizers/sources/tokenizer-json.js';
import { compiled, tsgpt } from '../../support/cli.js';

const characters = CharTokenizer.fromText('abcdefghijklmnopqrstuvwxyz .,!?<>:\n');
/** `<role>text` for each message. */
const tokenizer: ChatTokenizer = {
  encodeChat: (messages) =>
    characters.encode(`${messages.map((m) => `<${m.role}>${m.content as string}`).join('')}<assistant>`),
};

describe('Conversation', () => {
  const said = (ids: ArrayLike<number>): string => characters.decode(ids);

  it('sends the system text and all that was said', () => {
    const conversation = new Conversation(1000, tokenizer, 'be brief');
    expect(said(conversation.ask('hello', 10))).toBe('<system>be brief<user>hello<assistant>');
    conversation.answered('hi');
    expect(said(conversation.ask('who?', 10))).toBe(
      '<system>be brief<user>hello<assistant>hi<user>who?<assistant>',
    );
    conversation.answered('me');
    expect(conversation.undo()).toBe('Taken back.\n');
    expect(said(conversation.ask('why?', 10))).toBe(
      '<system>be brief<user>hello<assistant>hi<user>why?<assistant>',
    );
    expect(conversation.tell('')).toBe('system: be brief\n');
    conversation.tell('be long');
    expect(conversation.messages).toEqual([]);
    expect(conversation.undo()).toBe('There is nothing to take back.\n');
    expect(said(conversation.ask('hello', 10))).toBe('<system>be long<user>hello<assistant>');
    conversation.reset();
    expect(said(conversation.ask('so', 10))).toBe('<system>be long<user>so<assistant>');
  });

  it('leaves out the oldest exchanges when there is no more room', () => {
    const write = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
    const conversation = new Conversation(100, tokenizer, 's');
    for (const letter of 'abcd') {
      conversation.ask(letter.repeat(12), 30);
      conversation.answered(letter);
    }
    const ids = conversation.ask('now', 30);
    expect(said(ids)).toBe('<system>s<user>dddddddddddd<assistant>d<user>now<assistant>');
    expect(ids.length).toBeLessThanOrEqual(70);
    expect(write).toHaveBeenCalledWith(expect.stringMatching(/its first \d messages are left out\n$/));
    expect(conversation.messages).toHaveLength(9);
    conversation.answered('so');
    // A message that is too long by itself goes alone.
    expect(said(conversation.ask('x'.repeat(200), 30))).toBe(`<system>s<user>${'x'.repeat(200)}<assistant>`);
    write.mockRestore();
  });
});

/** A tokenizer of single bytes with a special token for each turn, and a template. */
function chatty(): PretrainedTokenizer {
  const letters = Array.from({ length: 94 }, (_, at) => String.fromCharCode(33 + at));
  const vocab = Object.fromEntries([...letters, 'Ġ', 'Ċ'].map((token, id) => [token, id]));
  const parts = partsFromJson({
    added_tokens: [{ id: 96, content: '<|turn|>', special: true }],
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false },
    decoder: { type: 'ByteLevel' },
    model: { type: 'BPE', vocab, merges: [] },
  });
  const chat_template =
    '{% for message in messages %}<|turn|>{{ message.role }} {{ message.content }}{% endfor %}<|turn|>';
  return new PretrainedTokenizer(parts, readTokenizerConfig({ chat_template }));
}

describe('tsgpt chat', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tsgpt-chat-'));
  const silent = join(folder, 'silent');
  beforeAll(async () => {
    await compiled();
    for (const [path, saved] of [
      [folder, chatty()],
      [silent, characters],
    ] as const) {
      new GPT(
        {
          vocab_size: saved.vocabSize,
          n_positions: 128,
          n_embd: 16,
          n_layer: 1,
          n_head: 2,
          initializer_range: 0.3,
          eos_token_id: null,
        },
        { generator: new Generator(1) },
      ).savePretrained(path);
      saved.save(path);
    }
  }, 120_000);
  afterAll(() => rmSync(folder, { recursive: true }));

  it('answers messages and commands until the input ends', async () => {
    const lines = [
      '/tokens 6',
      'hello',
      '/undo',
      '/undo',
      'hello',
      '/reset',
      '/system be brief',
      '/system',
      '/temp 0',
    ];
    const more = ['/config', '/help', '/nothing', '/exit', 'unheard'];
    const args = ['chat', '--model', folder, '--seed', '3'];
    const { code, stdout, stderr } = await tsgpt(args, { input: [...lines, ...more].join('\n') });
    expect(code).toBe(0);
    const shown = stdout.split('\n');
    expect(shown[0]).toBe('max-tokens 6');
    const answer = stdout.slice('max-tokens 6\n'.length, stdout.indexOf('Taken back.'));
    expect(answer.length).toBeGreaterThanOrEqual(1);
    expect(answer).not.toContain('<|turn|>');
    expect(stdout.slice('max-tokens 6\n'.length)).toBe(
      `${answer}Taken back.\nThere is nothing to take back.\n${answer}The conversation begins anew.\n` +
        'The conversation begins anew.\nsystem: be brief\ntemperature 0\n' +
        stdout.slice(stdout.lastIndexOf('temperature 0\n') + 'temperature 0\n'.length),
    );
    expect(stdout).toMatch(/max-tokens +6\n/);
    expect(stdout).toContain('Ctrl-C stops an answer');
    expect(stderr).toContain('unknown command /nothing');
    expect(stderr.split('\n')).toHaveLength(2);
  });

  it('stops the answer at Ctrl-C, not the program', async () => {
    const { code, stdout } = await tsgpt(['chat', '--model', folder, '--max-tokens', '1000000'], {
      input: 'hello\n/config\n',
      started: (child) => child.stdout!.once('data', () => child.kill('SIGINT')),
    });
    expect(code).toBe(0);
    expect(stdout).toMatch(/max-tokens +1000000\n/);
  });

  it('says when the tokenizer has no chat template', async () => {
    const { code, stdout, stderr } = await tsgpt(['chat', '--model', silent], { input: 'hello\n' });
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(
      /^tsgpt: .*: its tokenizer has no chat template; use `tsgpt generate --interactive`.*\n$/,
    );
  });
});
