/** A collection as a process of its own, to be killed: `bun gc_process.ts DIR KEEP_NS`. Prints `begin` first and `done` at its end. */
import { gcTrace } from "../../src/compact/gc_trace.ts";

const [dir = "", keepNs = "0"] = process.argv.slice(2);
process.stdout.write("begin\n");
gcTrace(dir, { keepNs: Number(keepNs) });
process.stdout.write("done\n");
