/** The main thread's side of the background compactor: starts it when the recording runs, and ends it before the trace is closed. */
import { takeTurnsAs } from "../../ffi/libc_priority.ts";
import { assert } from "../base/assert.ts";
import { workerUrl } from "../base/worker_url.ts";
import { type BeginCompaction, type CompactionStopped, Shared, SHARED_WORDS } from "./messages.ts";

/** One compactor beside one recording. States: idle -> running (start) -> stopped (stop). */
export class BackgroundCompactor {
  /** The recorder writes into its first word how many bytes wait in its ring. */
  readonly shared = new SharedArrayBuffer(SHARED_WORDS * Int32Array.BYTES_PER_ELEMENT);
  readonly #begin: Omit<BeginCompaction, "shared">;
  #worker: Worker | undefined;
  #stopped: Promise<CompactionStopped> = Promise.resolve({});

  constructor(begin: Omit<BeginCompaction, "shared">) {
    this.#begin = begin;
  }

  /** The trace is there and its log is on. */
  start(): void {
    assert(this.#worker === undefined, "a compactor must be started once");
    const worker = new Worker(workerUrl("src/compact/compact_worker.ts"));
    this.#worker = worker;
    this.#stopped = new Promise((resolve) => {
      worker.onmessage = (event: MessageEvent<CompactionStopped>) => resolve(event.data);
      worker.onerror = (event) => resolve({ error: event.message });
    });
    worker.postMessage({ ...this.#begin, shared: this.shared } satisfies BeginCompaction);
  }

  /** Ends it after the step it is at; gives why it gave up before, if it did. */
  async stop(): Promise<string | undefined> {
    const words = new Int32Array(this.shared);
    Atomics.store(words, Shared.STOP, 1);
    // now somebody waits for it: with the lowest priority a step may take many seconds on a busy machine
    const thread = Atomics.load(words, Shared.THREAD);
    if (thread !== 0) takeTurnsAs(thread);
    const { error } = await this.#stopped;
    this.#worker?.unref();
    return error;
  }
}
