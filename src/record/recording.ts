/**
 * One recording, as the drain worker runs it from the start of the command on: ring to journal, audit, end. What comes before is
 * a Preparation.
 * States: running (the next exec of the launcher is the command) -> ended; or -> aborted, which leaves a trace without end row (cut)
 * or, when the command never started, none at all.
 */
import { arch } from "node:os";
import {
  AUDIT_CONTENT_MS_MAX,
  AUDIT_CONTENT_MS_MIN,
  AUDIT_CONTENT_PART,
  DRAIN_END_MS_MAX,
  DRAIN_LITTLE_BYTES,
  DRAIN_PAUSE_MS,
  DRAIN_PAUSES_MAX,
  DRAIN_TURN_BYTES_MAX,
} from "../base/limits.ts";
import type { KernelSide } from "../capture/ebpf/kernel_side.ts";
import { encodeEnd } from "../format/recording_info.ts";
import { Op } from "../format/trace_event.ts";
import { Resolver } from "../resolve/resolver.ts";
import type { Tree } from "../resolve/tree.ts";
import type { TraceWriter } from "../store/trace_writer.ts";
import { audit, type AuditVerdict } from "./audit.ts";
import type { BaseContent } from "./base_content.ts";
import { blank } from "./baseline_events.ts";
import { isChangedSince } from "./changed_since.ts";
import { Freezer } from "./freezer.ts";
import { Journal } from "./journal.ts";
import type { Bell } from "./bell.ts";
import { CLOCK_BOOTTIME, CLOCK_REALTIME, clockNs } from "./kernel_clock.ts";
import { LiveAssist } from "./live_assist.ts";
import { LossWatch } from "./loss_watch.ts";
import { mappedOutside } from "./mapped_outside.ts";
import { type LookOptions, MappedSampler } from "./mapped_sampler.ts";
import {
  type ContentVerdict,
  type OpenRequest,
  plainError,
  type RecordingSummary,
} from "./messages.ts";
import type { Preparation } from "./preparation.ts";
import { hasBareWhiteoutsFd, isNewFirstFd, isPartialFd } from "./pseudo_fs.ts";
import { Survivors } from "./survivors.ts";

/** Has the contents of these nodes compared; everything is committed. */
export type Compare = (touched: Uint32Array, timeMs: number) => Promise<ContentVerdict>;

type State = "running" | "ended" | "aborted";

/** See the head of the file. */
export class Recording {
  readonly #ready: Preparation;
  readonly #request: OpenRequest;
  readonly #writer: TraceWriter;
  readonly #kernel: KernelSide;
  readonly #tree: Tree;
  /** With a lazy baseline. */
  readonly #base: BaseContent | undefined;
  readonly #journal: Journal;
  readonly #freezer: Freezer;
  readonly #losses: LossWatch;
  readonly #sampler: MappedSampler;
  readonly #assist: LiveAssist;
  readonly #resolver: Resolver;
  readonly #looking: LookOptions = {
    catchUp: () => this.#drainPending(),
    now: () => Number(clockNs(CLOCK_BOOTTIME) - this.#startNs),
  };
  /** Where the background compactor looks how full the ring is. */
  readonly #pressure: Int32Array | undefined;
  readonly #bell: Bell;
  #pauses = 0;
  readonly #survivors = new Survivors(() => this.#resolver.running());
  readonly #startNs: bigint;
  #state: State = "running";
  #kept = false;
  #ended: Promise<void> = Promise.resolve();

  /** From now on the next exec of `pid` is the command. */
  constructor(ready: Preparation, pid: number, bell: Bell) {
    this.#bell = bell;
    this.#ready = ready;
    this.#request = ready.request;
    this.#writer = ready.writer;
    this.#kernel = ready.kernel;
    this.#tree = ready.tree;
    this.#base = ready.base;
    const { index, pressure, ringBytes, mappedIntervalMs } = ready.request;
    ready.drainEarly();
    this.#startNs = clockNs(CLOCK_BOOTTIME);
    ready.putInfo();
    this.#journal = new Journal(this.#writer, this.#tree, { index });
    this.#pressure = pressure === undefined ? undefined : new Int32Array(pressure);
    this.#freezer = new Freezer(ringBytes);
    this.#losses = new LossWatch(this.#kernel.shared);
    this.#sampler = new MappedSampler(mappedIntervalMs);
    const { mounts, cgroup } = ready;
    this.#assist = new LiveAssist(mounts, (inode, root) => this.#kernel.putLinked(inode, root));
    this.#resolver = this.#makeResolver();
    const [journal, assist, startNs] = [this.#journal, this.#assist, this.#startNs];
    this.#base?.start({ journal, assist, startNs });
    if (cgroup !== undefined) this.#freezer.hold(cgroup);
    this.#kernel.shared.launcherTgid = pid;
  }

  #makeResolver(): Resolver {
    const { watch, mounts } = this.#ready;
    return new Resolver(this.#tree, {
      roots: watch.roots.map((root) => ({
        path: root.path,
        node: this.#tree.roots[root.index]?.id ?? 0,
      })),
      excluded: (path, isDir, root) => watch.excluded(path, isDir, root),
      startNs: this.#startNs,
      wallClock: () => {
        const passed = Number(clockNs(CLOCK_BOOTTIME) - this.#startNs) / 1e9;
        const now = Number(clockNs(CLOCK_REALTIME)) / 1e9;
        return { start: now - passed, now };
      },
      firstLockSeq: this.#kernel.shared.lockCounter + 1,
      arch: arch() === "arm64" ? "arm64" : "x64",
      // watched devices on which a call may move or remove an inode without touching it
      partial: new Set(mounts.filter(({ fd }) => isPartialFd(fd)).map(({ dev }) => dev)),
      newFirst: new Set(mounts.filter(({ fd }) => isNewFirstFd(fd)).map(({ dev }) => dev)),
      ctimeTells: this.#kernel.hooks.some((hook) => hook.endsWith("/inode_set_ctime_to_ts")),
      bareWhiteouts: new Set(
        mounts.filter(({ fd }) => hasBareWhiteoutsFd(fd)).map(({ dev }) => dev),
      ),
      assist: this.#assist,
      isChangedSince: (ino, pid) => isChangedSince(this.#kernel.ring, ino, pid),
    }, this.#journal);
  }

  /** Drains until `end`. Resolves when the last turn is over. */
  async run(): Promise<void> {
    let over: () => void = () => undefined;
    this.#ended = new Promise((resolve) => over = resolve);
    try {
      // the command need not wait for this
      const { early } = this.#ready;
      early.replay((bytes, words, offset) => this.#resolver.accept(bytes, words, offset));
      while (this.#state === "running") {
        const bytes = this.#turn();
        if (bytes === 0) this.#idle();
        this.#sampler.turn(this.#resolver, this.#looking);
        const delayMs = this.#request.testing.drainDelayMs;
        if (delayMs !== undefined) await Bun.sleep(delayMs);
        else if (bytes >= DRAIN_LITTLE_BYTES || this.#pauses >= DRAIN_PAUSES_MAX || this.#rest()) {
          // a turn of the event loop, for messages
          this.#pauses = 0;
          await Bun.sleep(0);
        }
      }
    } finally {
      over();
    }
  }

  /** Sleeps without the event loop, which would take more time than the look that follows. Returns true if something was said to us. */
  #rest(): boolean {
    this.#pauses++;
    return this.#bell.sleep(DRAIN_PAUSE_MS);
  }

  #idle(): void {
    this.#resolver.idle(clockNs(CLOCK_BOOTTIME));
    this.#journal.syncDue();
    this.#base?.take();
  }

  #turn(): number {
    const { ring } = this.#kernel;
    const resolver = this.#resolver;
    this.#freezer.look(ring.pendingBytes, (pid) => resolver.needs(pid));
    const losses = this.#losses;
    const bytes = ring.drain(
      (u8, u32, offset) => {
        if (ring.position >= losses.nextAt) losses.report(resolver, ring.position);
        if (this.#freezer.isHeld(u32, offset)) this.#freezer.stopped(u32, offset);
        if (!this.#freezer.isStop(u32, offset)) resolver.accept(u8, u32, offset);
      },
      DRAIN_TURN_BYTES_MAX,
      () => losses.look(ring.end),
    );
    losses.look(ring.end);
    losses.report(resolver, ring.position);
    this.#freezer.look(ring.pendingBytes, (pid) => resolver.needs(pid));
    this.#journal.flushDue();
    this.#keep();
    if (this.#pressure !== undefined) Atomics.store(this.#pressure, 0, ring.pendingBytes);
    return bytes;
  }

  /** Who outlives the command, with all that the kernel has reported by now. */
  survivors(): Survivors {
    this.#drainPending();
    return this.#survivors;
  }

  /** The command ended: takes what is still in the ring, writes the end, closes the trace. */
  async end(
    ended: { exitCode: number; endedNs: bigint },
    compare: Compare,
  ): Promise<RecordingSummary> {
    const { exitCode } = ended;
    const endNs = Number(ended.endedNs - this.#startNs);
    this.#state = "ended";
    await this.#ended;
    const resolver = this.#resolver;
    this.#drainAll(resolver);
    this.#freezer.release();
    this.#sampler.note(resolver, this.#journal, this.#looking.now());
    this.#tellMappings(resolver);
    const verdict = await this.#audit(resolver, compare);
    this.#base?.seal(() => Number(clockNs(CLOCK_BOOTTIME) - this.#startNs));
    this.#journal.finish();
    const summary = this.#summary(endNs, resolver, verdict);
    if (!summary.started) {
      this.#ready.discard();
      this.#close();
      return summary;
    }
    this.#keep();
    // what could not be written to its end has no end row: readers see it as cut
    if (summary.failed === undefined) {
      const sampled = this.#sampler.info(resolver);
      this.#writer.finish(encodeEnd({ exitCode, endNs, ...summary, ...sampled }));
    } else this.#writer.abort();
    this.#close();
    this.#ready.saveCache();
    return summary;
  }

  /** Takes what is in the ring and lets everything go that waits in the Resolver. */
  #drainAll(resolver: Resolver): void {
    this.#drainPending();
    resolver.flush();
    this.#sampler.look(resolver, { ...this.#looking, catchUp: () => resolver.flush() });
    this.#losses.look(this.#kernel.ring.end);
    this.#losses.report(resolver, Infinity);
  }

  /** Takes what is in the ring now; somebody who goes on writing must not hold up the end. */
  #drainPending(): void {
    const deadline = performance.now() + DRAIN_END_MS_MAX;
    let rest = this.#kernel.ring.pendingBytes;
    while (rest > 0 && performance.now() < deadline) rest -= this.#turn();
  }

  /** What others stored through mappings that are older than the recording was not seen. */
  #tellMappings({ mapped }: Resolver): void {
    if (!this.#journal.started || this.#journal.failed !== undefined) return;
    const found = mappedOutside(
      (dev, ino) => this.#tree.lookup(dev, ino, 0),
      (node) => mapped?.seen.has(node) === true,
    );
    const tNs = this.#looking.now();
    for (const { node, pid, comm } of found) {
      const text = `${comm}[${pid}] has it mapped for writing since before the recording: ` +
        "what it stores there is not seen";
      const event = { ...blank(Op.GAP, node.id), tNs, text, loss: { events: 0, bytes: 0 } };
      this.#journal.event(event);
    }
  }

  /** Compares the folders with what was recorded; nothing to compare when recording had to stop. */
  async #audit(resolver: Resolver, compare: Compare): Promise<AuditVerdict | undefined> {
    if (
      this.#request.audit === "none" || !this.#journal.started || this.#journal.failed !== undefined
    ) {
      return undefined;
    }
    return audit({
      watch: this.#ready.watch,
      tree: this.#tree,
      sink: this.#journal,
      reread: this.#suspects(resolver),
      contents: async (nodes = this.#touchedFiles()) => {
        if (nodes.length === 0) return { contents: 0, written: 0, wrong: [] };
        this.#journal.flush();
        // somebody who goes on writing must not fill the ring meanwhile
        const timer = setInterval(() => this.#turn(), DRAIN_PAUSE_MS * 10);
        try {
          return await compare(Uint32Array.from(nodes), this.#auditMs());
        } finally {
          clearInterval(timer);
        }
      },
      catchUp: () => this.#drainAll(resolver),
      endNs: () => Number(clockNs(CLOCK_BOOTTIME) - this.#startNs),
    });
  }

  #touchedFiles(): number[] {
    const isThere = (id: number) => this.#tree.path(id) !== undefined;
    return [...this.#journal.touched].filter((id) =>
      this.#tree.node(id)?.isFile === true && isThere(id)
    );
  }

  /** How long contents may be compared. */
  #auditMs(): number {
    if (this.#request.audit === "full") return Infinity;
    const part = this.#looking.now() / 1e6 * AUDIT_CONTENT_PART;
    return Math.min(Math.max(part, AUDIT_CONTENT_MS_MIN), AUDIT_CONTENT_MS_MAX);
  }

  /** Where something was lost, a file that was written may lack a write although its size and times are those of the last one. */
  #suspects(resolver: Resolver): ReadonlySet<number> {
    if (!this.#losses.hasLost && resolver.stats.gaps === 0) return resolver.suspects;
    return new Set([...resolver.suspects, ...this.#journal.touched]);
  }

  #summary(
    durationNs: number,
    resolver: Resolver,
    verdict: AuditVerdict | undefined,
  ): RecordingSummary {
    const losses = this.#losses.counters();
    const { stats } = resolver;
    const failed = this.#journal.failed;
    const { bytes, files } = failed === undefined
      ? { bytes: stats.bytes, files: this.#journal.files }
      : this.#journal.stored;
    return {
      durationNs,
      events: this.#writer.lastSeq,
      bytes,
      files,
      stops: this.#kernel.shared.stops,
      fidelity: this.#journal.fidelity,
      running: this.#survivors.count(),
      lostEvents: stats.lostEvents,
      lostBytes: stats.lostBytes,
      losses,
      stateDir: this.#request.stateDir,
      notes: this.#ready.notes,
      started: this.#journal.started,
      // where nothing could be written any more, nothing was compared with it or healed
      ...(verdict === undefined || failed !== undefined ? {} : { audit: verdict }),
      ...(this.#base === undefined ? {} : { base: this.#base.summary }),
      ...(failed === undefined ? {} : { failed: plainError(failed) }),
    };
  }

  /** As soon as the command has started, a trace that this one replaces may go. */
  #keep(): void {
    if (this.#kept || !this.#journal.started) return;
    this.#kept = true;
    this.#writer.keep();
  }

  /** Gives up. A recording whose command has started stays as a cut trace. */
  abort(): void {
    if (this.#state !== "running") return;
    this.#state = "aborted";
    // first no more stops, then whoever was stopped goes on
    this.#kernel.shared.enabled = false;
    this.#kernel.ring.drain((_, words, offset) => {
      if (this.#freezer.isHeld(words, offset)) this.#freezer.stopped(words, offset);
    }, this.#kernel.ring.sizeBytes);
    this.#freezer.release();
    if (this.#journal.started) this.#writer.abort();
    else this.#ready.discard();
    this.#close();
  }

  #close(): void {
    this.#assist.close();
    this.#kernel.close();
    this.#ready.close();
  }
}
