/**
 * What the command line offers: each command's flags, help and examples. Importing this file loads nothing else, so
 * `tsgpt --help` and a mistyped flag are answered before the library is loaded.
 */

import {
  describeFlags,
  integer,
  number,
  operands,
  section,
  text,
  toggle,
  type FlagTable,
  type FlagValues,
} from './args.js';
import { backend, config, help, json, seed, threads } from './common-flags.js';
import { embedFlags } from './embed-flags.js';
import { classifyFlags, fillMaskFlags } from './encoder-flags.js';
import { chatFlags, evalFlags, generateFlags } from './generation-flags.js';
import { maskFlags, tableColumns } from './table-flags.js';
import { tokenizeCommand } from './tokenize-flags.js';
import { tokenizerCommands } from './tokenizer-flags.js';

const scheduleNames = 'constant linear cosine cosine-restarts polynomial inverse-sqrt wsd one-cycle'.split(
  ' ',
);

export const trainFlags = {
  ...section('Task', {
    arch: text({
      default: 'gpt',
      choices: ['gpt', 'bert', 't5'],
      sought: ['architecture', 'model-type'],
      help: 'model: a decoder, an encoder, an encoder-decoder',
    }),
    task: text({
      choices: ['text', 'labels', 'pairs'],
      help: 'bert, t5: learn from text or a table of labels or pairs (default: by the name of --data)',
    }),
  }),
  ...section('Data', {
    data: text({
      hint: 'PATH',
      default: '.',
      filled: true,
      sought: ['text', 'file', 'input', 'dataset', 'corpus'],
      help: 'text file, folder, quoted glob, - for stdin; token files; .tsv or .jsonl',
    }),
    'val-split': number({ default: 0.1, min: 0, below: 1, help: 'part of the text kept for validation' }),
    'val-data': text({ hint: 'PATH', filled: true, help: 'token file to validate on instead' }),
    'val-tokens': integer({
      min: 0,
      help: 'tokens of token files to validate on at most (default: 1048576)',
    }),
    documents: toggle({ help: 'token files: a document sees nothing of those beside it' }),
    tokenizer: text({
      hint: 'PATH',
      filled: true,
      help: 'reuse this tokenizer (file or model folder) instead of making one',
    }),
    'tokenizer-type': text({
      default: 'char',
      choices: ['char', 'bpe'],
      help: 'tokenizer made from the text: of characters, or byte-level BPE',
    }),
    'vocab-size': integer({
      min: 257,
      sought: ['vocab', 'vocabulary-size'],
      help: 'tokens of --tokenizer-type bpe, and of bert and t5 (default: 1000)',
    }),
  }),
  ...section('Tables', tableColumns),
  ...section('Hidden tokens', {
    ...maskFlags,
    'next-sentence': toggle({ help: 'bert, text: learn also whether one sentence follows another' }),
    labels: text({
      hint: 'A,B,...',
      filled: true,
      help: 'bert, labels: names of the classes, in this order',
    }),
    'noise-density': number({
      default: 0.15,
      above: 0,
      below: 1,
      help: 't5, text: part of the tokens taken out',
    }),
    'mean-span': number({ default: 3, min: 1, help: 't5, text: mean tokens of a span that is taken out' }),
  }),
  ...section('Fine-tuning', {
    from: text({
      hint: 'PATH',
      filled: true,
      sought: ['base', 'base-model', 'pretrained', 'init-from', 'checkpoint'],
      help: 'start from this model (a folder or GGUF file) and its tokenizer; its sizes stand',
    }),
    'lora-rank': integer({
      min: 1,
      sought: ['lora', 'lora-r', 'rank'],
      help: 'train adapters of this rank beside the weights, which stay as they are',
    }),
    'lora-alpha': number({ above: 0, help: 'their factor, times the rank (default: twice the rank)' }),
    'lora-targets': text({
      hint: 'NAMES',
      filled: true,
      sought: ['target-modules'],
      help: 'layers that get one: c_attn,c_proj (default: all in the blocks)',
    }),
    'lora-dropout': number({ default: 0, min: 0, below: 1, help: 'dropout before them' }),
  }),
  ...section('Model', {
    layers: integer({ default: 2, min: 1, sought: ['n-layer', 'depth'], help: 'transformer blocks' }),
    embed: integer({
      default: 64,
      min: 1,
      sought: ['dim', 'width', 'hidden', 'hidden-size', 'n-embd'],
      help: 'width; a multiple of --heads',
    }),
    heads: integer({ default: 2, min: 1, sought: ['n-head'], help: 'attention heads' }),
    seq: integer({
      default: 64,
      min: 1,
      sought: ['context', 'context-length', 'block-size'],
      help: 'tokens of context',
    }),
    dropout: number({ default: 0, min: 0, below: 1, help: 'dropout while training' }),
  }),
  ...section('Architecture', {
    'use-rope': toggle({ sought: ['rope', 'rotary'], help: 'rotary positions in place of learned ones' }),
    'rope-theta': number({ above: 0, help: 'base of their frequencies (default: 10000)' }),
    'use-swiglu': toggle({ sought: ['swiglu'], help: 'gated feed-forward layers in place of GELU' }),
    'use-rmsnorm': toggle({ sought: ['rmsnorm'], help: 'RMSNorm in place of layer normalization' }),
    'kv-heads': integer({
      min: 1,
      sought: ['num-kv-heads', 'n-kv-head', 'gqa'],
      help: 'heads of keys and values, a divisor of --heads (default: as many)',
    }),
    window: integer({
      min: 1,
      sought: ['sliding-window'],
      help: 'how many tokens back attention sees (default: all)',
    }),
    'no-bias': toggle({ help: 'layers without biases' }),
    untied: toggle({ help: 'an output head of its own, not the token embedding' }),
    'use-explicit-mask': toggle({
      help: 'the causal mask as a tensor: the same results, slower',
    }),
  }),
  ...section('Training', {
    epochs: number({ default: 2, above: 0, help: 'tokens to learn from, in lengths of the training text' }),
    steps: integer({
      min: 1,
      instead: 'epochs',
      sought: ['iters', 'iterations', 'max-iters', 'max-steps'],
      help: 'optimizer steps, instead of --epochs',
    }),
    batch: integer({ default: 4, min: 1, sought: ['batch-size', 'bs'], help: 'sequences in a batch' }),
    'grad-accum-steps': integer({
      default: 1,
      min: 1,
      sought: ['accum', 'accumulation', 'gradient-accumulation-steps'],
      help: 'batches whose gradients make one step (under mpirun one a process)',
    }),
    lr: number({ default: 1e-3, above: 0, sought: ['learning-rate'], help: 'highest learning rate' }),
    'min-lr': number({ min: 0, help: 'learning rate at the end (default: a tenth of --lr)' }),
    warmup: integer({ min: 0, help: 'steps of linear warm-up (default: a twentieth, at most 100)' }),
    schedule: text({
      default: 'cosine',
      choices: scheduleNames,
      hint: 'NAME',
      sought: ['lr-schedule', 'scheduler', 'lr-scheduler'],
      help: 'how the rate goes on after the warm-up; the names are below',
    }),
    cycles: integer({ default: 1, min: 1, help: 'cosine-restarts: number of cosines' }),
    power: number({ default: 1, above: 0, help: 'polynomial: its power' }),
    'decay-steps': integer({ min: 1, help: 'wsd: steps of the decay at the end (default: a fifth)' }),
    ema: number({ min: 0, below: 1, help: "keep and save the weights' moving average, of this decay" }),
    optimizer: text({
      default: 'adamw',
      choices: ['adamw', 'adam', 'sgd', 'adagrad', 'rmsprop', 'adafactor', 'lion', 'muon'],
      hint: 'NAME',
      sought: ['optim'],
      help: 'adamw, adam, sgd, adagrad, rmsprop, adafactor, lion, muon',
    }),
    'weight-decay': number({
      min: 0,
      sought: ['wd'],
      help: 'weight decay of matrices (default: 0.1; adam, adagrad, rmsprop: 0)',
    }),
    beta1: number({ default: 0.9, min: 0, below: 1, help: 'decay of the first moment (Adam, Lion)' }),
    beta2: number({ default: 0.99, min: 0, below: 1, help: 'decay of the second moment (Adam, Lion)' }),
    amsgrad: toggle({ help: 'adam, adamw: divide by the greatest second moment so far' }),
    momentum: number({ min: 0, below: 1, help: 'momentum of sgd, rmsprop (default: 0), muon (0.95)' }),
    nesterov: toggle({ help: "sgd: Nesterov's momentum" }),
    precision: text({
      default: 'float32',
      choices: ['float32', 'bf16', 'fp16'],
      sought: ['dtype', 'amp', 'mixed-precision', 'bf16', 'fp16'],
      help: 'what layers compute in while training: float32, bf16, fp16',
    }),
    'loss-scale': number({ above: 0, help: 'fp16: the first loss scale (default: 65536)' }),
    'loss-scale-interval': integer({ min: 1, help: 'fp16: good steps before it doubles (default: 2000)' }),
    recompute: text({
      default: 'off',
      hint: 'WHAT',
      filled: true,
      sought: ['checkpointing', 'gradient-checkpointing', 'activation-checkpointing'],
      help: 'compute again in backward to save memory: off, selective, every:N layers',
    }),
    'max-skips': integer({
      default: 3,
      min: 0,
      help: 'steps in a row that may be skipped as not finite; one more ends the run',
    }),
    clip: number({
      default: 1,
      min: 0,
      sought: ['grad-clip', 'max-norm', 'max-grad-norm'],
      help: 'largest global gradient norm; 0 switches clipping off',
    }),
    seed,
  }),
  ...section('Output', {
    model: text({
      hint: 'DIR',
      default: 'model',
      filled: true,
      sought: ['out', 'output', 'out-dir', 'output-dir'],
      help: 'folder to write: Hugging Face layout',
    }),
    'eval-interval': integer({
      default: 250,
      min: 0,
      help: 'steps between evaluations; 0 switches them off',
    }),
    'save-interval': integer({
      min: 0,
      sought: ['checkpoint-interval', 'save-every'],
      help: 'steps between saves (default: as evaluations, else 250); 0: only best and last',
    }),
    keep: integer({
      min: 0,
      default: 2,
      help: 'saves to keep as checkpoint-STEP',
    }),
    resume: toggle({ help: 'continue the run in --model exactly where it stopped' }),
    'gen-samples': integer({
      default: 3,
      min: 0,
      sought: ['samples'],
      help: 'texts to generate after training',
    }),
    'gen-len': integer({ default: 100, min: 1, help: 'tokens in each of them' }),
  }),
  ...section('Seeing', {
    metrics: text({
      hint: 'FILE',
      filled: true,
      sought: ['plot', 'html', 'curves', 'report'],
      help: 'HTML page of the run, written anew with each evaluation',
    }),
    live: integer({
      hint: 'PORT',
      min: 0,
      max: 65535,
      bare: 7070,
      sought: ['serve', 'dashboard', 'port'],
      help: 'serve that page on 127.0.0.1 while training (7070; 0: any port)',
    }),
    tensorboard: text({
      hint: 'DIR',
      filled: true,
      sought: ['logdir', 'log-dir', 'tb'],
      help: 'write event files for TensorBoard into this folder',
    }),
    'sample-interval': integer({
      default: 0,
      min: 0,
      help: 'steps between samples of text, kept with the metrics; 0: none',
    }),
  }),
  ...section('Running', {
    threads,
    backend,
    config,
    'dry-run': toggle({ help: 'show parameters, memory and steps; train nothing' }),
    json,
    help,
  }),
};

export const mergeFlags = section('Flags', {
  model: text({ hint: 'DIR', default: 'model', filled: true, help: 'folder of adapters' }),
  out: text({
    hint: 'DIR',
    default: 'merged',
    filled: true,
    sought: ['output', 'to'],
    help: 'folder to write the model to',
  }),
  help,
});

export const visualizeFlags = section('Flags', {
  'RUN...': operands({ help: 'folders of runs; each becomes a colour' }),
  out: text({
    hint: 'FILE',
    default: 'metrics.html',
    filled: true,
    sought: ['output', 'o'],
    help: 'the page to write',
  }),
  title: text({ hint: 'TEXT', filled: true, help: 'its title (default: names of the runs)' }),
  help,
});

export const infoFlags = section('Flags', {
  model: text({
    hint: 'PATH',
    filled: true,
    help: 'describe this model folder, GGUF or safetensors file instead',
  }),
  check: toggle({ help: 'with --model: read all weights; exit code 1 when any is NaN or infinite' }),
  json,
  help,
});

export type TrainValues = FlagValues<typeof trainFlags>;
export type MergeValues = FlagValues<typeof mergeFlags>;
export type VisualizeValues = FlagValues<typeof visualizeFlags>;
export type InfoValues = FlagValues<typeof infoFlags>;

interface CommandHelp {
  readonly summary: string;
  readonly flags: FlagTable;
  readonly notes: string;
  readonly examples: readonly string[];
}

export const commands = {
  train: {
    summary: 'Trains a GPT, BERT or T5 and writes a model folder.',
    flags: trainFlags,
    notes: `Ctrl-C finishes the step, saves and exits with 130 (SIGTERM: 143, a closed terminal: 129). A second Ctrl-C ends
the process at once, at the latest after the batch that is being computed. Before the training begins the first does.
Token files are what tsgpt tokenize writes, or uint16 .bin files of nanoGPT and llm.c. Several have commas between them,
with weights if they like: --data web.bin:0.7,books.bin:0.3.
--resume needs only --model: the other flags are those of the interrupted run unless they are given.
metrics.jsonl in the folder has a line for each step, evaluation and sample; see tsgpt visualize.
mpirun -n N tsgpt train ... trains in N processes, which divide the --grad-accum-steps batches of a step.
--schedule is one of ${scheduleNames.join(', ')}.
--arch bert learns to find hidden words of a text, or with --task labels the labels of a table's texts; --arch t5
learns to put back spans of a text, or with --task pairs to write the second texts of a table for the first. A table has
a text and a label (or second text) on each line: the columns 1 and 2 of a TSV file, "text" and "label" ("source" and
"target" for pairs) of a JSONL file, unless the flags under Tables say otherwise.
The folder holds a GPT-2 in Hugging Face's layout, with --use-rope, --use-swiglu and --use-rmsnorm together a Llama
(with --window and --no-bias a Mistral). Other choices under Architecture have no name elsewhere: only tsgpt loads
such a folder.`,
    examples: [
      'tsgpt train --data shakespeare.txt --model shakespeare',
      "tsgpt train --data 'books/*.txt' --layers 6 --heads 6 --embed 384 --seq 256 --batch 16 --steps 5000 --dropout 0.2",
      'tsgpt train --data shakespeare.txt --use-rope --use-swiglu --use-rmsnorm --no-bias --model tiny-llama',
      'tsgpt train --from gpt2 --data shakespeare.txt --lora-rank 8 --seq 256 --precision bf16 --model gpt2-lora',
      'tsgpt train --data web.bin:0.7,books.bin:0.3 --documents --steps 10000 --model web',
      'tsgpt train --model shakespeare --resume',
      'tsgpt train --arch bert --data books.txt --vocab-size 4000 --layers 4 --heads 4 --embed 256 --model bookbert',
      'tsgpt train --arch bert --from bookbert --data reviews.tsv --labels bad,good --epochs 4 --lr 2e-4 --model reviewer',
      'tsgpt train --arch t5 --data eng-fra.tsv --vocab-size 2000 --model translator --epochs 20',
      'cat *.txt | tsgpt train --data - --epochs 1 --dry-run',
    ],
  },
  merge: {
    summary: 'Adds adapters (LoRA) to the model that they belong to and writes that as a model of its own.',
    flags: mergeFlags,
    notes: `The other commands use a folder of adapters as it is, as long as the model they belong to stays where it was. PEFT
reads such folders, and those that it writes are read here.`,
    examples: ['tsgpt merge --model gpt2-lora --out gpt2-shakespeare'],
  },
  generate: {
    summary: 'Continues a prompt with a trained model.',
    flags: generateFlags,
    notes: `The text goes to standard output as it is made; several texts (--prompts, --sequences) when they are whole, in the
order of their prompts, with --json an object a line.`,
    examples: [
      'tsgpt generate --model shakespeare --prompt "ROMEO:" --max-tokens 300',
      'tsgpt generate --model shakespeare --prompts prompts.txt --beams 4 --json',
      'tsgpt generate --model shakespeare --temperature 0 --json',
      'tsgpt generate --model shakespeare --interactive',
    ],
  },
  chat: {
    summary: 'Talks with a model whose tokenizer has a chat template.',
    flags: chatFlags,
    notes: `Each line is a message; /help lists the commands. Ctrl-C stops an answer, at the prompt the program. The oldest
messages are left out when the conversation grows beyond the model's context.`,
    examples: [
      'tsgpt chat --model Qwen2-0.5B-Instruct',
      'tsgpt chat --model smollm --system "Answer briefly."',
    ],
  },
  eval: {
    summary: 'Measures a model on data: perplexity, or what its task is judged by.',
    flags: evalFlags,
    notes: `Every token but the first is predicted once, from the tokens before it in its window. Bits per byte compare
models with different tokenizers. Other models are judged by their task: a BERT by the hidden tokens of a text that it
finds (with --pseudo by its pseudo-perplexity: every token is hidden once), one that was trained on labels by accuracy
and F1 on a table, a T5 by BLEU (as sacreBLEU's: 13a, exponential smoothing) and ROUGE of what it writes for a table's
first texts.`,
    examples: [
      'tsgpt eval --model shakespeare --data test.txt',
      'tsgpt eval --model reviewer --data test.tsv --json',
      'tsgpt eval --model gpt2 --data wikitext.txt --stride 512 --json',
    ],
  },
  classify: {
    summary: 'Tells the classes of texts with a BERT that was trained on labels.',
    flags: classifyFlags,
    notes: `Prints the likeliest class, its probability and the text, with --json an object a line with all probabilities.`,
    examples: [
      'tsgpt classify --model reviewer --text "Not worth the money."',
      'tsgpt classify --model reviewer --data texts.txt --json',
    ],
  },
  'fill-mask': {
    summary: 'Says which words fit into the gaps of a text.',
    flags: fillMaskFlags,
    notes: `A gap is the tokenizer's mask token; [MASK] and <mask> are both understood.`,
    examples: ['tsgpt fill-mask --model bookbert --text "The capital of France is [MASK]."'],
  },
  visualize: {
    summary: 'Draws the metrics of one or more runs on an HTML page.',
    flags: visualizeFlags,
    notes: `The page needs no network. Every run writes metrics.jsonl into its folder; a run that still trains can be drawn too.`,
    examples: [
      'tsgpt visualize shakespeare',
      'tsgpt visualize runs/* --out runs.html --title "learning rates"',
    ],
  },
  embed: {
    summary: 'Makes a vector of each text, for search and comparison.',
    flags: embedFlags,
    notes: `Each line of standard output is an object with a text and its embedding, in the order of the texts. The dot product
of two vectors of length 1 is their cosine.`,
    examples: [
      'tsgpt embed --model all-MiniLM-L6-v2 --text "A cat sat."',
      'tsgpt embed --model all-MiniLM-L6-v2 --data sentences.txt --truncate',
    ],
  },
  info: {
    summary: 'Shows version, instruction set, threads, backends and memory.',
    flags: infoFlags,
    notes: '',
    examples: [
      'tsgpt info',
      'TSGPT_GEMM=openblas tsgpt info --json',
      'tsgpt info --model model.gguf --check',
    ],
  },
  tokenize: tokenizeCommand,
  ...tokenizerCommands,
} satisfies Record<string, CommandHelp>;

export type CommandName = keyof typeof commands;

/** `tsgpt --help`. */
export function overview(version: string): string {
  const names = Object.entries(commands).map(([name, command]) => `  ${name.padEnd(16)} ${command.summary}`);
  return `tsgpt ${version}: train a GPT and generate text with it.

Usage: tsgpt COMMAND [flags]

Commands:
${names.join('\n')}

tsgpt COMMAND --help shows a command's flags and examples; tsgpt --version the version.
Exit codes: 0 done, 1 failed, 2 wrong command line, 130 stopped with Ctrl-C, 143 with SIGTERM, 129 terminal closed.
TSGPT_DEBUG=1 adds stack traces to errors.
`;
}

/** `tsgpt COMMAND --help`. */
export function commandHelp(name: CommandName): string {
  const { summary, flags, notes, examples }: CommandHelp = commands[name];
  const operand = Object.keys(flags).find((flag) => flags[flag].operand);
  const parts = [
    `Usage: tsgpt ${name} ${operand === undefined ? '' : `${operand} `}[flags]\n\n${summary}`,
    describeFlags(flags).trimEnd(),
    `\nExamples:\n${examples.map((line) => `  ${line}`).join('\n')}`,
    notes && `\n${notes}`,
  ];
  return `${parts.filter(Boolean).join('\n')}\n`;
}
