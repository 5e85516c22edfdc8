/**
 * The process table, from FORK, EXEC and EXIT records: who ran what, where, as whom, from when to
 * when. A child has its parent's program until it executes its own. Threads are not processes.
 */
import type { ExecRecord } from "../format/kernel_decode.ts";
import type { Head } from "./context.ts";
import type { EventSink, ProcessInfo } from "./sink.ts";

/** Living processes of the command; each change goes to the sink. */
export class Processes {
  readonly #alive = new Map<number, ProcessInfo>();
  readonly #sink: EventSink;

  constructor(sink: EventSink) {
    this.#sink = sink;
  }

  /** Ids of all that have not ended. */
  pids(): number[] {
    return [...this.#alive.keys()];
  }

  get(pid: number): ProcessInfo | undefined {
    return this.#alive.get(pid);
  }

  /** A process (not a thread) was forked by `head.pid`. */
  fork(head: Head, child: number): void {
    const parent = this.#alive.get(head.pid);
    this.#change({
      pid: child,
      ppid: head.pid,
      exe: parent?.exe ?? "",
      argv: parent?.argv ?? [],
      cwd: parent?.cwd ?? "",
      uid: parent?.uid ?? 0,
      gid: parent?.gid ?? 0,
      comm: head.comm,
      startNs: Math.max(0, head.t),
    });
  }

  exec(head: Head, exec: ExecRecord, cwd: string | undefined): void {
    const known = this.#alive.get(head.pid);
    this.#change({
      pid: head.pid,
      ppid: exec.ppid,
      exe: exec.exe,
      argv: exec.argv,
      cwd: cwd ?? known?.cwd ?? "",
      uid: exec.uid,
      gid: exec.gid,
      comm: head.comm,
      startNs: known?.startNs ?? Math.max(0, head.t),
    });
  }

  /** The last thread of a process ended; `code` is its wait status. */
  exit(head: Head, code: number): void {
    const known = this.#alive.get(head.pid);
    if (!known) return;
    this.#alive.delete(head.pid);
    this.#sink.process({ ...known, endNs: Math.max(0, head.t), exit: code });
  }

  #change(info: ProcessInfo): void {
    this.#alive.set(info.pid, info);
    this.#sink.process(info);
  }
}
