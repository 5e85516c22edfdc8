/**
 * What an export made and what it could not make exactly. Warnings are told with the path they concern; of very many the
 * first are kept and the rest counted.
 */
import { unknownRanges } from "./content.ts";
import type { Gap, History } from "./fold.ts";

/** Warnings of which the text is kept; of further ones only their number. */
export const EXPORT_WARNINGS_MAX = 1000;

/** Something that was not restored exactly; the path is a binary string, "" where no file is named. */
export interface ExportWarning {
  kind: "unread" | "settled" | "gap" | "state";
  path: string;
  text: string;
}

/** How much was made. */
export interface ExportCounts {
  files: number;
  folders: number;
  symlinks: number;
  /** Names beyond the first of a file. */
  links: number;
  /** FIFOs, sockets and devices. */
  special: number;
  /** Bytes written; holes are not. */
  bytes: number;
}

/** What was made; `warningCount` counts all warnings, also those whose text was not kept. */
export interface ExportReport extends ExportCounts {
  warnings: ExportWarning[];
  warningCount: number;
}

/** Collects the report of one export. */
export class ReportBuilder {
  readonly #history: History;
  readonly counts: ExportCounts = {
    files: 0,
    folders: 0,
    symlinks: 0,
    links: 0,
    special: 0,
    bytes: 0,
  };
  /** What is being made: warnings are about it. */
  path = "";
  readonly #warnings: ExportWarning[] = [];
  #warningCount = 0;

  constructor(history: History) {
    this.#history = history;
  }

  /** Adds a warning about `path`. */
  warn(kind: ExportWarning["kind"], text: string): void {
    this.#warningCount++;
    if (this.#warnings.length >= EXPORT_WARNINGS_MAX) return;
    this.#warnings.push({ kind, path: this.path, text });
  }

  /**
   * Warns of content that was not captured, and of a gap that concerns the node.
   * @param missing why what the file held at the start cannot be had.
   */
  warnOfContent(node: number, missing?: string): void {
    if (this.#history.unread.has(node)) {
      const ranges = unknownRanges(this.#history.content, node);
      const text = ranges.map(({ from, to }) => `${from}-${to}`).join(", ");
      const why = missing === undefined ? "were not captured" : `of the start: ${missing}`;
      if (text !== "") this.warn("unread", `bytes ${text} ${why}: zeros stand there`);
    } else if (missing !== undefined) this.warn("unread", `its content at the start: ${missing}`);
    if (this.#history.readBack.has(node)) {
      this.warn(
        "settled",
        "its content was read back after the call that wrote it: it may be newer",
      );
    }
    const gap = this.#history.doubted.get(node);
    if (gap === undefined) return;
    if (gap.seq === 0) this.warn("gap", gap.text);
    else this.warn("gap", `changes are missing since #${gap.seq}: ${gap.text}`);
  }

  /** Gaps that name no file, and changes that nobody saw: what they hide could be anywhere. */
  warnOfGaps(): void {
    const { unseenSince } = this.#history;
    if (unseenSince > 0) {
      this.warn(
        "gap",
        `changes may be missing since #${unseenSince}: a program made them through io_uring (--io-uring trace)`,
      );
    }
    for (const gap of this.#history.gaps) {
      if (gap.node !== 0) continue;
      this.path = gap.path;
      const where = gap.seq === 0 ? "before the start" : `at #${gap.seq}`;
      this.warn("gap", `${lostText(gap)} ${where}: ${gap.text}`);
    }
  }

  /** The report as it is now. */
  finish(): ExportReport {
    return { ...this.counts, warnings: this.#warnings, warningCount: this.#warningCount };
  }
}

function lostText(gap: Gap): string {
  if (gap.events === 0) return "an unknown number of events were lost";
  return gap.events === 1 ? "1 event was lost" : `${gap.events} events were lost`;
}
