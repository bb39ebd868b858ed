/** `tsgpt info`: what runs here, and what decides how fast; or what a model is. */

import { availableParallelism, freemem, totalmem } from 'node:os';

import { nativeInfo } from '../../lib/index.js';
import { UsageError } from './args.js';
import type { InfoValues } from './commands.js';
import { formatBytes } from './format.js';
import { describeModel, modelRows } from './model-info.js';

/** Prints the report and answers the exit code. */
export function info(values: InfoValues, version: string): number {
  if (values.check && values.model === undefined) throw new UsageError('--check needs --model');
  if (values.model !== undefined) {
    const report = describeModel(values.model, values.check);
    process.stdout.write(values.json ? `${JSON.stringify(report)}\n` : table(modelRows(report)));
    return (report.not_finite?.length ?? 0) > 0 ? 1 : 0;
  }
  const report = describe(version);
  process.stdout.write(values.json ? `${JSON.stringify(report)}\n` : table(machineRows(report)));
  return 0;
}

function describe(version: string) {
  const native = nativeInfo();
  return {
    version,
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
    cpu: native.cpu,
    cores: availableParallelism(),
    threads: native.threads,
    instruction_set: native.isa,
    available_instruction_sets: native.availableIsas.split(','),
    bf16_dot: native.bf16Dot,
    gemm: native.gemm,
    /** The core that OpenBLAS picked its kernels for; null when it is not in use. */
    openblas_core: native.openblasCore || null,
    openblas_config: native.openblasConfig || null,
    total_memory_bytes: totalmem(),
    free_memory_bytes: freemem(),
  };
}

function machineRows(report: ReturnType<typeof describe>): Record<string, string> {
  const products =
    report.gemm === 'openblas'
      ? `openblas with its ${report.openblas_core} kernels (${report.openblas_config})`
      : 'embedded kernels (TSGPT_GEMM=openblas uses OpenBLAS)';
  return {
    tsgpt: report.version,
    node: `${report.node}, ${report.platform}`,
    cpu: `${report.cpu}, ${report.cores} cores`,
    'instruction set': `${report.instruction_set} of ${report.available_instruction_sets.join(', ')} (TSGPT_ISA forces one)`,
    threads: `${report.threads} (TSGPT_THREADS or --threads changes it)`,
    'matrix products': products,
    bfloat16: bfloat16Way(report),
    memory: `${formatBytes(report.free_memory_bytes)} free of ${formatBytes(report.total_memory_bytes)}`,
  };
}

function bfloat16Way({ instruction_set, bf16_dot }: ReturnType<typeof describe>): string {
  if (instruction_set === 'amx') return "multiplied in the processor's AMX tiles";
  if (bf16_dot) return "multiplied by the processor's dot product instruction";
  return 'converted to float32 and multiplied as such';
}

function table(rows: Readonly<Record<string, string>>): string {
  return Object.entries(rows)
    .map(([name, value]) => `${name.padEnd(16)} ${value}\n`)
    .join('');
}
