/**
 * The files that are mapped shared and writable, each with an open descriptor and a shadow of its content, within the bounds of
 * MAPPED_FILES_MAX and MAPPED_SHADOW_BYTES_MAX. A file that does not fit is not followed; one that grows too much is lost, and
 * reported once: its content is then read at the end of the recording, as that of a file nobody could follow.
 */
import { closeSync } from "node:fs";
import {
  MAPPED_FILES_MAX,
  MAPPED_LOOK_BYTES_MAX,
  MAPPED_SHADOW_BYTES_MAX,
} from "../base/limits.ts";
import type { Mtime } from "../format/trace_event.ts";
import type { MappedFiles, MappedRange, ReadTarget } from "../resolve/sink.ts";
import { InodeStat } from "./inode_stat.ts";
import { MappedShadow } from "./mapped_shadow.ts";

/** See the head of the file. */
export class FollowedFiles implements MappedFiles {
  readonly #open: (target: ReadTarget) => number;
  readonly #shadows = new Map<number, MappedShadow>();
  readonly #stat = new InodeStat();
  #bytes = 0;
  #lost: number[] = [];

  /** @param open gives a descriptor of its own for reading, or -1. */
  constructor(open: (target: ReadTarget) => number) {
    this.#open = open;
  }

  follow(node: number, target: ReadTarget, size: number): boolean {
    this.forget(node);
    if (this.#shadows.size >= MAPPED_FILES_MAX) return false;
    const fd = this.#open(target);
    if (fd < 0) return false;
    const shadow = new MappedShadow(fd, size, (bytes) => this.#take(bytes));
    this.#shadows.set(node, shadow);
    if (shadow.load()) return true;
    this.forget(node);
    return false;
  }

  forget(node: number): void {
    const shadow = this.#shadows.get(node);
    if (shadow === undefined) return;
    this.#shadows.delete(node);
    this.#bytes -= shadow.bytes;
    closeSync(shadow.fd);
  }

  wrote(node: number, at: { offset: number; bytes: Uint8Array }): void {
    this.#with(node, (shadow) => shadow.wrote(at.offset, at.bytes));
  }

  zeroed(node: number, range: { offset: number; length: number }): void {
    this.#with(node, (shadow) => shadow.zeroed(range.offset, range.length));
  }

  resized(node: number, size: number): void {
    this.#with(node, (shadow) => shadow.resized(size));
  }

  unsure(node: number, range: { offset: number; length: number }): void {
    this.#with(node, (shadow) => shadow.unsure(range.offset, range.length));
  }

  *changes(node: number, except?: { offset: number; length: number }): Generator<MappedRange> {
    const shadow = this.#shadows.get(node);
    if (shadow === undefined) return;
    yield* shadow.changes(except);
    this.#check(node, shadow);
  }

  look(node: number): MappedRange[] {
    return this.#shadows.get(node)?.look(MAPPED_LOOK_BYTES_MAX) ?? [];
  }

  take(node: number, found: MappedRange[]): MappedRange[] {
    const shadow = this.#shadows.get(node);
    if (shadow === undefined) return [];
    const fresh = shadow.take(found);
    this.#check(node, shadow);
    return fresh;
  }

  mtime(node: number): Mtime | undefined {
    const shadow = this.#shadows.get(node);
    if (shadow === undefined || shadow.wasTold || this.#stat.readFd(shadow.fd) !== 0) {
      return undefined;
    }
    return this.#stat.mtime();
  }

  lost(): number[] {
    const lost = this.#lost;
    if (lost.length > 0) this.#lost = [];
    return lost;
  }

  close(): void {
    for (const node of [...this.#shadows.keys()]) this.forget(node);
  }

  #take(bytes: number): boolean {
    if (this.#bytes + bytes > MAPPED_SHADOW_BYTES_MAX) return false;
    this.#bytes += bytes;
    return true;
  }

  #with(node: number, what: (shadow: MappedShadow) => void): void {
    const shadow = this.#shadows.get(node);
    if (shadow === undefined) return;
    what(shadow);
    this.#check(node, shadow);
  }

  #check(node: number, shadow: MappedShadow): void {
    if (!shadow.isLost) return;
    this.forget(node);
    this.#lost.push(node);
  }
}
