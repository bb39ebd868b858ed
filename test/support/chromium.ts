/**
 * A headless Chromium, driven by the DevTools protocol over two pipes: no library, no port. Found as `TSGPT_CHROMIUM` or
 * under its usual names on PATH.
 */

import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';

import { sanitized } from './sanitized.js';

const names = [
  process.env.TSGPT_CHROMIUM,
  'chromium',
  'chromium-browser',
  'google-chrome',
  'google-chrome-stable',
];

/** The browser's command; undefined where there is none, and under sanitizers, which the browser does not start with. */
export const chromium = sanitized
  ? undefined
  : names.find(
      (name) => name !== undefined && spawnSync(name, ['--version'], { timeout: 20_000 }).status === 0,
    );

interface Reply {
  readonly id?: number;
  readonly method?: string;
  readonly params?: any;
  readonly result?: any;
  readonly error?: { readonly message: string };
}

/** The browser with one page. */
export class Browser implements AsyncDisposable {
  /** What the page complained about: errors, warnings, refused requests. */
  readonly complaints: string[] = [];
  /** Addresses of everything that was loaded. */
  readonly requests: string[] = [];
  readonly #child: ChildProcess;
  readonly #profile: string;
  readonly #waiting = new Map<number, (reply: Reply) => void>();
  readonly #events = new Map<string, () => void>();
  #session: string | undefined;
  #count = 0;

  private constructor(command: string) {
    this.#profile = mkdtempSync(join(tmpdir(), 'tsgpt-chromium-'));
    const flags =
      '--headless=new --remote-debugging-pipe --no-sandbox --disable-gpu --disable-dev-shm-usage --hide-scrollbars';
    this.#child = spawn(
      command,
      [...flags.split(' '), '--no-first-run', `--user-data-dir=${this.#profile}`],
      {
        stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
        detached: true, // a group of its own: its processes end together, and none writes to the profile afterwards
      },
    );
    let rest = '';
    (this.#child.stdio[4] as Readable).setEncoding('utf8').on('data', (text: string) => {
      const messages = `${rest}${text}`.split('\0');
      rest = messages.pop()!;
      for (const message of messages) this.#receive(JSON.parse(message) as Reply);
    });
  }

  static async open(command: string): Promise<Browser> {
    const browser = new Browser(command);
    const { targetId } = await browser.send('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await browser.send('Target.attachToTarget', { targetId, flatten: true });
    browser.#session = sessionId;
    for (const domain of ['Page', 'Runtime', 'Log', 'Network']) await browser.send(`${domain}.enable`);
    return browser;
  }

  /** Sends a command of the protocol, and answers its result. */
  send(method: string, params: object = {}): Promise<any> {
    const id = ++this.#count;
    const message = {
      id,
      method,
      params,
      ...(this.#session === undefined ? {} : { sessionId: this.#session }),
    };
    (this.#child.stdio[3] as Writable).write(`${JSON.stringify(message)}\0`);
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, ({ result, error }) => {
        if (error === undefined) resolve(result);
        else reject(new Error(`${method}: ${error.message}`));
      });
    });
  }

  /** Opens an address, and waits until it is loaded. */
  async goto(url: string): Promise<void> {
    const loaded = new Promise<void>((resolve) => this.#events.set('Page.loadEventFired', resolve));
    await this.send('Page.navigate', { url });
    await loaded;
  }

  /** The window's size in CSS pixels, and the theme that the system asks for. */
  async look(width: number, height: number, theme: 'light' | 'dark', mobile = false): Promise<void> {
    await this.send('Emulation.setDeviceMetricsOverride', {
      width,
      height,
      deviceScaleFactor: mobile ? 2 : 1,
      mobile,
    });
    await this.send('Emulation.setEmulatedMedia', {
      features: [{ name: 'prefers-color-scheme', value: theme }],
    });
  }

  /** The value of an expression in the page; a promise is waited for. */
  async evaluate<T>(expression: string): Promise<T> {
    const { result, exceptionDetails } = await this.send('Runtime.evaluate', {
      ...{ expression, returnByValue: true, awaitPromise: true },
    });
    if (exceptionDetails !== undefined)
      throw new Error(exceptionDetails.exception?.description ?? expression);
    return result.value as T;
  }

  /** Waits until an expression is true. */
  async until(expression: string): Promise<void> {
    for (const end = Date.now() + 20_000; !(await this.evaluate<boolean>(expression));) {
      if (Date.now() > end) throw new Error(`never true: ${expression}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** Moves the mouse over places of the page, the button held or not. */
  async mouse(
    type: 'mouseMoved' | 'mousePressed' | 'mouseReleased',
    x: number,
    y: number,
    clickCount = 1,
  ): Promise<void> {
    const button = type === 'mouseMoved' ? 'none' : 'left';
    await this.send('Input.dispatchMouseEvent', { type, x, y, button, clickCount });
  }

  /** A PNG of the window, or of the whole page. */
  async screenshot(whole = false): Promise<Buffer> {
    const { data } = await this.send('Page.captureScreenshot', {
      format: 'png',
      captureBeyondViewport: whole,
    });
    return Buffer.from(data, 'base64');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#child.once('close', resolve));
    process.kill(-this.#child.pid!, 'SIGKILL');
    await closed;
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  }

  #receive({ id, method, params, ...reply }: Reply): void {
    if (id !== undefined) {
      this.#waiting.get(id)?.(reply);
      this.#waiting.delete(id);
      return;
    }
    switch (method) {
      case 'Runtime.exceptionThrown':
        this.complaints.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
        break;
      case 'Runtime.consoleAPICalled':
        this.complaints.push(`${params.type}: ${params.args.map((arg: any) => arg.value).join(' ')}`);
        break;
      case 'Log.entryAdded':
        this.complaints.push(`${params.entry.level}: ${params.entry.text}`);
        break;
      case 'Network.requestWillBeSent':
        this.requests.push(params.request.url);
        break;
      default:
        this.#events.get(method!)?.();
    }
  }
}
