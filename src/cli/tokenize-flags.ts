/** The flags, help and examples of `tsgpt tokenize`. */

import { section, text, toggle, type FlagValues } from './args.js';
import { config, help, json } from './common-flags.js';

export const tokenizeFlags = {
  ...section('Texts', {
    data: text({
      hint: 'PATH',
      default: '.',
      filled: true,
      sought: ['text', 'file', 'files', 'input', 'corpus', 'dataset'],
      help: 'file, folder, quoted glob, or - for standard input; gzip files too',
    }),
    format: text({
      default: 'auto',
      choices: ['auto', 'text', 'jsonl', 'tsv'],
      help: 'what the files are; auto: .jsonl, .ndjson, .tsv, else text',
    }),
    'text-field': text({
      default: 'text',
      hint: 'NAME',
      filled: true,
      sought: ['text-key', 'field', 'column', 'jsonl-field'],
      help: 'where a line has its text: JSON key, or column by name or number',
    }),
    separator: text({
      hint: 'TEXT',
      filled: true,
      sought: ['document-separator', 'delimiter'],
      help: 'what stands between the documents of a text file (default: a file is one)',
    }),
  }),
  ...section('Tokens', {
    tokenizer: text({
      hint: 'PATH',
      default: 'tokenizer',
      filled: true,
      sought: ['model', 'vocab'],
      help: 'tokenizer file, or folder that holds one',
    }),
    'no-eos': toggle({ help: "leave out the tokenizer's end-of-text token after documents" }),
    out: text({
      hint: 'FILE',
      default: 'tokens.bin',
      filled: true,
      sought: ['output', 'save'],
      help: 'token file to write',
    }),
  }),
  ...section('Running', { config, json, help }),
};

export type TokenizeValues = FlagValues<typeof tokenizeFlags>;

export const tokenizeCommand = {
  summary: 'Turns texts into a token file, which training reads in place of them.',
  flags: tokenizeFlags,
  notes: `Texts are read piece by piece, so they may be larger than memory. Each line of a .jsonl or .tsv file is a document.
The token file brings its tokenizer along: tsgpt train --data tokens.bin needs nothing else. Special tokens that the
texts spell are text. Ctrl-C leaves nothing of the file behind.`,
  examples: [
    "tsgpt tokenize --data 'corpus/*.jsonl.gz' --tokenizer tokenizer --out tokens.bin",
    "tsgpt tokenize --data stories.txt --separator '<|endoftext|>' --tokenizer gpt2 --out stories.bin",
    'zcat dump.tsv.gz | tsgpt tokenize --data - --format tsv --text-field body --out dump.bin',
  ],
};
