/** The gate's thread: takes its options, says that it serves, and serves to the end. src/record/gate.ts does the work. */
import { Gate, type GateOptions } from "./gate.ts";

declare const self: Worker;

self.onmessage = (event: MessageEvent<GateOptions>) => {
  const gate = new Gate(event.data);
  gate.saveInherited();
  self.postMessage("serving");
  gate.serve();
  self.postMessage("over");
};
