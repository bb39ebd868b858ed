/** What a file is by how it begins: people hand one kind of model file to a reader of another, or a failed download. */

const pickle =
  'is a PyTorch pickle, which could run any code when it is loaded, so it is refused; convert it once with Python: ' +
  `python3 -c "import sys, torch, safetensors.torch as s; d = torch.load(sys.argv[1], weights_only=True); ` +
  `s.save_file({k: v.clone().contiguous() for k, v in d.items()}, sys.argv[2])" model.bin model.safetensors`;

/**
 * Why a file is not of the kind that was wanted, where its first bytes tell; else null.
 *
 * @param start Its first 64 bytes, or fewer.
 * @param wanted The kind that the reader reads.
 */
export function otherKind(start: Buffer, wanted: 'safetensors' | 'GGUF'): string | null {
  const text = start.toString('latin1');
  // Torch's zip archives, and the bare pickles (protocol 2 to 5) of its first years.
  if (text.startsWith('PK\x03\x04') && !text.includes('.npy')) return pickle;
  if (start[0] === 0x80 && start[1] >= 2 && start[1] <= 5) return pickle;
  if (text.startsWith('PK\x03\x04') || text.startsWith('\x93NUMPY')) {
    return `is a NumPy file, not a ${wanted} file; convert it with safetensors.numpy.save_file in Python`;
  }
  if (text.startsWith('GGUF') && wanted !== 'GGUF') return `is a GGUF file, not a ${wanted} file`;
  if (/^(ggml|lmgg|fmgg|tjgg|algg|GGML)/.test(text)) {
    return 'is of a kind older than GGUF (GGML, GGJT); convert the original model again with a current llama.cpp';
  }
  if (text.startsWith('version https://git-lfs')) {
    return "is a Git LFS pointer, not the file itself; fetch it with 'git lfs pull'";
  }
  if (/^\s*<(!doctype|html)/i.test(text)) return `is an HTML page, not a ${wanted} file; download it again`;
  if (wanted === 'GGUF' && start.length > 8 && text[8] === '{' && start.readBigUInt64LE() < 2n ** 32n) {
    return 'is a safetensors file, not a GGUF file';
  }
  return null;
}
