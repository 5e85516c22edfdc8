/**
 * A trace as its readers see it: what was recorded, how far it reaches, whether it ended in order, and its state folded to
 * any point. Wraps the store's reader, which checks all bytes; nothing is written.
 */
import {
  addFidelity,
  countInexact,
  type Fidelity,
  INEXACT_WORDS,
  newFidelity,
} from "../format/fidelity.ts";
import {
  type CutInfo,
  decodeCut,
  decodeEnd,
  decodeRecording,
  type EndInfo,
  type RecordingInfo,
} from "../format/recording_info.ts";
import {
  beforeHistory,
  formatTime,
  isAfterSpan,
  type TimeRange,
  type TimeSpan,
} from "../format/time_expr.ts";
import { Op, type TraceEvent } from "../format/trace_event.ts";
import { type KeyframePart, type Piece, TraceReader } from "../store/trace_reader.ts";
import { S_IFDIR, S_IFMT } from "../resolve/node.ts";
import { INFO_CUT, INFO_FOLD } from "../store/schema.ts";
import type { EventCursor } from "../format/event_codec.ts";
import type { PayloadSource } from "./content.ts";
import { History } from "./fold.ts";
import { decodeFold, type FoldInfo } from "./fold_info.ts";
import { type KeyframeRest, restoreRest } from "./keyframe.ts";
import { countParts, decodeKeyframeRest, wrongKeyframe } from "./keyframe_rest.ts";
import { LeftFiles } from "./left_files.ts";

/** Counts of a recording, from its end row or, where there is none, from its events. */
export interface TraceTotals {
  events: number;
  /** Bytes written. */
  bytes: number;
  /** Files touched: what is no folder and an event is about. */
  files: number;
  lostEvents: number;
  lostBytes: number;
}

const FOLDER_OPS: ReadonlySet<number> = new Set([Op.MKDIR, Op.RMDIR]);

/** Called now and then during long work with the number of the event reached. */
export type OnProgress = (seq: number) => void;

/** See the head of the file. */
export class Trace implements PayloadSource {
  readonly reader: TraceReader;
  readonly recording: RecordingInfo;

  private constructor(reader: TraceReader) {
    this.reader = reader;
    this.recording = decodeRecording(reader.info().recording);
  }

  /** Opens the trace in a state-dir. @throws {DiffKeeperError} as TraceReader.open. */
  static open(dir: string): Trace {
    const reader = TraceReader.open(dir);
    try {
      return new Trace(reader);
    } catch (thrown) {
      reader.close();
      throw thrown;
    }
  }

  close(): void {
    this.reader.close();
  }

  /** Whether it ended in order, was cut, or is going on; asked anew on each call. */
  state(): "recording" | "ended" | "cut" {
    return this.reader.info().state;
  }

  /** What the recorder said at the end, absent while it records and when it was cut. */
  end(): EndInfo | undefined {
    const { end } = this.reader.info();
    return end === undefined ? undefined : decodeEnd(end);
  }

  /** Where its history begins when earlier history was dropped; undefined: at the start. @throws `data_corrupt` */
  fold(): FoldInfo | undefined {
    const json = this.reader.extraInfo(INFO_FOLD);
    return json === undefined ? undefined : decodeFold(json);
  }

  /** How far the recording reaches; grows while it goes on. */
  range(): TimeRange {
    const last = this.reader.lastEvent();
    const fold = this.fold();
    return {
      ...(fold === undefined ? {} : { first: { seq: fold.seq, tNs: fold.tNs } }),
      lastSeq: last.seq,
      endNs: Math.max(last.tNs, this.end()?.endNs ?? 0),
      startEpochNs: this.recording.startEpochNs,
    };
  }

  /** When the command ended; what was found after it is told later. Of a trace that has no end: its last event. */
  commandEndNs(): number {
    return this.end()?.endNs ?? this.range().endNs;
  }

  /** Why recording stopped before the command did; undefined: the recorder could not say. @throws `data_corrupt` */
  cut(): CutInfo | undefined {
    const json = this.reader.extraInfo(INFO_CUT);
    return json === undefined ? undefined : decodeCut(json);
  }

  /** What to say of a recording that did not end in order; undefined when there is nothing to say. */
  cutText(): string | undefined {
    if (this.state() !== "cut") return undefined;
    const { endNs, lastSeq } = this.range();
    return `recording was cut at ${formatTime(endNs)}: ` +
      `${this.cut()?.message ?? "the recorder was stopped"}; all is here up to event #${lastSeq}`;
  }

  /** The checked content in which a pointer lies. */
  piece(row: number, offset: number): Piece {
    return this.reader.piece(row, offset);
  }

  /** What an OUTPUT event printed, as UTF-8, at most `max` bytes of it. */
  outputText(event: TraceEvent, max = Number.POSITIVE_INFINITY): string {
    const pieces = event.inline === undefined ? [] : [event.inline];
    let length = 0;
    for (const { row, offset, length: size } of event.extents ?? []) {
      if (length >= max) break;
      pieces.push(this.reader.slice({ row, offset, length: size }));
      length += size;
    }
    return Buffer.concat(pieces).subarray(0, max).toString("utf8");
  }

  /** The state at the end of a span. */
  foldTo(span: TimeSpan, onProgress?: OnProgress): History {
    const first = this.fold();
    if (first !== undefined && (span.unit === "seq" ? span.to < first.seq : span.to < first.tNs)) {
      throw beforeHistory(this.range());
    }
    const history = this.#startOf((seq, tNs) => !isAfterSpan(span, seq, tNs));
    if (span.unit === "seq" && span.to < 1) return history;
    const batches = this.reader.journalBatches(history.lastSeq + 1, { passing: true });
    for (const { row, seq, tNs, cursor } of batches) {
      if (isAfterSpan(span, seq, tNs) || !history.fold(cursor, row, span)) break;
      onProgress?.(history.lastSeq);
    }
    return history;
  }

  /** The state that the recording begins with. */
  start(): History {
    return this.#startOf(() => false);
  }

  /** The nearest stored state that is accepted: a keyframe, else the baseline. */
  #startOf(accept: (seq: number, tNs: number) => boolean): History {
    const history = new History();
    const keyframe = this.keyframe(accept);
    const parts = keyframe?.parts() ?? this.reader.baselineBatches();
    for (const { row, cursor } of parts) history.fold(cursor, row);
    if (keyframe !== undefined) {
      restoreRest(history, keyframe.rest);
      return history;
    }
    const fold = this.fold();
    if (fold !== undefined) restoreRest(history, fold.rest);
    history.isFolded = fold !== undefined;
    for (const { row, cursor } of this.reader.savedBatches()) history.fold(cursor, row);
    return history;
  }

  /** The last keyframe whose moment is accepted. @throws {DiffKeeperError} `data_corrupt` */
  keyframe(
    accept: (seq: number, tNs: number) => boolean,
  ): { rest: KeyframeRest; parts(): Generator<KeyframePart> } | undefined {
    const found = this.reader.keyframe(accept);
    if (found === undefined) return undefined;
    const rest = decodeKeyframeRest(found.rest);
    if (rest.seq !== found.seq || rest.tNs !== found.tNs) throw wrongKeyframe();
    return { rest, parts: () => countParts(found.parts(), rest.parts) };
  }

  /** Files whose content at the start is not in the trace; undefined: all of it is. */
  left(): { files: number; bytes: number } | undefined {
    if (this.recording.savedId === undefined) return undefined;
    const left = this.leftFiles();
    return { files: left.files.size, bytes: left.bytes };
  }

  /** The same, each of them: as yet without the path. */
  leftFiles(): LeftFiles {
    const left = new LeftFiles();
    for (const batches of [this.reader.baselineBatches(), this.reader.savedBatches()]) {
      for (const { cursor } of batches) while (cursor.next()) left.see(cursor.event());
    }
    return left;
  }

  /** The counts, from the end row if there is one, else by reading all events. */
  totals(onProgress?: OnProgress): TraceTotals {
    return this.end() ?? this.#countTotals(onProgress);
  }

  /** Events that are not exact, the baseline's too; of the journal as the end row says, else by reading it. */
  fidelity(onProgress?: OnProgress): Fidelity {
    const fidelity = newFidelity();
    const count = ({ cursor }: { cursor: EventCursor }) => {
      while (cursor.next()) countInexact(fidelity, cursor.op, cursor.flags);
    };
    for (const { cursor } of this.reader.baselineBatches()) countBaseline(fidelity, cursor);
    for (const batch of this.reader.savedBatches()) count(batch);
    const stored = this.end()?.fidelity;
    if (stored !== undefined) {
      addFidelity(fidelity, stored);
      const gone = this.fold()?.dropped.fidelity;
      if (gone !== undefined) { for (const word of INEXACT_WORDS) fidelity[word] -= gone[word]; }
      return fidelity;
    }
    for (const batch of this.reader.journalBatches()) {
      count(batch);
      onProgress?.(batch.seq);
    }
    return fidelity;
  }

  #countTotals(onProgress?: OnProgress): TraceTotals {
    const fold = this.fold();
    const { bytes = 0, lostEvents = 0, lostBytes = 0 } = fold?.dropped ?? {};
    const totals = { events: fold?.seq ?? 0, bytes, files: 0, lostEvents, lostBytes };
    const files = new Set<number>();
    const folders = new Set<number>();
    for (const { cursor } of this.reader.journalBatches()) {
      while (cursor.next()) {
        totals.events++;
        const { op } = cursor;
        if (op === Op.WRITE) totals.bytes += cursor.length;
        if (op === Op.GAP) {
          const { loss } = cursor.event();
          totals.lostEvents += loss?.events ?? 0;
          totals.lostBytes += loss?.bytes ?? 0;
        }
        if (cursor.node === 0) continue;
        files.add(cursor.node);
        if (FOLDER_OPS.has(op) || isFolderFromOutside(cursor)) folders.add(cursor.node);
      }
      onProgress?.(totals.events);
    }
    for (const { cursor } of this.reader.baselineBatches()) {
      while (cursor.next()) {
        if (cursor.op !== Op.BASELINE || !files.has(cursor.node)) continue;
        if (isFolder(cursor.event())) folders.add(cursor.node);
      }
    }
    for (const node of folders) files.delete(node);
    return { ...totals, files: files.size };
  }
}

/** Says that the node is one. */
function isFolder({ attr }: TraceEvent): boolean {
  return ((attr?.mode ?? 0) & S_IFMT) === S_IFDIR;
}

/** A folder that was moved into a watched one. */
function isFolderFromOutside(cursor: EventCursor): boolean {
  return cursor.op === Op.RENAME && isFolder(cursor.event());
}

/**
 * What is not exact in the baseline. Of a file that had no name any more when history was folded, content may have been given up:
 * nobody can see it, so it does not count.
 */
function countBaseline(fidelity: Fidelity, cursor: EventCursor): void {
  const nameless = new Set<number>();
  while (cursor.next()) {
    const { op, node, flags } = cursor;
    // name operations have their folder there
    if (op === Op.BASELINE && cursor.offset === 0) nameless.add(node);
    else if (op === Op.WRITE && nameless.has(node)) continue;
    countInexact(fidelity, op, flags);
  }
}
