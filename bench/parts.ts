/** What `npm run bench` measures: for each part its programs, its tasks, and how closely the contenders must agree. */

import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

import { bertBase, miniLM, presets, t5Small, type PresetName } from './models/presets.js';
import { root, type PackageName } from './contenders.js';
import type { CharTask } from './models/char-train.js';
import type { GemmCase, GemmTask, GemmType } from './ops/gemm.js';

/** Sizes of a run. */
export interface Scale {
  readonly quick: boolean;
  /** The text of the character model. */
  readonly text: string;
  /** A folder for what the programs write. */
  readonly folder: string;
}

/** A task that both sides get as JSON. */
export interface Task {
  readonly name: string;
  /** The greatest `error` that passes; 1e-5 where this is missing. */
  readonly maxError?: number;
  /** How far `values` may differ, where it is not what the part says. */
  readonly tolerance?: number;
  /** The precision of weights or products; float32 where this is missing. */
  readonly dtype?: GemmType;
  readonly [field: string]: unknown;
}

export interface Part {
  readonly title: string;
  /** Our program below dist/bench, without its ending. */
  readonly program: string;
  /** PyTorch's program in bench/peers. */
  readonly peer?: string;
  /** Packages of npm that compete too. */
  readonly packages?: readonly PackageName[];
  readonly rounds: number;
  /** How far `values` may differ; Infinity where both start from other random numbers. */
  readonly tolerance: number;
  /** OpenBLAS below the same program competes too. */
  readonly openblas?: boolean;
  /** Both sides start from the same weights: a saved model of the task's `config`. */
  readonly sameWeights?: boolean;
  /** PyTorch's program can compile the model, unless a task says `compilable: false`. */
  readonly compilable?: boolean;
  /** What counts is the greatest resident set, not the time. */
  readonly memory?: boolean;
  /** The cases are steps on the way to the last; the first ones are those of bench/ladder.cpp. */
  readonly ladder?: boolean;
  /** Times are given in microseconds instead of milliseconds. */
  readonly microseconds?: boolean;
  tasks(scale: Scale): Task[];
}

/** A unit in the last place of a half type; rounding a result costs half of it, and its sums, in float32, far less. */
const precision: Record<GemmType, number> = { float32: 1e-5, bfloat16: 2 ** -7, float16: 2 ** -10 };

const gemmCases = (quick: boolean, dtype: GemmType): GemmCase[] => {
  const bytes = dtype === 'float32' ? 4 : 2;
  const square = (n: number): GemmCase => ({ name: `${dtype} ${n} cubed`, kind: 'square', m: n, n, k: n });
  const layer = (kind: GemmCase['kind'], m: number, n: number, k: number): GemmCase => ({
    name: `${dtype} ${kind} ${m} x ${n} x ${k}`,
    kind,
    m,
    n,
    k,
  });
  const kept = (m: number, n: number, k: number): GemmCase => {
    const plain = layer('linear', m, n, k);
    return { ...plain, name: `${plain.name}, B kept packed`, kept: true };
  };
  const fromMemory = (n: number, k: number): GemmCase => ({
    ...layer('linear', 1, n, k),
    name: `${dtype} 1 x ${n} x ${k} from memory`,
    copies: Math.max(2, Math.ceil(2 ** 29 / (bytes * n * k))),
  });
  const sizes = [[768, 768], [2304, 768], [3072, 768], [768, 3072], [50257, 768]]; // prettier-ignore
  if (quick) return [square(256), square(1024), layer('linear', 256, 3072, 768), fromMemory(3072, 768)];
  return [
    ...[128, 256, 512, 1024, 2048].map(square),
    ...[8, 32].map((m) => layer('linear', m, 768, 768)), // few rows: B is streamed, not packed
    ...[256, 1024].flatMap((m) => sizes.map(([n, k]) => layer('linear', m, n, k))),
    ...[[768, 512, 128], [2048, 1536, 384], [1024, 3072, 768]].flatMap(([rows, n, k]) => [
      layer('dx', rows, k, n),
      layer('dw', n, k, rows),
    ]), // prettier-ignore
    ...[[32, 768], [256, 3072], [1024, 3072]].map(([m, n]) => kept(m, n, 768)), // prettier-ignore
    ...sizes.map(([n, k]) => fromMemory(n, k)),
  ];
};

/** Recorded data beside the checkout. */
const sharedData = join(root, '../shared/data');

/** Text files of so many bytes in all: those that are there, repeated. */
function corpusOf(text: string, bytes: number): string[] {
  const folder = join(sharedData, 'text');
  const more = existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : [];
  const corpus: string[] = [];
  const files = more.length > 0 ? more : [text];
  for (let i = 0, sum = 0; sum < bytes; i++) {
    const file = files[i % files.length];
    corpus.push(file);
    sum += statSync(file).size;
  }
  return corpus;
}

const trainTask = (name: PresetName, seconds: number, steps: number): Task => ({
  ...presets[name],
  name: `model ${name}`,
  seconds,
  steps,
});

/** Model A learns the letters of a text; from the same seed, with the same steps. */
function charTask({ quick, text, folder }: Scale, name: string, steps: number): CharTask {
  const { batch, time, lr, config } = presets.A;
  return {
    name,
    text,
    folder,
    config,
    batch,
    time,
    lr,
    minLr: 1e-4,
    steps: quick ? 100 : steps,
    warmup: quick ? 10 : 100,
    seed: 1337,
  };
}

/** Flags of `tsgpt train`, one switch at a time and the combination that is a Llama. */
const switches: string[][] = [
  [],
  ['--use-rope'],
  ['--use-swiglu'],
  ['--use-rmsnorm'],
  ['--kv-heads', '1'],
  ['--no-bias'],
  ['--untied'],
  ['--window', '16'],
  ['--use-explicit-mask'],
  ['--use-rope', '--use-swiglu', '--use-rmsnorm', '--no-bias', '--untied'],
];

/** Layers in bfloat16: losses then agree to its three digits only. */
const inBfloat16 = (task: Task): Task => ({
  ...task,
  name: `${task.name}, bfloat16`,
  dtype: 'bfloat16',
  tolerance: 0.1,
});

export const parts = {
  gemm: {
    title: 'Matrix products (m x n x k)',
    program: 'ops/gemm',
    peer: 'gemm.py',
    rounds: 5,
    tolerance: 0,
    openblas: true,
    packages: ['onnxruntime'],
    tasks: ({ quick }) =>
      (['float32', 'bfloat16', 'float16'] as const).map((dtype) => {
        const task: GemmTask = { dtype, cases: gemmCases(quick, dtype), samples: quick ? 3 : 9 };
        return { ...task, name: dtype, maxError: precision[dtype] };
      }),
  },
  attention: {
    title: 'Causal attention, float32 (B 1, H 12, D 64)',
    program: 'ops/attention',
    peer: 'attention.py',
    rounds: 5,
    tolerance: 0,
    tasks: ({ quick }) => [
      { name: 'attention', lengths: quick ? [128, 512] : [128, 512, 1024, 4096], samples: quick ? 3 : 9 },
    ],
  },
  ops: {
    title: 'Operations between the products, float32',
    program: 'ops/layers',
    peer: 'layers.py',
    rounds: 5,
    tolerance: 0,
    tasks: ({ quick }) => [{ name: 'layers', rows: quick ? 256 : 1024, samples: quick ? 3 : 9 }],
  },
  overhead: {
    title: 'Operations on tiny tensors, each in a scope of its own, and the import of the package',
    program: 'ops/overhead',
    peer: 'overhead.py',
    rounds: 5,
    tolerance: 0,
    microseconds: true,
    tasks: ({ quick }) => [{ name: 'overhead', samples: quick ? 3 : 25, starts: quick ? 5 : 25 }],
  },
  ladder: {
    title: 'From a triple loop to tsgpt: float32 512 cubed',
    program: 'ops/ladder',
    rounds: 5,
    tolerance: 0,
    ladder: true,
    tasks: ({ quick }) => [{ name: 'ladder', samples: quick ? 3 : 9 }],
  },
  tokenizers: {
    title: "Tokenizers: GPT-2's byte-level BPE on tiny Shakespeare, and training of BPE",
    program: 'ops/tokenizers',
    packages: ['gptTokenizer', 'tiktoken', 'huggingfaceTokenizers'],
    rounds: 5,
    tolerance: 0,
    tasks({ quick, text }) {
      const samples = quick ? 3 : 9;
      const corpus = corpusOf(text, quick ? 2e6 : 10e6);
      const train = { name: 'train', corpus, vocabSize: quick ? 8000 : 32_000, samples: quick ? 1 : 3 };
      const folder = process.env.TSGPT_GPT2 ?? join(sharedData, 'tokenizers/gpt2');
      // Without GPT-2's tokenizer there is only the training; docs/benchmarking.md says how to name it.
      return existsSync(join(folder, 'tokenizer.json'))
        ? [{ name: 'encode', folder, text, samples }, train]
        : [train];
    },
  },
  train: {
    title: 'Training step (forward, backward, clipping, AdamW)',
    program: 'models/train-step',
    peer: 'train_step.py',
    rounds: 5,
    tolerance: 1e-4,
    sameWeights: true,
    compilable: true,
    tasks: ({ quick }) =>
      quick
        ? [trainTask('A', 1, 5), trainTask('C', 0, 1)]
        : [
            ...(['A', 'B', 'C', 'D'] as const).map((name) => trainTask(name, 5, 5)),
            ...(['B', 'C', 'D'] as const).map((name) => inBfloat16(trainTask(name, 5, 5))),
          ],
  },
  recompute: {
    title: "Recomputation: GPT-2 124M at B 4, T 1024; the error is that of the dry run's memory",
    program: 'models/train-step',
    rounds: 1,
    tolerance: Infinity,
    tasks: ({ quick }) =>
      (quick ? (['off', 'every:1'] as const) : (['off', 'selective', 'every:2', 'every:1'] as const)).map(
        (recompute) => ({
          ...presets.C,
          ...(quick ? {} : { batch: 4, time: 1024 }),
          ...{ name: recompute, recompute, seconds: 0, steps: 1, maxError: 0.05 },
        }),
      ),
  },
  profile: {
    title: 'Where a training step goes, by kernel',
    program: 'models/profile',
    rounds: 3,
    tolerance: Infinity,
    tasks: ({ quick }) =>
      quick
        ? [trainTask('A', 0, 2)]
        : [
            ...(['A', 'B', 'C', 'D'] as const).map((name) => trainTask(name, 0, name === 'A' ? 100 : 5)),
            ...(['B', 'D'] as const).map((name) => inBfloat16(trainTask(name, 0, 5))),
          ],
  },
  decode: {
    title: 'Inference, GPT-2 124M, batch 1',
    program: 'models/decode',
    peer: 'decode.py',
    packages: ['llama'],
    rounds: 5,
    tolerance: 1e-3,
    sameWeights: true,
    tasks({ quick }) {
      const task = {
        config: presets.C.config,
        prompt: quick ? 128 : 512,
        new: quick ? 16 : 128,
        prefills: quick ? 1 : 5,
      };
      return [{ ...task, name: 'float32' }, inBfloat16({ ...task, name: 'weights' })];
    },
  },
  encoder: {
    title: 'BERT-base, float32',
    program: 'models/encoder',
    peer: 'encoder.py',
    rounds: 5,
    tolerance: 1e-3,
    sameWeights: true,
    compilable: true,
    tasks({ quick }) {
      const config = quick ? miniLM : bertBase;
      const task = (name: string, time: number, train: boolean): Task => ({
        name: `${name}, 8 x ${time}`,
        config,
        batch: 8,
        time,
        train,
        lr: 1e-4,
        seconds: quick ? 0 : 5,
        steps: quick ? 1 : 5,
      });
      return [task('forward', 128, false), task('forward', 512, false), task('training step', 128, true)];
    },
  },
  t5: {
    title: 'T5-small, float32',
    program: 'models/seq2seq',
    peer: 'seq2seq.py',
    rounds: 5,
    tolerance: 2e-3,
    sameWeights: true,
    compilable: true,
    tasks({ quick }) {
      const task = { config: t5Small, source: 128, lr: 1e-4, seconds: quick ? 0 : 5, steps: quick ? 1 : 5 };
      const decode = { ...task, train: false, target: 64, compilable: false };
      return [
        { ...task, name: 'training step, 8 x (128 to 128)', batch: 8, target: 128, train: true },
        { ...decode, name: 'decode 64 after 128', batch: 1 },
        { ...decode, name: 'decode 64 after 128, batch 8', batch: 8 },
      ];
    },
  },
  embed: {
    title: 'Embeddings of 1,000 texts of 8 to 126 tokens, MiniLM (6 layers, 384 wide), float32',
    program: 'models/embed',
    peer: 'embed.py',
    rounds: 5,
    tolerance: 1e-4,
    sameWeights: true,
    tasks: ({ quick }) => [{ name: 'texts', config: miniLM, texts: quick ? 100 : 1000 }],
  },
  memory: {
    title: 'Greatest resident set of a training process (three steps and two more)',
    program: 'models/train-step',
    peer: 'train_step.py',
    rounds: 3,
    tolerance: Infinity,
    memory: true,
    tasks: ({ quick }) =>
      quick
        ? [trainTask('A', 0, 2)]
        : [
            ...(['A', 'B', 'C', 'D'] as const).map((name) => trainTask(name, 0, 2)),
            ...(['B', 'C', 'D'] as const).map((name) => ({
              ...inBfloat16(trainTask(name, 0, 2)),
              tolerance: Infinity,
            })),
          ],
  },
  char: {
    title: 'A character model to its loss, through `tsgpt train`',
    program: 'models/char-train',
    peer: 'char_train.py',
    rounds: 3,
    tolerance: 0,
    tasks: (scale) => [{ ...charTask(scale, 'model A, tiny Shakespeare', 2000) }],
  },
  switches: {
    title: "GPT's architecture switches, each with the same budget: model A on tiny Shakespeare",
    program: 'models/char-train',
    rounds: 1,
    tolerance: 0,
    tasks: (scale) =>
      switches.map((flags) => ({
        ...charTask(scale, flags.length > 0 ? flags.join(' ') : 'GPT-2', 1000),
        switches: flags,
      })),
  },
} satisfies Record<string, Part>;

export type PartName = keyof typeof parts;
