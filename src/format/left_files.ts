/**
 * Plain files of one folder whose content is left where it is, taken together: left_file.ts in a loop. A scan of a large tree begins
 * with code that is not compiled yet, and a loop over words is compiled sooner, and with less work, than calls for each file.
 */
import type { GrowingBuffer } from "./growing_buffer.ts";
import { type LeftFile, putLeftFile } from "./left_file.ts";

/** Words of struct statx. */
export const STATX_WORDS = 64;

/** Entries of one listing of a folder; some of them are such files. */
export interface LeftFiles {
  /** Entries that are looked at. */
  count: number;
  /** What statx(2) gave for each: STATX_WORDS words, of which the first is 0 where there is nothing. */
  states: Uint32Array;
  /** Of each the generation; -1: it is no such file, or something of it is not known. */
  readonly gens: Float64Array;
  /** How many are such files. */
  files: number;
  /** Where names stand, with a NUL at the end; where that of each begins, from `namesAt` on. */
  readonly source: Uint8Array;
  readonly starts: Uint16Array;
  readonly namesAt: number;
  parent: number;
  /** The kernel's s_dev. */
  dev: number;
  /** Node of the first; the others follow. */
  node: number;
}

/**
 * Puts the events of all of them. @param file is filled again for each.
 * @throws {DiffKeeperError} `limit_exceeded`.
 */
export function putLeftFiles(
  buffer: GrowingBuffer,
  files: LeftFiles,
  { file, comm }: { file: LeftFile; comm: number },
): void {
  const { count, gens, source, starts, namesAt } = files;
  let { node } = files;
  file.state = files.states;
  file.source = source;
  file.parent = files.parent;
  file.dev = files.dev;
  for (let entry = 0; entry < count; entry++) {
    const gen = gens[entry] as number;
    if (gen < 0) continue;
    const start = (starts[entry] as number) + namesAt;
    let end = start;
    while (end < source.length && source[end] !== 0) end++;
    file.gen = gen;
    file.node = node++;
    file.stateAt = entry * STATX_WORDS;
    file.nameAt = start;
    file.nameLength = end - start;
    putLeftFile(buffer, file, comm);
  }
}
