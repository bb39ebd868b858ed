/** The flags of `tsgpt embed`. */

import { integer, section, text, toggle, type FlagValues } from './args.js';
import { backend, config, help, threads } from './common-flags.js';

export const embedFlags = {
  ...section('Model', {
    model: text({
      hint: 'PATH',
      default: 'model',
      filled: true,
      help: 'an encoder: model folder or GGUF file',
    }),
    tokenizer: text({ hint: 'PATH', filled: true, help: 'another tokenizer than that in --model' }),
  }),
  ...section('Text', {
    text: text({ filled: true, sought: ['prompt', 'input'], help: 'the text (default: --data)' }),
    data: text({
      hint: 'FILE',
      default: '-',
      filled: true,
      instead: 'text',
      sought: ['file', 'texts'],
      help: 'a file with a text a line, or - for standard input',
    }),
  }),
  ...section('Embedding', {
    pooling: text({
      choices: ['cls', 'mean', 'max'],
      hint: 'NAME',
      help: "cls, mean or max (default: what the model's files say, else mean)",
    }),
    'no-normalize': toggle({ help: 'leave vectors as they are, not of length 1' }),
    truncate: toggle({ help: 'cut texts that are too long, instead of refusing them' }),
    'max-length': integer({ min: 1, help: "tokens of a text at most (default: the model's limit)" }),
  }),
  ...section('Running', { threads, backend, config, help }),
};

export type EmbedValues = FlagValues<typeof embedFlags>;
