/**
 * The main thread's end of the drain worker: sends messages and rings its bell, waits for answers one at a time, and does at once what
 * the worker asks for in between. An error that the worker reports, or its death, comes out where the next answer is waited for.
 */
import { Bell } from "./bell.ts";
import { DiffKeeperError } from "../base/error.ts";
import { workerUrl } from "../base/worker_url.ts";
import { type ContentVerdict, type FromWorker, plainError, type ToWorker } from "./messages.ts";

/** What is done when the worker says so, between the answers. */
export interface Calls {
  onProgress(text: string): void;
  /** @throws {DiffKeeperError} the trace cannot be read back. */
  compare(touched: Uint32Array, timeMs: number): ContentVerdict;
}

/** See the head of the file. */
export class WorkerLink {
  readonly #worker: Worker;
  readonly #waiting: { resolve: (m: FromWorker) => void; reject: (e: unknown) => void }[] = [];
  readonly #arrived: FromWorker[] = [];
  readonly #bell = new Bell();
  #dead: DiffKeeperError | undefined;

  constructor({ onProgress, compare }: Calls) {
    this.#worker = new Worker(workerUrl("src/record/drain_worker.ts"));
    this.#worker.onmessage = (event: MessageEvent<FromWorker>) => {
      const message = event.data;
      if (message.kind === "progress") return onProgress(message.text);
      if (message.kind === "compare") return this.#compare(message, compare);
      const waiter = this.#waiting.shift();
      if (waiter === undefined) this.#arrived.push(message);
      else waiter.resolve(message);
    };
    this.#worker.onerror = (event) => {
      const error = new DiffKeeperError("defect", `the drain worker failed: ${event.message}`);
      this.#dead = error;
      this.#waiting.shift()?.reject(error);
    };
  }

  /** Memory that the worker's end of the bell needs. */
  get bell(): SharedArrayBuffer {
    return this.#bell.memory;
  }

  say(message: ToWorker): void {
    this.#worker.postMessage(message);
    this.#bell.ring();
  }

  #compare(
    { touched, timeMs }: Extract<FromWorker, { kind: "compare" }>,
    compare: Calls["compare"],
  ): void {
    try {
      this.say({ kind: "compared", verdict: compare(touched, timeMs) });
    } catch (thrown) {
      this.say({ kind: "compared", verdict: plainError(thrown) });
    }
  }

  /** Nothing more is expected of the worker: it must not keep the process alive. */
  release(): void {
    this.#worker.unref();
  }

  /** @throws {DiffKeeperError} the error that the worker reports. */
  async next<K extends FromWorker["kind"]>(kind: K): Promise<Extract<FromWorker, { kind: K }>> {
    if (this.#arrived.length === 0 && this.#dead !== undefined) throw this.#dead;
    const message = this.#arrived.shift() ??
      await new Promise<FromWorker>((resolve, reject) => this.#waiting.push({ resolve, reject }));
    if (message.kind === "failed") {
      const { code, message: text, hint, cause } = message.error;
      throw new DiffKeeperError(code, text, {
        ...(hint === undefined ? {} : { hint }),
        ...(cause === undefined ? {} : { cause }),
      });
    }
    if (message.kind !== kind) {
      throw new DiffKeeperError("defect", "the drain worker spoke out of turn");
    }
    return message as Extract<FromWorker, { kind: K }>;
  }
}
