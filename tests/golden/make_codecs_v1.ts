/**
 * Writes tests/golden/codecs_v1.json: encoded values of the first version of each codec, which must decode for ever. Run once;
 * run it again only for a new version, under a new name. The base is text that anyone can make again.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { deltaEncode, zstdEncode } from "../../wasm/codecs.ts";

/** Lines of squares: 40 KB in which a number changes with each line. */
export function goldenBase(): Uint8Array {
  const lines = Array.from({ length: 2_000 }, (_, i) => `${i} squared is ${i * i}\n`);
  return new Uint8Array(Buffer.from(lines.join("")));
}

/** The base with a changed byte, a lost part, an insertion, parts that changed places, and small changes all over one part. */
export function goldenTarget(): Uint8Array {
  const base = Buffer.from(goldenBase());
  base[100] = 0;
  const rippled = base.subarray(30_000, 34_000).map((byte, i) => (i % 37 === 0 ? byte + 1 : byte));
  return new Uint8Array(Buffer.concat([
    base.subarray(20_000, 30_000),
    base.subarray(0, 12_000),
    Buffer.from("inserted: none of this stands in the base, 0123456789"),
    rippled,
    base.subarray(34_500),
  ]));
}

if (import.meta.main) {
  const [base, target] = [goldenBase(), goldenTarget()];
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64");
  const values = {
    delta: hex(deltaEncode(base, target, { level: 19 })),
    zstd: hex(zstdEncode(target, { level: 19 })),
    zstd_prefix: hex(zstdEncode(target, { level: 19, prefix: base })),
  };
  const sha256 = new Bun.CryptoHasher("sha256").update(target).digest("hex");
  const path = join(import.meta.dir, "codecs_v1.json");
  writeFileSync(path, `${JSON.stringify({ sha256, ...values }, null, 2)}\n`);
}
