/**
 * The drain worker's entry: takes messages, runs a Recording, answers. It has no state of its own but the Recording.
 */
import { DiffKeeperError } from "../base/error.ts";
import { type FromWorker, plainError, type ToWorker } from "./messages.ts";
import { Recording } from "./recording.ts";

declare const self: Worker;

function say(message: FromWorker): void {
  self.postMessage(message);
}

let recording: Recording | undefined;

function current(): Recording {
  if (recording === undefined) throw new DiffKeeperError("defect", "no recording is open");
  return recording;
}

async function handle(message: ToWorker): Promise<void> {
  switch (message.kind) {
    case "open":
      recording = Recording.open(message);
      say({ kind: "attached", wantsGate: recording.wantsGate });
      return;
    case "baseline": {
      await current().takeBaseline(message, (text) => say({ kind: "progress", text }));
      const { notes, dir } = current();
      say({ kind: "ready", notes, dir });
      return;
    }
    case "arm": {
      current().arm(message.pid, message.cgroup);
      say({ kind: "armed" });
      await current().run();
      return;
    }
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
      say({ kind: "done", summary: await current().end(message.exitCode) });
      return;
    case "abort":
      recording?.abort();
      return;
  }
}

self.onmessage = (event: MessageEvent<ToWorker>) => {
  handle(event.data).catch((thrown: unknown) => {
    recording?.abort();
    say({ kind: "failed", error: plainError(thrown) });
  });
};
