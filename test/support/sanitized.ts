/** Whether the addon under test was built with AddressSanitizer (`npm run test:sanitize`). */
export const sanitized = (process.env.ASAN_OPTIONS ?? '') !== '';
