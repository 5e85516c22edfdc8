/**
 * What each file's content was last, as pointers to where it is stored: the candidates from which the next version is a
 * difference. A file is known by its node and, because programs write a new file and rename it over the old one, by its last name.
 * Everything here follows from the packed rows in their order, so that a compaction that was killed comes to the same bases.
 */
import { BASE_BYTES_MAX, BASE_FILES_MAX, BASE_PARTS_MAX, DELTA_BYTES_MIN } from "../base/limits.ts";
import type { BlobBase } from "../format/packed_row.ts";
import { FileRuns, type NearRange } from "./file_runs.ts";

/** A part of a file's content that is stored. */
export interface Part extends BlobBase {
  /** File offset of its first byte. */
  at: number;
}

class FileParts {
  /** Of the version before the one that is being written. */
  previous: Part[] = [];
  current: Part[] = [];
  /** The large runs of both. */
  readonly runs = new FileRuns();
  runsBefore: FileRuns | undefined;

  get last(): Part | undefined {
    return this.current.at(-1) ?? this.previous.at(-1);
  }
}

/** See the head of the file. */
export class Bases {
  readonly #files = new Map<number, FileParts>();
  /** Node that had a name last, by its folder's node and the name. */
  readonly #names = new Map<string, number>();
  /** Name that a node got last. */
  readonly #nameOf = new Map<number, string>();
  readonly #changed = new Set<number>();

  /** A file has a name from now on; `settle` lets the next file with this name find it. */
  named(node: number, name: string): void {
    remember(this.#nameOf, node, name);
    this.#changed.add(node);
  }

  /** The name that a file got last, in the form of `named`. */
  nameOf(node: number): string | undefined {
    return this.#nameOf.get(node);
  }

  /** Ends a step: the files that were written or named in it are what their names stand for. */
  settle(): void {
    for (const node of this.#changed) {
      const name = this.#nameOf.get(node);
      // one without bytes is none yet: they may come in the next step, and resemble those of the file before
      if (name !== undefined && !this.#files.has(node)) continue;
      this.#changed.delete(node);
      if (name === undefined) continue;
      const before = this.#names.get(name);
      if (before !== undefined && before !== node && this.#nameOf.get(before) === name) {
        this.#files.delete(before);
        this.#nameOf.delete(before);
      }
      remember(this.#names, name, node);
    }
    for (const oldest of this.#changed) {
      if (this.#changed.size <= BASE_FILES_MAX) break;
      this.#changed.delete(oldest);
    }
  }

  /** What a file's next bytes, which go to `at`, are likely to resemble: the bytes there before and around, or what was last. */
  find(node: number, at: number): Part | undefined {
    const file = this.#of(node);
    if (file === undefined) return undefined;
    const found = this.#isNext(file, at)
      ? partAt(file.previous, at)
      : partAt(file.current, at) ?? partAt(file.previous, at);
    if (found !== undefined) return around(found, at);
    const { last } = file;
    return last === undefined ? undefined : around(last, last.at + last.length);
  }

  /** What a large run of a file's next bytes is likely to resemble: what was there before, in the file or in the one before it. */
  findRun(node: number, at: number, length: number): NearRange | undefined {
    if (length < DELTA_BYTES_MIN) return undefined;
    const file = this.#of(node);
    return file?.runs.find(at, length) ?? file?.runsBefore?.find(at, length);
  }

  /** Whether bytes at `at` go on where a file ends that has no earlier version there: it is only appended to. */
  isAppended(node: number, at: number): boolean {
    const file = this.#files.get(node);
    return file !== undefined && this.#isNext(file, at) && partAt(file.previous, at) === undefined;
  }

  #isNext(file: FileParts, at: number): boolean {
    return at > 0 && at === endOf(file.current);
  }

  /** A file's bytes were stored as these parts, in the order in which they were written. `runs`: those of them that are large. */
  learn(node: number, parts: readonly Part[], runs: readonly Part[] = []): void {
    this.#changed.add(node);
    const [first] = parts;
    if (first === undefined) return;
    let file = this.#files.get(node);
    if (file === undefined) {
      const before = this.#of(node);
      file = new FileParts();
      file.previous = before?.previous ?? [];
      file.runsBefore = before?.runsBefore;
    }
    file.runs.learn(runs);
    remember(this.#files, node, file);
    if (first.at !== 0 && first.at === endOf(file.current)) {
      file.current.push(...parts);
      if (file.current.length > BASE_PARTS_MAX) {
        file.current.splice(0, file.current.length - BASE_PARTS_MAX);
      }
    } else {
      if (first.at === 0) file.previous = file.current.length > 0 ? file.current : file.previous;
      file.current = [...parts];
    }
  }

  #of(node: number): FileParts | undefined {
    const own = this.#files.get(node);
    const name = this.#nameOf.get(node);
    if (own !== undefined || name === undefined) return own;
    const before = this.#names.get(name);
    const file = before === undefined ? undefined : this.#files.get(before);
    if (file === undefined) return undefined;
    // another file: all that is known of the one before is an earlier version
    const parts = new FileParts();
    parts.previous = file.current;
    parts.current = [];
    parts.runsBefore = file.runs.isEmpty ? file.runsBefore : file.runs;
    return parts;
  }
}

/** The youngest entries are kept; which these are follows from the order of the calls alone. */
function remember<K, V>(map: Map<K, V>, key: K, value: V): void {
  map.delete(key);
  map.set(key, value);
  if (map.size <= BASE_FILES_MAX) return;
  for (const oldest of map.keys()) {
    map.delete(oldest);
    return;
  }
}

function endOf(parts: readonly Part[]): number {
  const last = parts.at(-1);
  return last === undefined ? 0 : last.at + last.length;
}

/** A large part is too much to look through for a few bytes: what lies near a place in it. */
function around(part: Part, at: number): Part {
  if (part.length <= BASE_BYTES_MAX) return part;
  const middle = Math.min(Math.max(at - part.at, 0), part.length);
  const from = Math.min(Math.max(0, middle - BASE_BYTES_MAX / 4), part.length - BASE_BYTES_MAX);
  return { row: part.row, offset: part.offset + from, length: BASE_BYTES_MAX, at: part.at + from };
}

function partAt(parts: readonly Part[], at: number): Part | undefined {
  let [low, high] = [0, parts.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((parts[middle]?.at ?? 0) <= at) low = middle + 1;
    else high = middle;
  }
  const part = parts[low - 1];
  return part !== undefined && at < part.at + part.length ? part : undefined;
}
