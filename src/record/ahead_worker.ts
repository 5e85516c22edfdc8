/** The entry of a thread that looks ahead of a scan (folder_ahead.ts): takes the memory, serves to the end, and ends. */
import { serveAhead } from "./folder_ahead.ts";

declare const self: Worker;

self.onmessage = (event: MessageEvent<SharedArrayBuffer>) => {
  serveAhead(event.data);
  // nothing more will come: the thread has nothing to wait for
  self.onmessage = null;
};
