import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, describe, expect, it } from 'vitest';

import { FileError } from '../../../lib/index.js';
import { classesOf, labelsOf, readLabelledTexts, readTextPairs } from '../../../src/data/index.js';

const folder = mkdtempSync(join(tmpdir(), 'tsgpt-rows-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

describe('readLabelledTexts', () => {
  it('reads TSV by position, also from several files', async () => {
    const a = file('a.tsv', 'good  \t1\n\nbad\t0\r\n');
    const b = file('b.tsv', 'fine\t1\textra\n');
    expect(await readLabelledTexts([a, b])).toEqual([
      { text: 'good', label: '1', place: `${a}: row 1` },
      { text: 'bad', label: '0', place: `${a}: row 3` },
      { text: 'fine', label: '1', place: `${b}: row 1` },
    ]);
    expect(await readLabelledTexts(b, { text: 3, label: 1 })).toMatchObject([
      { text: 'extra', label: 'fine' },
    ]);
  });

  it('reads TSV by the names of its first line', async () => {
    const path = file('named.tsv', 'id\tsentence1\tsentence2\tlabel\n7\tA man.\tA person.\tyes\n');
    const columns = { text: 'sentence1', pair: 'sentence2', label: 'label' };
    expect(await readLabelledTexts(path, columns)).toEqual([
      { text: 'A man.', pair: 'A person.', label: 'yes', place: `${path}: row 2` },
    ]);
    await expect(readLabelledTexts(path, { text: 'sentence' })).rejects.toThrow(
      `${path}: row 1: has no column 'sentence'; the columns are id, sentence1, sentence2, label`,
    );
  });

  it('reads JSONL by keys', async () => {
    const path = file('a.jsonl', '{"text": "good", "label": 1}\n{"label": true, "text": "fine\\tday"}\n');
    expect(await readLabelledTexts(path)).toMatchObject([
      { text: 'good', label: '1' },
      { text: 'fine\tday', label: 'true' },
    ]);
  });

  it.each([
    ['one.tsv', 'good\t1\nno label\n', 'row 2: has no column 2, where the label should be'],
    ['empty.tsv', 'good\t1\n \t1\n', 'row 2: the text in column 1 is empty'],
    ['nolabel.tsv', 'good\t\n', 'row 1: the label in column 2 is empty'],
    ['none.tsv', '\n\n', 'holds no row'],
    ['bad.jsonl', '{"text": "a", "label": 1}\n{"text": \n', 'row 2: is not JSON'],
    ['list.jsonl', '[1]\n', 'row 1: must be a JSON object'],
    ['key.jsonl', '{"text": "a"}\n', "row 1: has no 'label', where the label should be"],
    ['blank.jsonl', '{"text": " ", "label": 1}\n', "row 1: the text in 'text' is empty"],
    ['object.jsonl', '{"text": {}, "label": 1}\n', "row 1: the text in 'text' must be a text or a number"],
  ])('says what is wrong with %s', async (name, text, complaint) => {
    const path = file(name, text);
    const reading = readLabelledTexts(path);
    await expect(reading).rejects.toThrow(`${path}: ${complaint}`);
    await expect(reading).rejects.toThrow(FileError);
  });
});

describe('readTextPairs', () => {
  it('reads sources and targets', async () => {
    const tsv = file('pairs.tsv', 'Go.\tVa !\tCC-BY 2.0\n');
    expect(await readTextPairs(tsv)).toEqual([{ source: 'Go.', target: 'Va !', place: `${tsv}: row 1` }]);
    const json = file('pairs.jsonl', '{"en": "Go.", "fr": "Va !"}\n');
    expect(await readTextPairs(json, { source: 'en', target: 'fr' })).toMatchObject([{ target: 'Va !' }]);
    await expect(readTextPairs(file('short.tsv', 'Go.\n'))).rejects.toThrow(
      'short.tsv: row 1: has no column 2, where the target should be',
    );
  });
});

describe('labels', () => {
  const texts = (...labels: string[]) =>
    labels.map((label, i) => ({ text: 'x', label, place: `f: row ${i + 1}` }));

  it('are sorted by number, or by name', () => {
    expect(labelsOf(texts('10', '9', '9'))).toEqual(['9', '10']);
    expect(labelsOf(texts('pos', 'neg', '1'))).toEqual(['1', 'neg', 'pos']);
  });

  it('become classes by name or number', () => {
    expect(classesOf(texts('pos', 'neg'), ['neg', 'pos'])).toEqual([1, 0]);
    expect(classesOf(texts('1', '0'), ['neg', 'pos'])).toEqual([1, 0]);
    expect(classesOf(texts('3', '7'), ['3', '7'])).toEqual([0, 1]);
  });

  it('that are unknown or out of range are named with their row', () => {
    expect(() => classesOf(texts('pos', 'meh'), ['neg', 'pos'])).toThrow(
      "f: row 2: label 'meh' is unknown; known are neg, pos",
    );
    expect(() => classesOf(texts('0', '2'), ['neg', 'pos'])).toThrow(
      'f: row 2: label 2 is out of range, there are 2 classes (neg, pos)',
    );
    expect(() => classesOf(texts('5'), ['3', '7'])).toThrow("f: row 1: label '5' is unknown; known are 3, 7");
  });
});
