/**
 * What macOS looks at before it starts a program: the Mach-O header, and that each page of the file has the digest that its ad-hoc
 * signature names (a wrong one is killed on arm64). Layouts: mach-o/loader.h, and CodeDirectory of Apple's cs_blobs.h, big-endian.
 */
import { createHash } from "node:crypto";

const MAGIC_64 = 0xfeedfacf;
const LC_CODE_SIGNATURE = 0x1d;
const SUPER_BLOB = 0xfade0cc0;
const CODE_DIRECTORY = 0xfade0c02;
const HASH_SHA256 = 2;

/** See the head of the file. */
export interface MachO {
  cpu: "arm64" | "x64" | "other";
  isExecutable: boolean;
  /** Pages that the signature covers, and how many of them do not have their digest; undefined: there is no signature. */
  signature?: { pages: number; wrong: number };
}

/** Reads a Mach-O file; undefined: it is none. */
export function readMachO(file: Buffer): MachO | undefined {
  if (file.readUInt32LE(0) !== MAGIC_64) return undefined;
  const cpuType = file.readUInt32LE(4);
  const cpu = cpuType === 0x0100000c ? "arm64" : cpuType === 0x01000007 ? "x64" : "other";
  const found: MachO = { cpu, isExecutable: file.readUInt32LE(12) === 2 };
  let at = 32;
  for (let left = file.readUInt32LE(16); left > 0; left--) {
    if (file.readUInt32LE(at) === LC_CODE_SIGNATURE) {
      found.signature = checkSignature(file, file.readUInt32LE(at + 8));
    }
    at += file.readUInt32LE(at + 4);
  }
  return found;
}

function checkSignature(file: Buffer, start: number): { pages: number; wrong: number } {
  if (file.readUInt32BE(start) !== SUPER_BLOB) return { pages: 0, wrong: 1 };
  const directory = start + file.readUInt32BE(start + 16);
  if (file.readUInt32BE(directory) !== CODE_DIRECTORY) return { pages: 0, wrong: 1 };
  const hashes = directory + file.readUInt32BE(directory + 16);
  const pages = file.readUInt32BE(directory + 28);
  const limit = file.readUInt32BE(directory + 32);
  const [size, kind, shift] = [36, 37, 39].map((offset) => file.readUInt8(directory + offset));
  if (kind !== HASH_SHA256 || size !== 32 || shift === undefined) return { pages, wrong: pages };
  let wrong = Math.ceil(limit / 2 ** shift) === pages && limit === start ? 0 : 1;
  for (let page = 0; page < pages; page++) {
    const end = Math.min((page + 1) * 2 ** shift, limit);
    const digest = createHash("sha256").update(file.subarray(page * 2 ** shift, end)).digest();
    const at = hashes + page * 32;
    if (!digest.equals(file.subarray(at, at + 32))) wrong++;
  }
  return { pages, wrong };
}

/**
 * Takes the signature out of a file in memory: on x64 a program without one runs, one whose pages have other digests is killed. The
 * command that names it must be the last one, as linkers put it; false: there is none.
 */
export function stripSignature(file: Buffer): boolean {
  let at = 32;
  const count = file.readUInt32LE(16);
  for (let left = count; left > 0; left--) {
    const size = file.readUInt32LE(at + 4);
    if (file.readUInt32LE(at) === LC_CODE_SIGNATURE && left === 1) {
      file.fill(0, at, at + size);
      file.writeUInt32LE(count - 1, 16);
      file.writeUInt32LE(file.readUInt32LE(20) - size, 20);
      return true;
    }
    at += size;
  }
  return false;
}
