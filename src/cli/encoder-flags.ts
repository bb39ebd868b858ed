/** The flags of the commands that use an encoder with a head: classify and fill-mask. */

import { integer, section, text, type FlagValues } from './args.js';
import { backend, config, help, json, threads } from './common-flags.js';
import { modelFlags } from './generation-flags.js';

const running = section('Running', { threads, backend, config, json, help });

export const classifyFlags = {
  ...modelFlags,
  ...section('Text', {
    text: text({ filled: true, sought: ['prompt', 'input'], help: 'the text to classify' }),
    pair: text({ filled: true, help: 'the second text of a pair' }),
    data: text({
      hint: 'PATH',
      filled: true,
      sought: ['file', 'texts'],
      help: 'a text on each line of a file; - reads standard input (default, without --text)',
    }),
    batch: integer({ default: 16, min: 1, sought: ['batch-size'], help: 'texts at a time' }),
  }),
  ...running,
};
export type ClassifyValues = FlagValues<typeof classifyFlags>;

export const fillMaskFlags = {
  ...modelFlags,
  ...section('Text', {
    text: text({
      filled: true,
      sought: ['prompt', 'input'],
      help: 'a text with gaps; - reads standard input',
    }),
    top: integer({ default: 5, min: 1, sought: ['top-k', 'k'], help: 'tokens to show for each gap' }),
  }),
  ...running,
};
export type FillMaskValues = FlagValues<typeof fillMaskFlags>;
