/**
 * The guest's first file system: a cpio archive ("newc", Documentation/driver-api/early-userspace/buffer-format.rst) with busybox,
 * glibc, the binary, the programs and sources that the checks need, and the modules. Not compressed: unpacking is slow
 * under emulation.
 */
import { existsSync, readFileSync, realpathSync } from "node:fs";

const MODE_FILE = 0o100755;
const MODE_DIR = 0o040755;
const MODE_LINK = 0o120777;
const MAGIC = "070701";

/** An archive in the making: folders appear by themselves, before what is in them. */
export class Initrd {
  readonly #parts: Uint8Array[] = [];
  readonly #seen = new Set<string>();
  #ino = 1;

  #put(path: string, mode: number, bytes: Uint8Array, mtimeS = 0): void {
    const name = new TextEncoder().encode(`${path}\0`);
    const fields = [this.#ino++, mode, 0, 0, 1, mtimeS, bytes.length, 0, 0, 0, 0, name.length, 0];
    const head = MAGIC + fields.map((field) => field.toString(16).padStart(8, "0")).join("");
    this.#padded(new TextEncoder().encode(head), name);
    this.#padded(bytes);
  }

  /** Pieces back to back, then zeros up to a multiple of four. */
  #padded(...pieces: Uint8Array[]): void {
    const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
    this.#parts.push(...pieces, new Uint8Array(-length & 3));
  }

  /** Adds a folder and those above it. */
  folder(path: string): void {
    const parts = path.split("/").filter((part) => part !== "");
    for (let i = 1; i <= parts.length; i++) {
      const at = parts.slice(0, i).join("/");
      if (this.#seen.has(at)) continue;
      this.#seen.add(at);
      this.#put(at, MODE_DIR, new Uint8Array(0));
    }
  }

  /** Adds bytes as an executable file. Times matter only where one file must be newer than another. */
  bytes(path: string, bytes: Uint8Array, mtimeS = 1): void {
    const at = path.replace(/^\/+/, "");
    if (this.#seen.has(at)) return;
    this.folder(at.split("/").slice(0, -1).join("/"));
    this.#seen.add(at);
    this.#put(at, MODE_FILE, bytes, mtimeS);
  }

  file(path: string, source: string, mtimeS = 1): void {
    this.bytes(path, readFileSync(source), mtimeS);
  }

  link(path: string, target: string): void {
    this.#put(path, MODE_LINK, new TextEncoder().encode(target));
  }

  /** Adds a program with the libraries it asks for, at their own paths. */
  program(path: string, source: string, mtimeS = 1): void {
    this.file(path, source, mtimeS);
    const listed = Bun.spawnSync(["ldd", source]).stdout.toString();
    for (const library of listed.match(/\/\S+\.so\S*/g) ?? []) {
      if (existsSync(library)) this.file(library, realpathSync(library));
    }
  }

  /** The archive. It may not be added to any more. */
  finish(): Uint8Array {
    this.#put("TRAILER!!!", 0, new Uint8Array(0));
    return Buffer.concat(this.#parts);
  }
}
