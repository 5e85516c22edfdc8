/**
 * The rooms of the house and who may import whom, as one table with the reason beside each ban. Pure functions on
 * paths relative to the checkout; plugin.ts applies them to every import, type-only ones included. A folder that is
 * not in the table (tools, tests, demo, bench) may import anything.
 */

/** What one room may import, and why not more. */
interface Room {
  readonly may: readonly string[];
  readonly because: string;
}

const BELOW_TOOLS = ["resolve", "capture", "store", "format", "base"] as const;
const ENGINES = ["record", "history", "compact", "k8s", "instance"] as const;

const ROOMS: Readonly<Record<string, Room>> = {
  main: { may: ["cli"], because: "main.ts hands argv to src/cli/run.ts, nothing else" },
  base: { may: [], because: "everything imports base, so base imports nothing" },
  format: { may: ["base"], because: "format is pure bytes <-> values: no I/O, no clock" },
  store: { may: ["format", "base"], because: "store keeps what others decide to keep" },
  capture: {
    may: ["format", "base", "ffi"],
    because: "capture says what changed, it does not know where that is kept",
  },
  resolve: {
    may: ["format", "base"],
    because:
      "resolve is a pure function from raw records to events, the same for record and history",
  },
  record: {
    may: [...BELOW_TOOLS, "ffi", "wasm"],
    because:
      "record and history meet in format and resolve only, so a trace can be read without a recorder",
  },
  history: {
    may: ["resolve", "store", "format", "base", "ffi", "wasm"],
    because: "history reads a trace and restores trees (ffi: *at calls): it needs no recorder",
  },
  compact: {
    may: ["history", "resolve", "store", "format", "base", "wasm", "ffi"],
    because:
      "compact reads as history does and writes rows again: it needs no recorder (ffi: its priority)",
  },
  k8s: { may: BELOW_TOOLS, because: "the engines do not know each other: web and cli join them" },
  instance: {
    may: [...BELOW_TOOLS, "ffi"],
    because: "the engines do not know each other: web and cli join them",
  },
  web: {
    may: [...ENGINES, ...BELOW_TOOLS],
    because: "web serves what the engines say; only cli may start it, and memory tricks stay below",
  },
  cli: {
    may: ["web", ...ENGINES, ...BELOW_TOOLS],
    because: "cli has words and flags only; ffi and wasm are reached through an engine",
  },
  ffi: {
    may: ["base"],
    because: "ffi is symbol tables and unwrap, without knowledge of their use",
  },
  wasm: { may: ["format", "base"], because: "wasm is pure computation" },
};

/** Outside modules that only some rooms may import. */
const MODULES: readonly { pattern: RegExp; rooms: readonly string[]; because: string }[] = [
  {
    pattern: /^(bun:sqlite|node:sqlite|mongodb)$/,
    rooms: ["store"],
    because: "store is the only folder that speaks SQL or Mongo",
  },
  {
    pattern: /^bun:ffi$/,
    rooms: ["ffi", "capture", "record", "instance"],
    because: "raw memory stays where every return code goes through one unwrap",
  },
  { pattern: /^commander$/, rooms: ["cli"], because: "cli is the only folder that reads argv" },
];

/** What the pure rooms must not import: anything that reads or changes the world. */
const IMPURE = /^(node:(fs|fs\/promises|child_process|net|http|worker_threads|os|process)|bun)$/;
const PURE_ROOMS = ["format", "resolve"] as const;

/** The room of a path relative to the checkout, or undefined where the rules do not apply. */
export function roomOf(path: string): string | undefined {
  if (path === "main.ts") return "main";
  const room = /^(?:src\/([^/]+)|(ffi|wasm))\//.exec(path);
  return room?.[1] ?? room?.[2];
}

/** The path of a relative import, relative to the checkout; undefined for a module that is not relative. */
export function importedPath(importer: string, specifier: string): string | undefined {
  if (!specifier.startsWith("./") && !specifier.startsWith("../")) return undefined;
  const parts = importer.split("/").slice(0, -1);
  for (const part of specifier.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== ".") parts.push(part);
  }
  return parts.join("/");
}

/** Why this import is not allowed, or undefined if it is. Paths are relative to the checkout. */
export function importProblem(importer: string, specifier: string): string | undefined {
  const from = roomOf(importer);
  if (from === undefined) return undefined;
  const path = importedPath(importer, specifier);
  if (path === undefined) return moduleProblem(from, specifier);
  const to = roomOf(path);
  if (to === undefined || to === from) return undefined;
  const room = ROOMS[from];
  if (room === undefined) {
    return `src/${from} is not a room of tools/lint/rooms.ts: add it with its reason`;
  }
  if (room.may.includes(to)) return undefined;
  return `${from} must not import ${to}: ${room.because}`;
}

function moduleProblem(from: string, specifier: string): string | undefined {
  for (const { pattern, rooms, because } of MODULES) {
    if (pattern.test(specifier) && !rooms.includes(from)) {
      return `${from} must not import ${specifier}: ${because}`;
    }
  }
  const isPure = (PURE_ROOMS as readonly string[]).includes(from);
  if (isPure && IMPURE.test(specifier)) {
    return `${from} must not import ${specifier}: ${from} is pure, it does no I/O`;
  }
  return undefined;
}

/** Rooms and what they may import, for the test that looks for cycles. */
export function roomEdges(): ReadonlyMap<string, readonly string[]> {
  return new Map(Object.entries(ROOMS).map(([name, room]) => [name, room.may]));
}
