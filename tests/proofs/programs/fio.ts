/**
 * fio with verify, by write(2), by libaio with O_DIRECT and by a shared mapping. fio puts a header with its place and a checksum into
 * each block, so in every export each block is either still zero or whole: magic, offset, hash of the rest. At the end fio itself
 * verifies the files.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { linesDone, type Place, type Program, shell } from "./_program.ts";

const BLOCK_BYTES = 4096;
/** Of fio 3: struct verify_header and struct vhdr_xxhash in verify.h. */
const MAGIC = 0xacca;
const OFFSET_AT = 16;
const HASH_AT = 40;
const DATA_AT = 44;
const HASH_SEED = 1;

const JOBS: Readonly<Record<string, string>> = {
  sync: "--ioengine=sync --rw=randwrite --fsync=64",
  libaio: "--ioengine=libaio --direct=1 --iodepth=8 --rw=randwrite",
  buffered: "--ioengine=libaio --iodepth=8 --rw=write",
  mmap: "--ioengine=mmap --rw=randwrite --fsync=64",
};

function fio(name: string, more: string): string {
  return `fio --name=${name} --filename=${name}.data ${JOBS[name]} --bs=${BLOCK_BYTES} --size=8m ` +
    `--verify=xxhash --verify_fatal=1 --thread --randseed=7 --output=/dev/null ${more}`;
}

/** What is wrong with one block, if anything. */
function complaintOf(block: Buffer, offset: number): string {
  if (block.every((byte) => byte === 0)) return "";
  if (block.readUInt16LE(0) !== MAGIC) return "has no header";
  if (Number(block.readBigUInt64LE(OFFSET_AT)) !== offset) return "belongs elsewhere";
  const hash = Bun.hash.xxHash32(block.subarray(DATA_AT), HASH_SEED);
  return hash === block.readUInt32LE(HASH_AT) ? "" : "has another hash";
}

function use(out: string): string[] {
  const complaints: string[] = [];
  const done = linesDone(out);
  for (const name of Object.keys(JOBS)) {
    if (name === "mmap" && !done.includes(name)) continue;
    const path = join(out, `${name}.data`);
    const bytes = existsSync(path) ? readFileSync(path) : Buffer.alloc(0);
    let bad = 0;
    let first = "";
    for (let at = 0; at < bytes.length; at += BLOCK_BYTES) {
      const text = complaintOf(bytes.subarray(at, at + BLOCK_BYTES), at);
      if (text !== "" && bad++ === 0) first = `the block at ${at} ${text}`;
    }
    if (bad > 0) complaints.push(`${name}.data: ${bad} bad blocks: ${first}`);
    if (!done.includes(name)) continue;
    const ran = shell(fio(name, "--verify_only"), out);
    if (ran.code !== 0) complaints.push(`fio verifies ${name}: ${ran.stderr.trim()}`);
  }
  return complaints;
}

function atEnd(at: Place): string[] {
  const done = linesDone(at.out);
  return Object.keys(JOBS).filter((name) => !done.includes(name)).map((name) =>
    `${name} did not end`
  );
}

/** fio. */
export const FIO: Program = {
  name: "fio",
  needs: [["fio", "fio"]],
  gapMs: 300,
  prepare: () => undefined,
  script: () =>
    Object.keys(JOBS).map((name) => `${fio(name, "--do_verify=1")}\necho ${name} >>done\n`).join(
      "",
    ),
  use,
  atEnd,
};
