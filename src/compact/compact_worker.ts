/**
 * The background compactor's entry: packs what a recorder has written, beside it, with its own connection and the lowest priority. It
 * rests while the recorder's ring is filling. A failure ends it and is reported; the recording goes on, and what is raw stays
 * raw, which readers do not notice.
 */
import { takeTurns, threadId, yieldToOthers } from "../../ffi/libc_priority.ts";
import { asDiffKeeperError } from "../base/error.ts";
import { COMPACT_FAILURES_MAX, COMPACT_PAUSE_MS, COMPACT_REST_MS } from "../base/limits.ts";
import { CompactStore } from "../store/compact_store.ts";
import { EFFORT_FAST } from "./blob_maker.ts";
import { Compactor, settingsOf } from "./compactor.ts";
import { type BeginCompaction, type CompactionStopped, Shared } from "./messages.ts";
import { RingFold } from "./ring_fold.ts";

declare const self: Worker;

/** A budget must be kept on a busy machine too: whoever keeps it takes its turn like all others. */
function givesWay({ budget }: BeginCompaction, words: Int32Array): boolean {
  return budget === undefined && !isStopping(words);
}

function isStopping(words: Int32Array): boolean {
  return Atomics.load(words, Shared.STOP) !== 0;
}

/** Gives way to all others, unless it is told to stop just now: whoever says so has looked at its priority before. */
function goDown(words: Int32Array): void {
  yieldToOthers();
  if (isStopping(words)) takeTurns();
}

/** Packs until it is told to stop. */
async function follow(begin: BeginCompaction): Promise<void> {
  const words = new Int32Array(begin.shared);
  const store = CompactStore.openBeside(begin.dir);
  // whoever holds the lock must not wait for a processor: the recorder waits for the lock
  if (takeTurns()) {
    store.onLock = (isHeld) => givesWay(begin, words) && !isHeld ? goDown(words) : takeTurns();
  }
  try {
    const settings = settingsOf(EFFORT_FAST, begin.budget?.maxBytes);
    const make = () => begin.pack ? new Compactor(store, settings) : undefined;
    const ring = begin.budget === undefined ? undefined : new RingFold(store, begin.budget);
    let compactor = make();
    while (!isStopping(words)) {
      // a budget is kept under pressure too: that is when the trace grows
      if (ring?.turn() === true) compactor = make();
      const isPressed = Atomics.load(words, Shared.PENDING) > begin.pendingMax;
      if (isPressed) await Bun.sleep(COMPACT_REST_MS);
      else if (compactor?.step(false) !== true) await Bun.sleep(COMPACT_PAUSE_MS);
    }
  } finally {
    store.close();
  }
}

/** As `follow`; a trace that the recorder holds too long is tried again. */
async function run(begin: BeginCompaction): Promise<CompactionStopped> {
  const words = new Int32Array(begin.shared);
  Atomics.store(words, Shared.THREAD, threadId());
  // a thread that may not come back must not go down
  if (takeTurns() && givesWay(begin, words)) goDown(words);
  for (let failures = 0;; failures++) {
    try {
      await follow(begin);
      return {};
    } catch (thrown) {
      const { code, message } = asDiffKeeperError(thrown);
      if (isStopping(words) && code === "in_use") return {};
      if (code !== "in_use" || failures === COMPACT_FAILURES_MAX) return { error: message };
      await Bun.sleep(COMPACT_REST_MS);
    }
  }
}

self.onmessage = (event: MessageEvent<BeginCompaction>) => {
  const words = new Int32Array(event.data.shared);
  void run(event.data).then((stopped) => {
    // the thread ends, and its id may become somebody else's
    Atomics.store(words, Shared.THREAD, 0);
    self.postMessage(stopped);
  });
};
