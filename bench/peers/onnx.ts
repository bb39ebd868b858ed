/**
 * Just enough of ONNX to write a model of one node: the fields of its protobuf schema (onnx/onnx.proto) that such a
 * model needs, by their numbers.
 */

/** A field of a message: its number, and a whole number, a text, or another message's bytes. */
type Field = readonly [number: number, value: number | string | Buffer];

/** Variable-length integer: seven bits a byte, the lowest first. */
function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...bytes, rest]);
    bytes.push((rest % 128) + 128);
  }
}

function message(...fields: readonly Field[]): Buffer {
  return Buffer.concat(
    fields.flatMap(([number, value]) => {
      if (typeof value === 'number') return [varint(number * 8), varint(value)];
      const bytes = typeof value === 'string' ? Buffer.from(value) : value;
      return [varint(number * 8 + 2), varint(bytes.length), bytes];
    }),
  );
}

const float = 1; // TensorProto.DataType
const int = 2; // AttributeProto.AttributeType

function valueInfo(name: string, shape: readonly number[]): Buffer {
  const dims = message(...shape.map((size): Field => [1, message([1, size])]));
  return message([1, name], [2, message([1, message([1, float], [2, dims])])]);
}

/** The shapes of Y = A B, and which of A and B are stored transposed. */
export interface Product {
  readonly a: readonly number[];
  readonly b: readonly number[];
  readonly y: readonly number[];
  readonly transposeA: boolean;
  readonly transposeB: boolean;
}

/** The bytes of a model that computes Y from A and B by one node, Gemm. */
export function productModel({ a, b, y, transposeA, transposeB }: Product): Uint8Array {
  const flag = (name: string, on: boolean): Field => [5, message([1, name], [3, on ? 1 : 0], [20, int])];
  const node = message(
    [1, 'A'],
    [1, 'B'],
    [2, 'Y'],
    [4, 'Gemm'],
    flag('transA', transposeA),
    flag('transB', transposeB),
  );
  const graph = message(
    [1, node],
    [2, 'product'],
    [11, valueInfo('A', a)],
    [11, valueInfo('B', b)],
    [12, valueInfo('Y', y)],
  );
  return message([1, 8], [8, message([2, 13])], [7, graph]); // IR version 8, operators of version 13
}
