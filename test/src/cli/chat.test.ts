/** `tsgpt chat`: what goes to the model, what is kept, what is said where there is no template. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';

import { Conversation, type ChatTokenizer } from '../../../src/cli/chat.js';
import { CharTokenizer, Generator, GPT } from '../../../src/index.js';
import { compiled, tsgpt } from '../../support/cli.js';

const characters = CharTokenizer.fromText('abcdefghijklmnopqrstuvwxyz .,!?<>:\n');
/** `<role>text` for each message. */
const tokenizer: ChatTokenizer = Object.assign(Object.create(characters) as CharTokenizer, {
  applyChatTemplate: (messages: readonly { role: string; content: string }[]) =>
    characters.encode(`${messages.map(({ role, content }) => `<${role}>${content}`).join('')}<assistant>`),
});

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

describe('tsgpt chat', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tsgpt-chat-'));
  beforeAll(async () => {
    await compiled();
    new GPT(
      { vocab_size: characters.vocabSize, n_positions: 32, n_embd: 16, n_layer: 1, n_head: 2 },
      { generator: new Generator(1) },
    ).savePretrained(folder);
    characters.save(folder);
  }, 120_000);
  afterAll(() => rmSync(folder, { recursive: true }));

  it('says when the tokenizer has no chat template', async () => {
    const { code, stdout, stderr } = await tsgpt(['chat', '--model', folder], { input: 'hello\n' });
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(
      /^tsgpt: .*: its tokenizer has no chat template; use `tsgpt generate --interactive`.*\n$/,
    );
  });
});
