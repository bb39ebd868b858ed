/** Flags about tables of texts, and about hidden tokens, that several commands have. */

import { number, text, toggle } from './args.js';

export const tableColumns = {
  'text-column': text({
    hint: 'N|NAME',
    filled: true,
    help: 'column of the texts: a number, or a name in the first line (JSONL: a key)',
  }),
  'pair-column': text({ hint: 'N|NAME', filled: true, help: 'column of second texts, for labels of pairs' }),
  'label-column': text({
    hint: 'N|NAME',
    filled: true,
    sought: ['target-column'],
    help: 'column of the labels, or of the texts to write',
  }),
};

export const maskFlags = {
  'mask-prob': number({ default: 0.15, above: 0, max: 1, help: 'bert, text: part of the tokens to find' }),
  'random-prob': number({
    default: 0.1,
    min: 0,
    max: 1,
    help: 'bert: part of these that is replaced at random',
  }),
  'keep-prob': number({
    default: 0.1,
    min: 0,
    max: 1,
    help: 'bert: part of these that stays; the others are hidden',
  }),
  'whole-words': toggle({ help: 'bert: hide all pieces of a word' }),
};
