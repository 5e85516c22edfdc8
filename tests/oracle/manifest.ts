/**
 * What a folder holds, as text and as a table, and what differs between two of them. The format of a line is in manifest.c.
 */
import { closeSync, openSync, readFileSync } from "node:fs";
import { manifestProgram } from "./programs.ts";

const MANIFEST_MS_MAX = 120_000;
const FIELDS = [
  "type",
  "mode",
  "uid",
  "gid",
  "size",
  "mtime",
  "group",
  "content",
  "xattrs",
] as const;
type Field = typeof FIELDS[number];

/** One name of a tree. */
export type Entry = Record<Field, string>;

/** By escaped path. */
export type Manifest = Map<string, Entry>;

/** What is not as it should be under one name. */
export interface Difference {
  /** Escaped as in the manifest. */
  path: string;
  kind: "missing" | "extra" | "differs";
  fields: { field: Field; truth: string; found: string }[];
}

/** Writes the manifest of a folder to `out`; with `store` keeps the bytes of every file there by their hash. */
export function writeManifest(folder: string, options: { out: string; store?: string }): void {
  const fd = openSync(options.out, "w");
  try {
    const argv = [
      manifestProgram(),
      folder,
      ...(options.store === undefined ? [] : [options.store]),
    ];
    const done = Bun.spawnSync(argv, {
      stdio: ["ignore", fd, "pipe"],
      timeout: MANIFEST_MS_MAX,
    });
    if (done.exitCode !== 0) throw new Error(`manifest of ${folder}: ${done.stderr?.toString()}`);
  } finally {
    closeSync(fd);
  }
}

export function readManifest(file: string): Manifest {
  const manifest: Manifest = new Map();
  for (const line of readFileSync(file, "latin1").split("\n")) {
    if (line === "") continue;
    const [path = "", ...values] = line.split("\t");
    if (values.length !== FIELDS.length) throw new Error(`bad line in ${file}: ${line}`);
    const entry = Object.fromEntries(FIELDS.map((field, i) => [field, values[i] ?? ""])) as Entry;
    manifest.set(path, entry);
  }
  return manifest;
}

/** All differences, by path. */
export function compare(truth: Manifest, found: Manifest): Difference[] {
  const differences: Difference[] = [];
  for (const [path, wanted] of truth) {
    const entry = found.get(path);
    if (entry === undefined) {
      differences.push({ path, kind: "missing", fields: fieldsOf(wanted, undefined) });
      continue;
    }
    const fields = fieldsOf(wanted, entry).filter(({ truth, found }) => truth !== found);
    if (fields.length > 0) differences.push({ path, kind: "differs", fields });
  }
  for (const [path, entry] of found) {
    if (!truth.has(path)) {
      differences.push({ path, kind: "extra", fields: fieldsOf(undefined, entry) });
    }
  }
  return differences;
}

function fieldsOf(truth: Entry | undefined, found: Entry | undefined): Difference["fields"] {
  return FIELDS.map((field) => ({
    field,
    truth: truth?.[field] ?? "",
    found: found?.[field] ?? "",
  }));
}

/** The bytes of a path that the manifest escaped. */
export function unescaped(path: string): Buffer {
  const text = path.replace(/%([0-9A-F]{2})/g, (_, hex) => String.fromCharCode(parseInt(hex, 16)));
  return Buffer.from(text, "latin1");
}
