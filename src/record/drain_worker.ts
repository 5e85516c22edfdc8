/**
 * The drain worker's entry: takes messages, runs a Preparation and then a Recording, answers. It has no state of its own but these.
 */
import { DiffKeeperError } from "../base/error.ts";
import {
  type ContentVerdict,
  type FromWorker,
  type PlainError,
  plainError,
  type ToWorker,
} from "./messages.ts";
import { Bell } from "./bell.ts";
import { Preparation } from "./preparation.ts";
import { Recording } from "./recording.ts";

declare const self: Worker;

function say(message: FromWorker): void {
  self.postMessage(message);
}

let preparation: Preparation | undefined;
let recording: Recording | undefined;
let bell: Bell | undefined;
let messages = 0;

function prepared(): Preparation {
  if (preparation === undefined) throw new DiffKeeperError("defect", "nothing is prepared");
  return preparation;
}

function current(): Recording {
  if (recording === undefined) throw new DiffKeeperError("defect", "no recording is open");
  return recording;
}

let answered: (verdict: ContentVerdict | PlainError) => void = () => undefined;

/** Has contents compared by the main thread, which may read traces. */
async function compare(touched: Uint32Array, timeMs: number): Promise<ContentVerdict> {
  const answer = new Promise<ContentVerdict | PlainError>((resolve) => answered = resolve);
  say({ kind: "compare", touched, timeMs });
  const verdict = await answer;
  if ("code" in verdict) throw new DiffKeeperError(verdict.code, verdict.message);
  return verdict;
}

/** Leaves a cut trace of a command that ran, else nothing. */
function giveUp(): void {
  if (recording !== undefined) recording.abort();
  else preparation?.discard();
}

/** From now on the next exec of `pid` is the command. */
function arm(pid: number): void {
  if (bell === undefined) throw new DiffKeeperError("defect", "nothing is prepared");
  recording = new Recording(prepared(), pid, bell);
}

async function handle(message: ToWorker): Promise<void> {
  switch (message.kind) {
    case "open":
      bell = new Bell(message.bell);
      bell.heard(messages);
      preparation = Preparation.open(message);
      return;
    case "attached": {
      prepared().connect(message.handles);
      const { wantsGate, cgroup } = prepared();
      say({ kind: "connected", wantsGate, ...cgroup !== undefined && { cgroup } });
      return;
    }
    case "baseline": {
      await prepared().takeBaseline(message, (text) => say({ kind: "progress", text }));
      const { notes, writer } = prepared();
      if (message.armPid !== undefined) arm(message.armPid);
      say({ kind: "ready", notes, dir: writer.dir });
      await recording?.run();
      return;
    }
    case "arm":
      arm(message.pid);
      say({ kind: "armed" });
      await current().run();
      return;
    case "wait": {
      const survivors = current().survivors();
      say({ kind: "waiting", running: survivors.count() });
      await survivors.wait();
      say({ kind: "alone" });
      return;
    }
    case "stop_waiting":
      current().survivors().stopWaiting();
      return;
    case "ended":
      say({ kind: "done", summary: await current().end(message, compare) });
      return;
    case "compared":
      answered(message.verdict);
      return;
    case "abort":
      giveUp();
      say({ kind: "aborted" });
      return;
  }
}

self.onmessage = (event: MessageEvent<ToWorker>) => {
  messages++;
  bell?.heard(messages);
  handle(event.data).catch((thrown: unknown) => {
    giveUp();
    say({ kind: "failed", error: plainError(thrown) });
  });
};
