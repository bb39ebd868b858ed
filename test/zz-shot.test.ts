import { writeFileSync } from 'node:fs';
import { it } from 'vitest';
import { Browser, chromium } from './support/chromium.js';
it('shoots', async () => {
  await using b = await Browser.open(chromium!);
  for (const [name, url] of [['one', 'file:///tmp/runs-3e-3.html'], ['many', 'file:///tmp/runs.html']] as const)
    for (const theme of ['light', 'dark'] as const)
      for (const [size, w, h, m] of [['desktop', 1280, 1250, false], ['phone', 390, 844, true]] as const) {
        await b.look(w, h, theme, m);
        await b.goto(url);
        await new Promise((r) => setTimeout(r, 300));
        writeFileSync(`/tmp/shots/${name}-${theme}-${size}.png`, await b.screenshot(size === 'phone'));
      }
  console.log(b.complaints, b.requests);
});
