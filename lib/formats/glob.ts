/**
 * Glob patterns as shells have them: `*` and `?` within a name, `**` across folders, `[a-z]`, `[!a-z]`,
 * `{a,b}`. (Node has its own from version 22 on.)
 */

import { sep } from 'node:path';

/** Whether a path has a glob pattern's signs in it. */
export const isPattern = (path: string): boolean => /[*?[{]/.test(path);

/** A pattern cut into where to look and what to look for. */
export interface Pattern {
  /** The folder that all matches are in. */
  readonly folder: string;
  /** Whether a path relative to the folder matches. */
  readonly matches: (path: string) => boolean;
}

/**
 * Compiles a pattern.
 * @example
 * compilePattern('books/*.{txt,md}').matches('alice.txt'); // true
 */
export function compilePattern(pattern: string): Pattern {
  const parts = pattern.split(sep === '/' ? '/' : /[\\/]/);
  const fixed = parts.findIndex(isPattern);
  const folder = parts.slice(0, fixed).join('/') || (fixed > 0 ? '/' : '.');
  const regex = new RegExp(`^${toRegex(parts.slice(fixed).join('/'))}$`, 'u');
  return { folder, matches: (path) => regex.test(path.replaceAll(sep, '/')) };
}

function toRegex(pattern: string): string {
  // Signs, each with what it becomes; everything else stands for itself. An unclosed [ or { does, too.
  const signs = /\*\*\/|\*\*|\*|\?|\[[!^]?\]?[^\]]*\]|\{[^{}]*\}|[\s\S]/gu;
  return pattern.replace(signs, (sign) => {
    if (sign === '**/') return '(?:[^/]+/)*';
    if (sign === '**') return '.*';
    if (sign === '*') return '[^/]*';
    if (sign === '?') return '[^/]';
    if (sign.length > 1 && sign.startsWith('[')) return toClass(sign);
    if (sign.length > 1 && sign.startsWith('{'))
      return `(?:${sign.slice(1, -1).split(',').map(toRegex).join('|')})`;
    return escape(sign);
  });
}

/** `[a-z]` or `[!a-z]`. One that is none, such as `[z-a]`, stands for itself. */
function toClass(sign: string): string {
  const body = sign.slice(1, -1);
  const negated = body.startsWith('!') || body.startsWith('^');
  const members = (negated ? body.slice(1) : body).replace(/[\\\]^[]/g, '\\$&');
  const regex = negated ? `[^/${members}]` : `[${members}]`;
  try {
    new RegExp(regex, 'u');
    return regex;
  } catch {
    return escape(sign);
  }
}

const escape = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
