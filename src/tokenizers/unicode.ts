/** Classes of characters as the reference implementations (Rust, in places of an older Unicode) draw them. */

/** White space of Unicode: JavaScript's `\s` and `trim` also take U+FEFF and leave out U+0085. */
export function isWhitespace(unit: number): boolean {
  if (unit <= 0x20) return unit === 0x20 || (unit >= 9 && unit <= 13);
  if (unit < 0x80) return false;
  return (
    unit === 0x85 ||
    unit === 0xa0 ||
    unit === 0x1680 ||
    (unit >= 0x2000 && unit <= 0x200a) ||
    unit === 0x2028 ||
    unit === 0x2029 ||
    unit === 0x202f ||
    unit === 0x205f ||
    unit === 0x3000
  );
}

/** Where the white space ends that begins at `from`. */
export function afterWhitespace(text: string, from: number): number {
  let at = from;
  while (at < text.length && isWhitespace(text.charCodeAt(at))) at++;
  return at;
}

/** Where the white space begins that ends at `to`. */
export function beforeWhitespace(text: string, to: number): number {
  let at = to;
  while (at > 0 && isWhitespace(text.charCodeAt(at - 1))) at--;
  return at;
}

/** Letters, marks, digits, connectors and joiners: Rust's `\w`. */
export const wordClass = '\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}';

const wordCharacter = new RegExp(`^[${wordClass}]$`, 'u');

export const isWord = (character: string): boolean => wordCharacter.test(character);

/** ASCII characters that print and are no letters or digits, and Unicode's punctuation. */
export const punctuationClass = '!-\\/:-@\\[-`\\{-~\\p{P}';

/** Ideographs, which BERT takes for words of their own. */
export const ideographClass =
  '\\u4e00-\\u9fff\\u3400-\\u4dbf\\u{20000}-\\u{2a6df}\\u{2a700}-\\u{2b73f}\\u{2b740}-\\u{2b81f}' +
  '\\u{2b820}-\\u{2ceaf}\\uf900-\\ufaff\\u{2f800}-\\u{2fa1f}';
