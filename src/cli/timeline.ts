/** `diffkeeper timeline`: what happened, event by event. */
import type { Command } from "commander";
import { DiffKeeperError } from "../base/error.ts";
import { formatBytes, formatCount } from "../base/units.ts";
import { isBeforeSpan, TIME_FORMS, TIME_RULE, type TimeRange } from "../format/time_expr.ts";
import { Op } from "../format/trace_event.ts";
import { type Burst, foldBursts, single } from "../history/bursts.ts";
import { around, limited, Timeline, type TimelineFilter } from "../history/timeline.ts";
import type { Trace } from "../history/trace.ts";
import { hasColor, oneLine, ResultWriter, stderr, stdout } from "./output.ts";
import { TimelineJson } from "./timeline_json.ts";
import { TimelineText } from "./timeline_text.ts";
import {
  aboutTrace,
  droppedText,
  globOf,
  onTrace,
  openTrace,
  parseLines,
  spanOf,
  withProgress,
  wrongValue,
} from "./trace_options.ts";

/** Pause between two looks at a running recording. */
const FOLLOW_INTERVAL_MS = 100;

/** Lines that --around shows without --limit. */
const AROUND_LINES = 20;

interface TimelineFlags {
  stateDir: string;
  path?: string;
  op?: string;
  pid?: string;
  from?: string;
  to?: string;
  around?: string;
  limit?: number;
  all?: boolean;
  gaps?: boolean;
  json?: boolean;
  follow?: boolean;
}

const HELP = `
Each line: [time] #number OPERATION path (details) process[pid]
A burst of writes to one file is one line, under the time and number of its last write.
(outside): by a process that is not the command's. <elsewhere>: a path in no watched folder. <unnamed>: a file
that never had a name.

--path asks for the path that a file has at that moment. What was renamed is listed under the old path up to the
RENAME and under the new one from it on; the RENAME of a folder stands for all that is in it. A path as it is
printed is a pattern for it: \\xHH is a byte, \\ takes the next character as it is.

--gaps lists what is not exact; #0 is the baseline:
  gap         changes were lost here                unread   content could not be had: zeros instead
  settled     read back later, not as it happened   mapped   stored through memory, found by comparing
  concurrent  overlapped another change             resync   the whole content was read back
  note        a remark of the recorder

Times: ${TIME_FORMS}.
In scripts and shells quote the #. The rule: ${TIME_RULE}.

Examples:
  diffkeeper timeline
  diffkeeper timeline --path 'src/**' --op create,write,rename
  diffkeeper timeline --around '#3' --limit 10
  diffkeeper timeline --from 1ms --to end --all
  diffkeeper timeline --gaps
  diffkeeper timeline --json --op output | tail -n 1`;

/** Adds the command to the program. */
export function register(program: Command): void {
  aboutTrace(program.command("timeline"))
    .description("list what happened, event by event")
    .option("--path <glob>", "only what this covers: *.log, src/**, a folder, /absolute/path")
    .option("--op <list>", "only these operations: write,rename,...")
    .option("--pid <list>", "only these processes: 4711,4712")
    .option("--from <time>", "begin here")
    .option("--to <time>", "end here, included")
    .option("--around <time>", `the ${AROUND_LINES} lines (or --limit) nearest to a time`)
    .option("--limit <n>", "at most this many lines", parseLines)
    .option("--all", "each write on a line of its own")
    .option("--gaps", "only what is not exact, and why: see below")
    .option("--json", "one JSON object per event")
    .option("--follow", "go on while the recording goes on")
    .addHelpText("after", HELP)
    .action(onTrace(run));
}

async function run(flags: TimelineFlags): Promise<void> {
  if (flags.follow === true && flags.around !== undefined) {
    throw new DiffKeeperError("usage", "cannot use --follow with --around", {
      hint: "leave one of them out",
    });
  }
  const base = { ops: opsOf(flags.op), pids: pidsOf(flags.pid) };
  globOf(flags.path);
  const trace = openTrace(flags.stateDir);
  try {
    const range = rangeOf(trace);
    const open = flags.follow === true;
    const filter = {
      ...base,
      glob: globOf(flags.path, trace.recording.cwd),
      from: spanOf(flags.from, range, open),
      to: spanOf(flags.to, range, open),
      inexact: flags.gaps === true,
    };
    if (open) await follow(trace, filter, flags);
    else show(trace, filter, flags);
  } finally {
    trace.close();
  }
}

/** How far the trace reaches, once somebody asks: the first line need not wait for a look at the last event. */
function rangeOf(trace: Trace): () => TimeRange {
  let range: TimeRange | undefined;
  return () => range ??= trace.range();
}

function show(trace: Trace, filter: TimelineFilter, flags: TimelineFlags): void {
  // history may be dropped while it is read
  trace.reader.hold();
  const range = rangeOf(trace);
  const writer = new ResultWriter();
  const toLine = lineMaker(trace, flags);
  let lines = 0;
  // On the terminal the lines themselves show that it goes on.
  const isSilent = stdout.isTTY === true;
  const timeline = withProgress("reading events", () => range().lastSeq, (onProgress) => {
    const timeline = new Timeline(trace, filter, (done) => {
      writer.pace(); // a long burst may be next
      if (!isSilent) onProgress(done);
    });
    let bursts = burstsOf(timeline, flags);
    const center = spanOf(flags.around, range);
    if (center !== undefined) {
      const wanted = flags.limit ?? AROUND_LINES;
      bursts = around(
        bursts,
        Math.ceil(wanted / 2),
        ({ last }) => isBeforeSpan(center, last.seq, last.tNs),
      );
    }
    if (flags.limit !== undefined) bursts = limited(bursts, flags.limit);
    for (const burst of bursts) {
      writer.line(toLine(burst));
      lines++;
    }
    return timeline;
  });
  writer.flush();
  tellDropped(trace);
  tellGaps(timeline.baselineGaps);
  if (flags.gaps === true) tellReferred(trace);
  if (!tellNoMatch(timeline, flags) && lines === 0) tellNothing(range().lastSeq, flags);
}

/** A pattern that is mistyped looks like a file that nothing happened to. */
function tellNoMatch({ globMatched }: Timeline, { path, around, limit }: TimelineFlags): boolean {
  // with these not all events may have been looked at
  if (path === undefined || globMatched || around !== undefined || limit !== undefined) {
    return false;
  }
  stderr.write(
    `diffkeeper: nothing matches --path "${oneLine(path)}" among the events that were asked for\n` +
      "hint: relative patterns count from a watched folder, or from where record was run\n",
  );
  return true;
}

/** An empty answer is one all the same. */
function tellNothing(events: number, { gaps }: TimelineFlags): void {
  const all = `${formatCount(events)} ${events === 1 ? "event" : "events"} in all`;
  stderr.write(`diffkeeper: ${gaps === true ? "no gaps: exact" : "no event matches"}; ${all}\n`);
}

/** What is no gap as long as the files on disk stay as they are. */
function tellReferred(trace: Trace): void {
  const left = trace.left();
  if (left === undefined || left.files === 0) return;
  const files = left.files === 1 ? "1 file is" : `${formatCount(left.files)} files are`;
  stderr.write(
    `diffkeeper: ${files} referred to (${formatBytes(left.bytes)}): ` +
      "their content at the start is only on disk; verify looks whether it still is\n",
  );
}

/** A timeline that does not begin at the start says so. */
function tellDropped(trace: Trace): void {
  const text = droppedText(trace);
  if (text !== undefined) stderr.write(`diffkeeper: ${text}\n`);
}

/** What could not be read at the start is no event, but must not go unsaid. */
function tellGaps(gaps: number): void {
  if (gaps === 0) return;
  const what = gaps === 1 ? "1 entry was" : `${formatCount(gaps)} entries were`;
  stderr.write(`diffkeeper: ${what} not readable at the start: see timeline --gaps\n`);
}

/** Prints what is there, then what comes, until the recording has ended. */
async function follow(trace: Trace, filter: TimelineFilter, flags: TimelineFlags): Promise<void> {
  const writer = new ResultWriter();
  const toLine = lineMaker(trace, flags);
  const timeline = new Timeline(trace, filter);
  let left = flags.limit ?? Number.POSITIVE_INFINITY;
  // Ends with the recording: its state is asked before the last events are read.
  for (let running = true; running && left > 0 && !timeline.isDone;) {
    running = trace.state() === "recording";
    for (const burst of limited(burstsOf(timeline, flags), left)) {
      writer.line(toLine(burst));
      left--;
    }
    writer.flush();
    if (running) await Bun.sleep(FOLLOW_INTERVAL_MS);
  }
  tellDropped(trace);
  tellGaps(timeline.baselineGaps);
  const cut = trace.cutText();
  if (cut !== undefined) stderr.write(`diffkeeper: ${cut}\n`);
}

function* burstsOf(timeline: Timeline, flags: TimelineFlags): Generator<Burst> {
  if (flags.all !== true && flags.json !== true) yield* foldBursts(timeline.entries());
  else for (const entry of timeline.entries()) yield single(entry);
}

function lineMaker(trace: Trace, flags: TimelineFlags): (burst: Burst) => string {
  if (flags.json === true) {
    const json = new TimelineJson(trace, { why: flags.gaps === true });
    return ({ last }) => json.line(last);
  }
  const text = new TimelineText(trace, {
    color: hasColor(stdout),
    aligned: stdout.isTTY === true,
    why: flags.gaps === true,
  });
  return (burst) => text.line(burst);
}

function opsOf(value: string | undefined): Set<number> | undefined {
  if (value === undefined) return undefined;
  const codes: Readonly<Record<string, number>> = Op;
  const ops = new Set<number>();
  for (const name of value.split(",")) {
    const upper = name.trim().toUpperCase();
    const code = Object.hasOwn(codes, upper) ? codes[upper] : undefined;
    if (code === undefined) {
      const valid = Object.keys(Op).filter((key) => key !== "BASELINE" && key !== "CONTENT");
      throw wrongValue("--op", name, `operations: ${valid.join(", ")}`);
    }
    ops.add(code);
  }
  return ops;
}

function pidsOf(value: string | undefined): Set<number> | undefined {
  if (value === undefined) return undefined;
  return new Set(
    value.split(",").map((text) => {
      if (!/^\d{1,10}$/.test(text.trim())) {
        throw wrongValue("--pid", text, "process ids are numbers: --pid 4711,4712");
      }
      return Number(text);
    }),
  );
}
