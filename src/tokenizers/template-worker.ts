/**
 * Renders Jinja templates in a thread of its own, with an end to time and memory: a template comes with a model from
 * strangers, and may loop forever or grow without bound. The thread gets JSON and gives text; it has no other access to
 * the program. The caller waits for it, so that templates can be applied without `await`.
 */

import { createRequire } from 'node:module';
import { MessageChannel, receiveMessageOnPort, Worker, type MessagePort } from 'node:worker_threads';

import { TokenizerError } from '../../lib/errors.js';

/** Milliseconds for a template, and for the thread to start. */
const timeLimit = 1000;
const startLimit = 20_000;
/** Megabytes of memory for the thread. */
const memoryLimit = 64;

/** What the thread runs. A file of its own would have to be compiled before tests could start it. */
const program = `
const { workerData: { port, state, jinja } } = require('node:worker_threads');
const { Template } = require(jinja);
const flag = new Int32Array(state);
const tell = (answer) => {
  port.postMessage(answer);
  Atomics.store(flag, 0, 1);
  Atomics.notify(flag, 0);
};
port.on('message', ({ template, variables, mostUnits }) => {
  try {
    const text = new Template(template).render(JSON.parse(variables));
    tell(text.length > mostUnits ? { units: text.length } : { text });
  } catch (error) {
    tell({ error: String(error instanceof Error ? error.message : error).slice(0, 500) });
  }
});
tell({});
`;

interface Answer {
  readonly text?: string;
  readonly error?: string;
  readonly units?: number;
}

interface Thread {
  readonly worker: Worker;
  readonly port: MessagePort;
  readonly flag: Int32Array;
}

let thread: Thread | undefined;

/**
 * The text that a template makes of variables.
 *
 * @param variables JSON of an object.
 * @param mostUnits Longer results are refused.
 * @throws TokenizerError when the template is wrong, raises an exception itself, or goes beyond a limit.
 */
export function renderTemplate(template: string, variables: string, mostUnits: number): string {
  thread ??= start();
  const { port, flag } = thread;
  Atomics.store(flag, 0, 0);
  port.postMessage({ template, variables, mostUnits });
  const { text, error, units } = wait(thread, timeLimit);
  if (error !== undefined) throw new TokenizerError(`the chat template failed: ${error}`);
  if (units !== undefined) {
    throw new TokenizerError(
      `the chat template made ${units} characters, more than the limit of ${mostUnits}`,
    );
  }
  return text!;
}

function start(): Thread {
  const { port1: port, port2 } = new MessageChannel();
  const flag = new Int32Array(new SharedArrayBuffer(4));
  const jinja = createRequire(import.meta.url).resolve('@huggingface/jinja');
  const worker = new Worker(program, {
    eval: true,
    workerData: { port: port2, state: flag.buffer, jinja },
    transferList: [port2],
    execArgv: [],
    env: {},
    resourceLimits: { maxOldGenerationSizeMb: memoryLimit, maxYoungGenerationSizeMb: memoryLimit / 4 },
  });
  const started = { worker, port, flag };
  // Out of memory ends the thread; whoever waits for it notices by the time limit.
  worker.on('error', () => stop(started));
  worker.unref();
  port.unref();
  wait(started, startLimit);
  return started;
}

function wait(waiting: Thread, milliseconds: number): Answer {
  Atomics.wait(waiting.flag, 0, 0, milliseconds);
  const received = receiveMessageOnPort(waiting.port) as { message: Answer } | undefined;
  if (received !== undefined) return received.message;
  stop(waiting);
  throw new TokenizerError(
    `the chat template took more than ${milliseconds} ms or ${memoryLimit} MB of memory; it was stopped`,
  );
}

function stop(stopped: Thread): void {
  if (thread === stopped) thread = undefined;
  stopped.port.close();
  void stopped.worker.terminate();
}
