/** A difference between the truth and an export in words: what differs, where in the bytes, and the events of that path. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { dkAt, type Point, type RunFolder } from "./oracle.ts";
import { type Difference, unescaped } from "./manifest.ts";

const EVENTS_BEFORE = 12;
const EVENTS_AFTER = 4;
const RANGES_MAX = 4;

/** All lines of the timeline, read once per trace. */
export class Events {
  readonly #lines: { seq: number; paths: string[]; text: string }[];

  constructor(folder: RunFolder) {
    const argv = ["timeline", "--json", "--state-dir", folder.trace];
    const ran = dkAt(folder.binary, argv);
    this.#lines = ran.stdout.split("\n").filter((line) => line !== "").map((text) => {
      const event = JSON.parse(text) as Record<string, unknown>;
      const paths = ["path", "to"].map((key) => bytesOf(event, key));
      return { seq: Number(event["seq"]), paths, text };
    });
  }

  /** The events that name a path, the nearest before and after an event. */
  near(path: string, seq: number): string[] {
    const wanted = unescaped(path).toString("latin1");
    const of = this.#lines.filter(({ paths }) => paths.includes(wanted));
    const before = of.filter((line) => line.seq <= seq).slice(-EVENTS_BEFORE);
    const after = of.filter((line) => line.seq > seq).slice(0, EVENTS_AFTER);
    return [
      ...before.map(({ text }) => `  ${text}`),
      "  -- the point --",
      ...after.map(({ text }) => `  ${text}`),
    ];
  }
}

function bytesOf(event: Record<string, unknown>, key: string): string {
  const coded = event[`${key}_b64`];
  if (typeof coded === "string") return Buffer.from(coded, "base64").toString("latin1");
  return Buffer.from(String(event[key] ?? ""), "utf8").toString("latin1");
}

/** One that was told about at an earlier point, or one of many. */
export function shortly(difference: Difference, point: Point): string {
  return `also ${difference.kind}: ${difference.path} at point ${point.name}`;
}

/** The lines that tell about one difference. */
export function describe(
  difference: Difference,
  at: { point: Point; folder: RunFolder; events: Events; out: string },
): string[] {
  const { path, kind, fields } = difference;
  const lines = [`${kind}: ${path} at point ${at.point.name} (#${at.point.seq})`];
  for (const { field, truth, found } of fields) {
    if (kind !== "differs") lines.push(`  ${field}: ${kind === "missing" ? truth : found}`);
    else lines.push(`  ${field}: truth ${truth}, export ${found}`);
  }
  const content = fields.find(({ field }) => field === "content");
  const type = fields.find(({ field }) => field === "type");
  if (kind === "differs" && type === undefined && content !== undefined) {
    lines.push(
      ...rangesOf(
        join(at.folder.store, content.truth),
        Buffer.concat([Buffer.from(`${at.out}/`), unescaped(path)]),
      ),
    );
  }
  return [...lines, ...at.events.near(path, at.point.seq)];
}

/** Where two files differ. */
function rangesOf(truthFile: string, foundFile: Buffer): string[] {
  if (!existsSync(truthFile)) return [];
  const [truth, found] = [readFileSync(truthFile), readFileSync(foundFile)];
  const lines: string[] = [];
  const end = Math.min(truth.length, found.length);
  for (let i = 0; i < end && lines.length < RANGES_MAX; i++) {
    if (truth[i] === found[i]) continue;
    let to = i;
    for (let same = 0; to < end && same < 16; to++) same = truth[to] === found[to] ? same + 1 : 0;
    const [a, b] = [truth, found].map((bytes) => bytes.subarray(i, i + 16).toString("hex"));
    lines.push(`  bytes ${i}..${to}: truth ${a}, export ${b}`);
    i = to;
  }
  return lines;
}
