/**
 * llama3's scaling of rotary frequencies out of a GGUF file. llama.cpp's conversion stores what each frequency is divided by
 * (the tensor rope_freqs.weight) and drops the numbers that it follows from; these are found again here, by computing the
 * factors of every published combination and taking the one that gives the file's.
 */

/** As in a config.json. */
export interface Llama3Scaling {
  readonly [key: string]: unknown;
  readonly rope_type: 'llama3';
  readonly factor: number;
  readonly low_freq_factor: number;
  readonly high_freq_factor: number;
  readonly original_max_position_embeddings: number;
}

/**
 * @param given The divisors, one for each pair of features.
 * @param size Features of a head.
 * @param theta Base of the frequencies.
 * @returns null when no combination gives them.
 */
export function llama3Scaling(given: readonly number[], size: number, theta: number): Llama3Scaling | null {
  // The slowest pairs are divided by the whole factor.
  const factor = Number(Math.max(...given).toPrecision(6));
  const lengths = Array.from({ length: 16 }, (_, i) => 2 ** (i + 5)); // Llama 3.1 to 3.3: 8,192
  for (const original of lengths) {
    const scaling: Llama3Scaling = {
      rope_type: 'llama3',
      factor,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: original,
    };
    const expected = divisors(scaling, size, theta);
    if (
      given.length === expected.length &&
      given.every((x, i) => Math.abs(x - expected[i]) <= 1e-4 * expected[i])
    ) {
      return scaling;
    }
  }
  return null;
}

/** What each frequency is divided by: 1 for short wavelengths, `factor` for long ones, smoothly in between. */
export function divisors(scaling: Llama3Scaling, size: number, theta: number): number[] {
  const { factor, low_freq_factor: low, high_freq_factor: high } = scaling;
  const original = scaling.original_max_position_embeddings;
  return Array.from({ length: size / 2 }, (_, i) => {
    const wavelength = 2 * Math.PI * theta ** ((2 * i) / size);
    if (wavelength < original / high) return 1;
    if (wavelength > original / low) return factor;
    const smooth = (original / wavelength - low) / (high - low);
    return 1 / ((1 - smooth) / factor + smooth);
  });
}
