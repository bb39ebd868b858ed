/** The tensor library: `import { tensor, matmul, scope } from 'tsgpt/tensor'`. Methods of Tensor are attached here. */

import './methods.js';

export { autocast, type HalfType } from './autocast.js';
export { backward, enableGrad, isGradEnabled, noGrad, type BackwardOptions } from './autograd.js';
export type { DType, TypedArray } from './dtype.js';
export * from './errors.js';
export {
  openSafetensors,
  loadSafetensors,
  saveSafetensors,
  type SafetensorsFile,
  type SafetensorsInfo,
} from './formats/safetensors.js';
export { openGguf, type DequantizedDType, type GgufFile, type GgufInfo } from './formats/gguf.js';
export { writeFileAtomic } from './formats/atomic-file.js';
export type { NativeInfo } from './native-addon.js';
export * from './ops/attention.js';
export * from './ops/checkpoint.js';
export * from './ops/create.js';
export * from './ops/elementwise.js';
export * from './ops/in-place.js';
export * from './ops/indexing.js';
export * from './ops/loss.js';
export * from './ops/matmul.js';
export * from './ops/movement.js';
export * from './ops/norm.js';
export * from './ops/reduce.js';
export * from './ops/rotary.js';
export * from './ops/softmax.js';
export * from './ops/swiglu.js';
export { getPackedWeights, setPackedWeightsLimit, type PackedWeights } from './packed-weights.js';
export { launchedProcess, ProcessGroup, type LaunchedProcess } from './process-group.js';
export { defaultGenerator, Generator, manualSeed, type StreamState } from './random.js';
export { formatShape, sameShape, type Shape } from './shape.js';
export { emptyPool, memory, resetPeakMemory, type MemoryStats } from './storage.js';
export { scope, Tensor, type NestedArray } from './tensor.js';
export { getThreads, nativeInfo, setThreads } from './threads.js';
