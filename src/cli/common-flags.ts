/** Flags that several commands have. */

import { integer, text, toggle } from './args.js';

export const backend = text({
  default: 'auto',
  choices: ['auto', 'embedded', 'openblas'],
  hint: 'NAME',
  help: 'matrix products: embedded, openblas, or auto: TSGPT_GEMM, else embedded',
});
export const threads = integer({
  min: 1,
  max: 256,
  help: 'threads of the kernels (default: TSGPT_THREADS, else one a core)',
});
export const seed = integer({ min: 0, help: 'seed of all random numbers (default: a fresh one)' });
export const config = text({
  hint: 'FILE',
  filled: true,
  help: 'JSON object of these names and values; the command line wins',
});
export const json = toggle({ help: 'print one JSON object on standard output at the end' });
export const help = toggle({ help: 'show this text' });
