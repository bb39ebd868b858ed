/**
 * The page of a run while it goes on, for a browser on this machine. The run's records are collected, and sent to the
 * pages that are open by server-sent events a few times a second; with none open nothing is sent. A reader that is too
 * slow is let go, and asks again.
 */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

import { FileError } from '../../lib/errors.js';
import { fileError, systemCode } from '../../lib/formats/system-error.js';
import type { MetricsRecord } from '../training/metrics-records.js';
import { renderPage } from './page.js';
import type { RunCurves, RunData } from './run-curves.js';

/** Milliseconds between messages to a page. */
const interval = 250;
/** Bytes that a page may leave unread. */
const mostUnread = 8e6;

/** A run that can be watched in a browser. */
export class LiveServer {
  /** Where: `http://127.0.0.1:7070/`. */
  readonly url: string;
  readonly #server: Server;
  readonly #curves: RunCurves;
  readonly #data: () => RunData;
  readonly #readers = new Set<ServerResponse>();
  #waiting: MetricsRecord[] = [];
  #timer: NodeJS.Timeout | undefined;

  private constructor(server: Server, curves: RunCurves, data: () => RunData) {
    this.#server = server;
    this.#curves = curves;
    this.#data = data;
    const { port } = server.address() as AddressInfo;
    this.url = `http://127.0.0.1:${port}/`;
    server.on('request', (request, response) => this.#answer(request, response));
    server.unref(); // it does not keep the process alive
  }

  /**
   * Serves a run on 127.0.0.1.
   * @param curves The run so far; {@link LiveServer.add} adds to it.
   * @param port 0 for any that is free.
   * @throws FileError when the port is not to be had.
   */
  static async open(
    curves: RunCurves,
    { name, total, port }: { readonly name: string; readonly total: number; readonly port: number },
  ): Promise<LiveServer> {
    const server = createServer();
    try {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject).listen(port, '127.0.0.1', resolve);
      });
    } catch (error) {
      const place = `127.0.0.1:${port}`;
      if (systemCode(error) !== 'EADDRINUSE') throw fileError(place, 'cannot be served', error);
      throw new FileError(place, 'another program serves this port; choose another, or 0 for any: --live 0');
    }
    return new LiveServer(server, curves, () => curves.data(name, total));
  }

  /** The next record of the run. */
  add(record: MetricsRecord): void {
    if (this.#readers.size === 0) {
      this.#curves.add(record);
      return;
    }
    this.#waiting.push(record);
    this.#timer ??= setTimeout(() => this.#send(), interval);
  }

  /** Tells the pages that the run has ended, and closes. */
  async close(): Promise<void> {
    this.#send();
    for (const reader of this.#readers) reader.end('event: end\ndata:\n\n');
    this.#server.close();
    // What was sent gets a moment to arrive; a reader that does not take it is left.
    const gone = [...this.#readers].map((reader) => new Promise((resolve) => reader.once('close', resolve)));
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise((resolve) => (timer = setTimeout(resolve, 500)));
    await Promise.race([Promise.all(gone), patience]);
    clearTimeout(timer);
    this.#server.closeAllConnections();
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    // A page of another site that reaches this port under its own name is not let in; a tunnel may have another port.
    if (!/^(127\.0\.0\.1|localhost)(:\d+)?$/.test(request.headers.host ?? '')) {
      response.writeHead(403).end();
      return;
    }
    const safe = { 'Cache-Control': 'no-store', 'X-Content-Type-Options': 'nosniff' };
    if (request.method !== 'GET') response.writeHead(405, { Allow: 'GET' }).end();
    else if (request.url === '/') {
      const { name } = this.#data();
      const page = renderPage([], { title: name, live: true });
      response.writeHead(200, { ...safe, 'Content-Type': 'text/html; charset=utf-8' }).end(page);
    } else if (request.url === '/events') {
      this.#send(); // so that the new reader misses nothing and gets nothing twice
      response.writeHead(200, { ...safe, 'Content-Type': 'text/event-stream' });
      response.write(message('run', this.#data()));
      this.#readers.add(response);
      response.on('close', () => this.#readers.delete(response));
    } else response.writeHead(404).end();
  }

  /** Hands what has come to the pages. */
  #send(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const records = this.#waiting;
    this.#waiting = [];
    if (records.length === 0) return;
    for (const record of records) this.#curves.add(record);
    const text = message('records', records);
    for (const reader of this.#readers) {
      if (reader.writableLength > mostUnread) reader.destroy();
      else reader.write(text);
    }
  }
}

/** JSON has no line breaks, so a message is one line of data. */
const message = (event: string, data: unknown): string =>
  `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
