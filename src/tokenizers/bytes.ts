/**
 * Bytes and the characters that stand for them. Byte-level BPE (GPT-2) writes each byte as one printable character, so
 * that a vocabulary of byte strings can be a JSON file: bytes that print stand for themselves, the other 68 become
 * U+0100 and up in order. SentencePiece writes a byte as the token `<0x0A>`.
 */

/** The character of each byte: `byteCharacters[0x20]` is 'Ġ'. */
export const byteCharacters: readonly string[] = Array.from({ length: 256 }, (_, byte) => {
  if (isPrintable(byte)) return String.fromCharCode(byte);
  let others = 0;
  for (let lower = 0; lower < byte; lower++) if (!isPrintable(lower)) others++;
  return String.fromCharCode(256 + others);
});

/** The byte of each character below U+0144 that stands for one, -1 for the others. */
const bytesOfCharacters = new Int16Array(324).fill(-1);
byteCharacters.forEach((character, byte) => (bytesOfCharacters[character.charCodeAt(0)] = byte));

function isPrintable(byte: number): boolean {
  return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

/**
 * Writes the bytes that a token of a byte-level vocabulary stands for.
 * @returns The position after them, or -1 if a character of the token stands for none.
 */
export function writeBytesOfToken(token: string, bytes: Uint8Array, at: number): number {
  for (let unit = 0; unit < token.length; unit++) {
    const code = token.charCodeAt(unit);
    const byte = code < bytesOfCharacters.length ? bytesOfCharacters[code] : -1;
    if (byte < 0) return -1;
    bytes[at++] = byte;
  }
  return at;
}

/** The token of a byte-level vocabulary for bytes. */
export function tokenOfBytes(bytes: Uint8Array, length = bytes.length): string {
  let token = '';
  for (let at = 0; at < length; at++) token += byteCharacters[bytes[at]];
  return token;
}

/** `<0x0A>` for 10: how SentencePiece vocabularies name bytes. */
export const byteToken = (byte: number): string => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`;

/** The byte that a token `<0x0A>` names, or -1. */
export function byteOfToken(token: string): number {
  return /^<0x[0-9A-Fa-f]{2}>$/.test(token) ? Number.parseInt(token.slice(3, 5), 16) : -1;
}

const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** The text of bytes; each maximal part of them that is no UTF-8 becomes U+FFFD. */
export const textOfBytes = (bytes: Uint8Array): string => decoder.decode(bytes);

/**
 * Writes a text as UTF-8; half surrogate pairs become U+FFFD.
 * @param bytes Has room for three bytes a unit.
 * @returns The number of bytes written.
 */
export function writeUtf8(text: string, bytes: Uint8Array): number {
  let count = 0;
  for (let at = 0; at < text.length; at++) {
    let code = text.charCodeAt(at);
    if (code < 0x80) {
      bytes[count++] = code;
      continue;
    }
    if (code < 0x800) {
      bytes[count++] = 0xc0 | (code >> 6);
      bytes[count++] = 0x80 | (code & 63);
      continue;
    }
    if ((code & 0xf800) === 0xd800) {
      code = text.codePointAt(at)!;
      if (code >= 0x10000) {
        at++;
        bytes[count++] = 0xf0 | (code >> 18);
        bytes[count++] = 0x80 | ((code >> 12) & 63);
        bytes[count++] = 0x80 | ((code >> 6) & 63);
        bytes[count++] = 0x80 | (code & 63);
        continue;
      }
      code = 0xfffd;
    }
    bytes[count++] = 0xe0 | (code >> 12);
    bytes[count++] = 0x80 | ((code >> 6) & 63);
    bytes[count++] = 0x80 | (code & 63);
  }
  return count;
}

/** Bytes of the character at a position as UTF-8. */
export function utf8Length(code: number): number {
  if (code < 0x80) return 1;
  if (code < 0x800) return 2;
  return code < 0x10000 ? 3 : 4;
}
