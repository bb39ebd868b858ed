/**
 * Tensors as text, by PyTorch's rules (torch/_tensor_str.py): four digits after the point; whole numbers as `1.`;
 * scientific notation for all elements when they span more than three decades or leave [1e-4, 1e8]; columns aligned;
 * lines of 80 characters; above 1,000 elements only the first and last three along each dimension. Unlike there,
 * int32 is a default dtype beside float32 and bool, and words are JavaScript's (`true`, `requiresGrad=true`).
 */

import { isFloating, isHalf, type DType } from './dtype.js';
import { decodeHalf } from './half.js';
import { formatShape } from './shape.js';
import type { Tensor } from './tensor.js';

const precision = 4;
const threshold = 1000;
const edgeItems = 3;
const lineWidth = 80;

/** Text of a tensor: values, shape by brackets, then dtype and gradient state where they are not the default. */
export function formatTensor(t: Tensor): string {
  const prefix = 'tensor(';
  const body = t.size === 0 ? '[]' : formatValues(t, prefix.length);
  const suffixes: string[] = [];
  if (t.size === 0 && t.rank !== 1) suffixes.push(`size=${formatShape(t.shape)}`);
  if (t.dtype !== 'float32' && (t.size === 0 || (t.dtype !== 'int32' && t.dtype !== 'bool'))) {
    suffixes.push(`dtype=${t.dtype}`);
  }
  if (t.node !== null) suffixes.push(`gradFn=<${t.node.name}>`);
  else if (t.requiresGrad) suffixes.push('requiresGrad=true');
  return addSuffixes(prefix + body, suffixes, prefix.length);
}

function addSuffixes(body: string, suffixes: readonly string[], indent: number): string {
  let text = body;
  let last = body.length - body.lastIndexOf('\n') + 1;
  for (const suffix of suffixes) {
    if (last + suffix.length + 2 > lineWidth) {
      text += `,\n${' '.repeat(indent)}${suffix}`;
      last = indent + suffix.length;
    } else {
      text += `, ${suffix}`;
      last += suffix.length + 2;
    }
  }
  return `${text})`;
}

function formatValues(t: Tensor, indent: number): string {
  const summarize = t.size > threshold;
  const { memory, shape, strides } = t;
  const decode = isHalf(t.dtype) ? decodeHalf(t.dtype) : (value: number) => value;

  /** Calls `visit` for the indices shown along `dim`, and `skip` where some are left out. */
  const along = (dim: number, visit: (i: number) => void, skip?: () => void): void => {
    const n = shape[dim];
    const cut = summarize && n > 2 * edgeItems;
    for (let i = 0; i < n; i++) {
      if (cut && i === edgeItems) {
        skip?.();
        i = n - edgeItems;
      }
      visit(i);
    }
  };

  const shown: number[] = [];
  const collect = (dim: number, at: number): void => {
    if (dim === shape.length) shown.push(decode(memory[at]));
    else along(dim, (i) => collect(dim + 1, at + i * strides[dim]));
  };
  collect(0, t.offset);
  const { format, width } = elementFormat(shown, t.dtype);

  const build = (dim: number, at: number, margin: number): string => {
    if (dim === shape.length) return format(decode(memory[at]));
    const items: string[] = [];
    const vector = dim === shape.length - 1;
    along(
      dim,
      (i) => items.push(build(dim + 1, at + i * strides[dim], margin + 1)),
      () => items.push(vector ? ' ...' : '...'),
    );
    const space = ' '.repeat(margin + 1);
    if (!vector) return `[${items.join(`,${'\n'.repeat(shape.length - dim - 1)}${space}`)}]`;
    const perLine = Math.max(1, Math.floor((lineWidth - margin) / (width + 2)));
    const lines: string[] = [];
    for (let i = 0; i < items.length; i += perLine) lines.push(items.slice(i, i + perLine).join(', '));
    return `[${lines.join(`,\n${space}`)}]`;
  };
  return build(0, t.offset, indent);
}

/** How the elements of a tensor are written, decided from those that are shown. */
function elementFormat(
  values: readonly number[],
  dtype: DType,
): { format: (x: number) => string; width: number } {
  const write = elementWriter(values, dtype);
  let width = 1;
  // As in PyTorch, floating zeros and non-finite values do not widen the columns.
  for (const x of values) {
    if (!isFloating(dtype) || (Number.isFinite(x) && x !== 0)) width = Math.max(width, write(x).length);
  }
  return { format: (x) => write(x).padStart(width), width };
}

function elementWriter(values: readonly number[], dtype: DType): (x: number) => string {
  if (dtype === 'bool') return (x) => (x !== 0 ? 'true' : 'false');
  if (!isFloating(dtype)) return String;
  let whole = true;
  let least = Infinity;
  let greatest = 0;
  for (const x of values) {
    if (!Number.isFinite(x) || x === 0) continue;
    whole &&= Number.isInteger(x);
    least = Math.min(least, Math.abs(x));
    greatest = Math.max(greatest, Math.abs(x));
  }
  const scientific = greatest > 0 && (greatest / least > 1000 || greatest > 1e8 || least < 1e-4);
  return (x) => {
    if (Number.isNaN(x)) return 'nan';
    if (!Number.isFinite(x)) return x > 0 ? 'inf' : '-inf';
    const sign = x < 0 || Object.is(x, -0) ? '-' : '';
    const size = Math.abs(x);
    if (scientific) return sign + scientificText(size);
    return sign + (whole ? `${size}.` : roundHalfEven(size.toFixed(precision), size.toFixed(40)));
  };
}

/** `1.2346e-05`: the exponent has at least two digits. */
function scientificText(x: number): string {
  const [short, exponent] = x.toExponential(precision).split('e');
  const [exact, exactExponent] = x.toExponential(40).split('e');
  const mantissa = exponent === exactExponent ? roundHalfEven(short, exact) : short;
  return `${mantissa}e${exponent[0]}${exponent.slice(1).padStart(2, '0')}`;
}

/** JavaScript rounds exact ties away from zero, C and Python to even. `exact` has more digits than `rounded`. */
function roundHalfEven(rounded: string, exact: string): string {
  const cut = exact.indexOf('.') + 1 + precision;
  const even = Number(exact[cut - 1]) % 2 === 0;
  return even && /^50*$/.test(exact.slice(cut)) ? exact.slice(0, cut) : rounded;
}
