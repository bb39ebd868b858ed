import { defineConfig } from 'vitest/config';

// Tests import the TypeScript sources, so `npm test` needs the addon but no compiled dist. Each file runs in its own
// process (forks): the addon's thread pool and kernel table belong to a process.
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
