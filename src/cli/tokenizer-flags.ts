/** The flags, help and examples of `tsgpt tokenizer train|encode|decode|info`. */

import { integer, section, text, toggle } from './args.js';

const json = toggle({ help: 'print one JSON object on standard output' });
const help = toggle({ help: 'show this text' });
const tokenizer = text({
  hint: 'PATH',
  default: 'tokenizer',
  filled: true,
  sought: ['model', 'vocab'],
  help: 'tokenizer file, or folder that holds one',
});

export const tokenizerTrainFlags = {
  ...section('Texts', {
    data: text({
      hint: 'PATH',
      default: '.',
      filled: true,
      sought: ['text', 'file', 'files', 'input', 'corpus'],
      help: 'text file, folder, quoted glob, or - for standard input',
    }),
  }),
  ...section('Tokenizer', {
    type: text({
      default: 'bpe',
      choices: ['bpe', 'wordpiece', 'unigram', 'char'],
      sought: ['tokenizer-type', 'model-type', 'algorithm'],
      help: 'byte-level BPE, as BERT, as SentencePiece, or characters',
    }),
    'vocab-size': integer({
      min: 1,
      sought: ['vocab', 'size', 'vocabulary-size'],
      help: 'tokens in all (default: 8000; the characters of the text for char)',
    }),
    'min-frequency': integer({
      min: 0,
      help: 'a pair must occur so often to become a token (default: 0; bpe, wordpiece)',
    }),
    'special-tokens': text({
      hint: 'LIST',
      help: 'comma-separated, the first ids (default: what the type usually has)',
    }),
    split: text({
      choices: ['gpt2', 'llama3', 'qwen2', 'cl100k', 'spaces'],
      hint: 'NAME',
      help: 'words of bpe: gpt2 (default), llama3, qwen2, cl100k, spaces',
    }),
    cased: toggle({ help: 'wordpiece keeps upper case and accents' }),
  }),
  ...section('Output', {
    out: text({
      hint: 'PATH',
      default: 'tokenizer',
      filled: true,
      sought: ['output', 'model', 'save'],
      help: 'folder to write tokenizer.json into, or a file that ends in .json',
    }),
    json,
    help,
  }),
};

export const tokenizerEncodeFlags = section('Flags', {
  tokenizer,
  text: text({ hint: 'TEXT', help: 'what to encode (default: standard input)', sought: ['prompt', 'input'] }),
  data: text({
    hint: 'FILE',
    filled: true,
    sought: ['file'],
    instead: 'text',
    help: 'a text file to encode',
  }),
  'add-special-tokens': toggle({ help: 'with the tokens that the tokenizer puts around texts' }),
  tokens: toggle({ help: 'a line for each token: id, token, place in the text' }),
  json,
  help,
});

export const tokenizerDecodeFlags = section('Flags', {
  tokenizer,
  ids: text({ hint: 'LIST', help: 'ids with spaces or commas between them (default: standard input)' }),
  'skip-special-tokens': toggle({ help: 'leave special tokens out' }),
  json,
  help,
});

export const tokenizerInfoFlags = section('Flags', { tokenizer, json, help });

export const tokenizerCommands = {
  'tokenizer train': {
    summary: 'Trains a tokenizer on text and writes its tokenizer.json.',
    flags: tokenizerTrainFlags,
    notes: `The same texts and flags always give the same tokenizer. Files are read piece by piece.
Hugging Face's tokenizers library loads what is written.`,
    examples: [
      "tsgpt tokenizer train --data 'books/*.txt' --vocab-size 8000 --out tokenizer",
      "tsgpt tokenizer train --data corpus.txt --split qwen2 --special-tokens '<|endoftext|>,<|pad|>'",
      'tsgpt tokenizer train --data corpus.txt --type wordpiece --cased --out bert.json',
    ],
  },
  'tokenizer encode': {
    summary: "Shows a text's token ids.",
    flags: tokenizerEncodeFlags,
    notes: 'The ids go to standard output, with spaces between them.',
    examples: [
      'tsgpt tokenizer encode --tokenizer tokenizer --text "Hello world"',
      'tsgpt tokenizer encode --tokenizer gpt2 --data shakespeare.txt --json',
    ],
  },
  'tokenizer decode': {
    summary: 'Shows the text of token ids.',
    flags: tokenizerDecodeFlags,
    notes: '',
    examples: [
      'tsgpt tokenizer decode --tokenizer gpt2 --ids "15496 995"',
      'tsgpt tokenizer encode --text Hello | tsgpt tokenizer decode',
    ],
  },
  'tokenizer info': {
    summary: 'Shows what a tokenizer is made of.',
    flags: tokenizerInfoFlags,
    notes: '',
    examples: ['tsgpt tokenizer info --tokenizer gpt2'],
  },
};
