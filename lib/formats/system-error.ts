/**
 * What the operating system says about a file, in words. Every failed file operation becomes a FileError
 * here.
 */

import { FileError } from '../errors.js';

const reasons: Readonly<Record<string, string>> = {
  EACCES: 'permission denied',
  EBUSY: 'it is in use by another program',
  EDQUOT: 'the disk quota is used up',
  EFAULT: 'a part of the mapped file that it is copied from is gone',
  EFBIG: 'it would be larger than the file system allows',
  EIO: 'the disk reports an error',
  EISDIR: 'it is a folder',
  ELOOP: 'too many symbolic links',
  EMFILE: 'too many files are open',
  ENAMETOOLONG: 'the name is too long',
  ENOENT: 'there is no such file or folder',
  ENOSPC: 'no space is left on the device',
  ENOTDIR: 'a part of the path is not a folder',
  EPERM: 'the operation is not permitted',
  EROFS: 'the file system is read-only',
};

/** The code of a system error (`ENOENT`), or an empty string. */
export function systemCode(error: unknown): string {
  // `syscall` tells the system's errors from Node's and this package's, which have codes too.
  if (!(error instanceof Error) || !('syscall' in error)) return '';
  return (error as NodeJS.ErrnoException).code ?? '';
}

/** The FileError for an operation that failed: `weights.bin: cannot be read: permission denied`. */
export function fileError(path: string, what: string, error: unknown): FileError {
  if (error instanceof FileError) return error;
  const reason = reasons[systemCode(error)] ?? (error instanceof Error ? error.message : String(error));
  return new FileError(path, `${what}: ${reason}`, { cause: error });
}
