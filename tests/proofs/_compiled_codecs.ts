/** A compiled program's use of the codecs, in its main thread and in a worker: a program of its own for bsdiff.ts. */
import { deltaApply, deltaEncode } from "../../wasm/codecs.ts";
import { codecModule } from "../../wasm/module.ts";

/** Milliseconds until the module is ready, and whether it works. */
export function trial(): { ms: number; works: boolean } {
  const startedAt = performance.now();
  codecModule();
  const ms = performance.now() - startedAt;
  const base = new Uint8Array(10_000).map((_, i) => (i * i) >> 3);
  const target = base.slice(17);
  const back = deltaApply(base, deltaEncode(base, target), { maxBytes: target.length });
  return { ms, works: Buffer.compare(back, target) === 0 };
}

if (Bun.isMainThread) {
  const main = trial();
  const worker = new Worker(new URL("./_compiled_codecs_worker.ts", import.meta.url).href);
  worker.onmessage = ({ data }) => {
    console.log(JSON.stringify({ main, worker: data as unknown }));
    process.exit(0);
  };
}
