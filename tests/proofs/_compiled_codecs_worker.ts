/** The codecs in a worker: what _compiled_codecs.ts starts. */
import { trial } from "./_compiled_codecs.ts";

declare const self: Worker;

self.postMessage(trial());
