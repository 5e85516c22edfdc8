/**
 * One recording, as the drain worker runs it: kernel side, baseline, ring to journal, end.
 * States: opening -> ready (attached, baseline taken) -> running (armed: the next exec of the launcher is the command) -> ended;
 * from each of them -> aborted, which leaves a trace without end row (cut) or, before `running`, none at all.
 */
import { closeSync, constants, openSync } from "node:fs";
import { arch, hostname, machine, release } from "node:os";
import { libc } from "../../ffi/libc.ts";
import { DiffKeeperError } from "../base/error.ts";
import {
  BASELINE_ROUNDS_MAX,
  DRAIN_END_MS_MAX,
  DRAIN_PAUSE_MS,
  DRAIN_TURN_BYTES_MAX,
} from "../base/limits.ts";
import { formatBytes, formatCount } from "../base/units.ts";
import { RecorderObject } from "../capture/ebpf/object.ts";
import { encodeEnd, encodeRecording } from "../format/recording_info.ts";
import { Resolver } from "../resolve/resolver.ts";
import { Tree } from "../resolve/tree.ts";
import { TraceWriter } from "../store/trace_writer.ts";
import { audit, type AuditVerdict } from "./audit.ts";
import { BaseContent, removeSaved } from "./base_content.ts";
import { isSmall, takeBaseline } from "./baseline.ts";
import { isChangedSince } from "./changed_since.ts";
import { EarlyRecords } from "./early_records.ts";
import { Freezer } from "./freezer.ts";
import { InodeStat } from "./inode_stat.ts";
import { Journal } from "./journal.ts";
import { CLOCK_BOOTTIME, CLOCK_REALTIME, clockNs } from "./kernel_clock.ts";
import { type HandleMount, LiveAssist } from "./live_assist.ts";
import { LossWatch } from "./loss_watch.ts";
import { type OpenRequest, plainError, type RecordingSummary } from "./messages.ts";
import { type LookOptions, MappedSampler } from "./mapped_sampler.ts";
import { checkPidNamespace } from "./process_ids.ts";
import { isLayeredFd, isPartialFd } from "./pseudo_fs.ts";
import { rescan } from "./rescan.ts";
import { StatCache, statCachePath } from "./stat_cache.ts";
import { Survivors } from "./survivors.ts";
import { WatchSet } from "./watch.ts";

/** Mode of the fallocate by which the recorder announces a folder to the BPF programs: ANNOUNCE_MODE of bpf/state.h. */
const ANNOUNCE_MODE = 0x7ffffff0;
/** Announced as "never record what is below": VERDICT_EXCLUDED of bpf/state.h. */
const ANNOUNCE_EXCLUDED = -2;

type State = "opening" | "ready" | "running" | "ended" | "aborted";

/** See the head of the file. */
export class Recording {
  readonly notes: string[] = [];
  readonly #request: OpenRequest;
  readonly #writer: TraceWriter;
  readonly #watch: WatchSet;
  readonly #kernel: RecorderObject;
  readonly #tree = new Tree();
  readonly #journal: Journal;
  readonly #freezer: Freezer;
  readonly #early = new EarlyRecords();
  readonly #mounts: HandleMount[] = [];
  readonly #losses: LossWatch;
  readonly #sampler: MappedSampler;
  readonly #looking: LookOptions = {
    catchUp: () => this.#drainPending(),
    now: () => Number(clockNs(CLOCK_BOOTTIME) - this.#startNs),
  };
  #assist: LiveAssist | undefined;
  /** Where the background compactor looks how full the ring is. */
  #pressure: Int32Array | undefined;
  /** With a lazy baseline. */
  #base: BaseContent | undefined;
  readonly #savedId = 1 + Math.floor(Math.random() * 0x7fff_fffe);
  #known: StatCache | undefined;
  #cachePath: string | undefined;
  #resolver: Resolver | undefined;
  #state: State = "opening";
  #kept = false;
  readonly #survivors = new Survivors(() => this.#resolver?.running() ?? []);
  #startNs = 0n;
  #ended: Promise<void> = Promise.resolve();

  private constructor(
    request: OpenRequest,
    parts: { writer: TraceWriter; watch: WatchSet; kernel: RecorderObject },
  ) {
    this.#request = request;
    this.#writer = parts.writer;
    this.#watch = parts.watch;
    this.#kernel = parts.kernel;
    this.#journal = new Journal(parts.writer, this.#tree, { index: request.index });
    if (request.pressure !== undefined) this.#pressure = new Int32Array(request.pressure);
    this.#freezer = new Freezer(request.ringBytes);
    this.#losses = new LossWatch(parts.kernel.shared);
    this.#sampler = new MappedSampler(request.mappedIntervalMs);
    this.notes.push(...parts.watch.notes);
    const [setting] = Object.entries(request.testing);
    if (setting !== undefined) this.notes.push(`recorded with a test's ${setting.join(" ")}`);
  }

  /**
   * Makes the trace, loads and attaches the kernel side, takes the baseline.
   * @throws {DiffKeeperError} whatever keeps the recording from starting; nothing is left behind.
   */
  static open(request: OpenRequest): Recording {
    checkPidNamespace();
    const { stateDir, folders, cwd, include, exclude } = request;
    const kernel = new RecorderObject(request.ringBytes, request.kernelNames, request.testing);
    const { overwrite, owner } = request;
    const writer = TraceWriter.create(stateDir, {
      overwrite,
      bulk: true,
      ...(owner === undefined ? {} : { owner }),
    });
    let recording: Recording | undefined;
    try {
      const watch = new WatchSet({ folders, cwd, stateDir: writer.dir, include, exclude });
      recording = new Recording(request, { writer, watch, kernel });
      recording.#attach();
      return recording;
    } catch (thrown) {
      if (recording === undefined) {
        writer.discard();
        kernel.close();
      } else recording.abort();
      throw thrown;
    }
  }

  /** The state-dir. */
  get dir(): string {
    return this.#writer.dir;
  }

  /** Whether what files hold is better left where it is until it is about to be destroyed. */
  get wantsGate(): boolean {
    return this.#request.baseline === "lazy" && !isSmall(this.#watch);
  }

  /**
   * Takes the baseline. With a lazy one the table for the gate stands in the memory file then.
   * @throws {DiffKeeperError} as `open`; nothing is left behind.
   */
  async takeBaseline(
    how: { tableFd: number; note?: string },
    onProgress: (text: string) => void,
  ): Promise<void> {
    if (how.note !== undefined) this.notes.push(how.note);
    if (how.tableFd >= 0) {
      const [watch, tree] = [this.#watch, this.#tree];
      this.#base = new BaseContent({ dir: this.dir, id: this.#savedId, watch, tree });
    }
    try {
      await this.#takeBaseline(onProgress);
      this.#state = "ready";
      this.#base?.table.share(how.tableFd, this.#savedId);
    } catch (thrown) {
      this.abort();
      throw thrown;
    }
  }

  #attach(): void {
    const { shared, ring } = this.#kernel;
    shared.selfTgid = process.pid;
    shared.stopMark = Math.floor(ring.sizeBytes * 0.75);
    shared.enabled = true;
    this.#kernel.attach();
    this.#announce(this.#writer.dir, ANNOUNCE_EXCLUDED, false);
    for (const { path, index } of this.#watch.roots) this.#announce(path, index, true);
    shared.layered = this.#mounts.some(({ fd }) => isLayeredFd(fd));
    shared.devs = [...new Set(this.#mounts.map((mount) => mount.dev))];
    for (const stream of [1, 2] as const) this.#announceOutput(stream);
  }

  #announce(path: string, index: number, keep: boolean): void {
    const fd = openSync(Buffer.from(path, "latin1"), constants.O_RDONLY | constants.O_DIRECTORY);
    libc.fallocate(fd, ANNOUNCE_MODE, index, 0);
    if (!keep) return closeSync(fd);
    const stat = new InodeStat();
    if (stat.readFd(fd) !== 0) throw new DiffKeeperError("io", `cannot look at "${path}"`);
    this.#mounts.push({ dev: stat.dev, fd });
  }

  /** Watched devices on which a call may move or remove an inode without touching it. */
  #partial(): Set<number> {
    return new Set(this.#mounts.filter(({ fd }) => isPartialFd(fd)).map(({ dev }) => dev));
  }

  #announceOutput(stream: 1 | 2): void {
    const stat = new InodeStat();
    if (stat.readFd(stream) === 0) this.#kernel.shared.setOutput(stream, stat.dev, stat.ino);
  }

  async #takeBaseline(onProgress: (text: string) => void): Promise<void> {
    const timer = setInterval(() => this.#drainEarly(), DRAIN_PAUSE_MS * 10);
    try {
      this.#writer.begin();
      this.#writer.putRecording(this.#info());
      this.#writer.commit();
      const { cache } = this.#request;
      const folders = this.#watch.roots.map((root) => root.path);
      this.#cachePath = cache === undefined ? undefined : statCachePath(cache.home, folders);
      this.#known = new StatCache(this.#cachePath);
      const mode = this.#base !== undefined
        ? "lazy"
        : this.#request.baseline === "none"
        ? "none"
        : "full";
      const summary = await takeBaseline({
        mode,
        known: this.#known,
        ...(this.#base === undefined ? {} : { table: this.#base.table }),
        watch: this.#watch,
        tree: this.#tree,
        trace: this.#writer,
        ...(this.#request.baselineBytesMax === undefined
          ? {}
          : { bytesMax: this.#request.baselineBytesMax }),
        onProgress: ({ files, totalFiles, bytes }) =>
          onProgress(
            `copying the folder's state: ${formatCount(files)} of ${
              formatCount(totalFiles)
            } files, ${formatBytes(bytes)}`,
          ),
      });
      const { gaps, gapTexts: [first = ""] } = summary;
      if (gaps > 0) this.notes.push(`${gaps} not readable before the start: ${first}`);
      this.#settle(summary.rows);
      this.#putLinked();
    } finally {
      clearInterval(timer);
    }
    this.#writer.startLog();
  }

  /** Files with several names may be opened by one outside: the kernel side is told which they are. */
  #putLinked(): void {
    for (let id = 1; id < this.#tree.nextId; id++) {
      const node = this.#tree.node(id);
      if (node === undefined || !node.isFile || node.nlink < 2) continue;
      this.#kernel.putLinked(node, this.#tree.rootOf(id));
    }
  }

  /** Looks again at what other processes changed while the baseline was taken, a few times at most. */
  #settle(baselineRows: number): void {
    let rows = baselineRows;
    const { dropped } = this.#early;
    if (dropped > 0) this.notes.push(`${dropped} changes before the start were too many to follow`);
    for (let round = 0; round < BASELINE_ROUNDS_MAX; round++) {
      this.#drainEarly();
      const paths = this.#early.takeChangedPaths(this.#tree);
      if (paths.length === 0) return;
      rows = rescan({
        watch: this.#watch,
        tree: this.#tree,
        trace: this.#writer,
        rows,
        onEvent: (event) => this.#base?.settled(event),
      }, paths);
    }
  }

  #drainEarly(): void {
    this.#kernel.ring.drain(
      (bytes, words, offset) => this.#early.take(bytes, words, offset),
      DRAIN_TURN_BYTES_MAX,
    );
  }

  #info() {
    return encodeRecording({
      argv: this.#request.argv,
      cwd: this.#request.cwd,
      name: this.#request.name,
      envNames: this.#request.envNames,
      rootPaths: this.#watch.roots.map((root) => root.path),
      startEpochNs: clockNs(CLOCK_REALTIME),
      kernel: release(),
      machine: machine(),
      host: hostname(),
      tracer: `ebpf (${this.#kernel.hooks.join(", ")})`,
      ...(this.#base === undefined ? {} : { savedId: this.#savedId }),
      versions: { diffkeeper: this.#request.version, bun: Bun.version, trace: "1" },
    });
  }

  /** From now on the next exec of `pid` is the command. `cgroup`: folder of its own cgroup. */
  arm(pid: number, cgroup?: string): void {
    this.#drainEarly();
    this.#startNs = clockNs(CLOCK_BOOTTIME);
    this.#writer.begin();
    this.#writer.putRecording(this.#info());
    this.#writer.commit();
    this.#assist = new LiveAssist(
      this.#mounts,
      (inode, root) => this.#kernel.putLinked(inode, root),
    );
    this.#resolver = new Resolver(this.#tree, {
      roots: this.#watch.roots.map((root) => ({
        path: root.path,
        node: this.#tree.roots[root.index]?.id ?? 0,
      })),
      excluded: (path, isDir, root) => this.#watch.excluded(path, isDir, root),
      startNs: this.#startNs,
      firstLockSeq: this.#kernel.shared.lockCounter + 1,
      arch: arch() === "arm64" ? "arm64" : "x64",
      partial: this.#partial(),
      assist: this.#assist,
      isChangedSince: (ino, pid) => isChangedSince(this.#kernel.ring, ino, pid),
    }, this.#journal);
    this.#base?.start({
      journal: this.#journal,
      assist: this.#assist,
      startNs: this.#startNs,
    });
    this.#early.replay((bytes, words, offset) => this.#resolver?.accept(bytes, words, offset));
    if (cgroup !== undefined) this.#freezer.hold(cgroup);
    this.#kernel.shared.launcherTgid = pid;
    this.#state = "running";
  }

  /** Drains until `end`. Resolves when the last turn is over. */
  async run(): Promise<void> {
    let over: () => void = () => undefined;
    this.#ended = new Promise((resolve) => over = resolve);
    try {
      while (this.#state === "running") {
        const bytes = this.#turn();
        if (bytes === 0) this.#idle();
        if (this.#resolver !== undefined) this.#sampler.turn(this.#resolver, this.#looking);
        // a turn of the event loop for messages; a pause when there was nothing
        await Bun.sleep(this.#request.testing.drainDelayMs ?? (bytes > 0 ? 0 : DRAIN_PAUSE_MS));
      }
    } finally {
      over();
    }
  }

  #idle(): void {
    this.#resolver?.idle(clockNs(CLOCK_BOOTTIME));
    this.#journal.syncDue();
    this.#base?.take();
  }

  #turn(): number {
    const { ring } = this.#kernel;
    const resolver = this.#resolver;
    if (resolver === undefined) return 0;
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
  async end(exitCode: number): Promise<RecordingSummary> {
    const endNs = Number(clockNs(CLOCK_BOOTTIME) - this.#startNs);
    this.#state = "ended";
    await this.#ended;
    const resolver = this.#resolver;
    if (resolver === undefined) {
      throw new DiffKeeperError("defect", "the recording was never armed");
    }
    this.#drainAll(resolver);
    this.#freezer.release();
    this.#sampler.note(resolver, this.#journal, this.#looking.now());
    const verdict = this.#audit(resolver);
    this.#base?.seal(() => Number(clockNs(CLOCK_BOOTTIME) - this.#startNs));
    this.#journal.finish();
    const summary = this.#summary(endNs, resolver, verdict);
    if (!summary.started) {
      this.#discard();
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
    if (this.#cachePath !== undefined) {
      this.#known?.save(this.#cachePath, this.#request.cache?.owner);
    }
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

  /** Compares the folders with what was recorded; nothing to compare when recording had to stop. */
  #audit(resolver: Resolver): AuditVerdict | undefined {
    if (!this.#request.audit || !this.#journal.started || this.#journal.failed !== undefined) {
      return undefined;
    }
    return audit({
      watch: this.#watch,
      tree: this.#tree,
      sink: this.#journal,
      reread: this.#suspects(resolver),
      catchUp: () => this.#drainAll(resolver),
      endNs: () => Number(clockNs(CLOCK_BOOTTIME) - this.#startNs),
    });
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
    const { bytes, files } = failed === undefined ? stats : this.#journal.stored;
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
      notes: this.notes,
      started: this.#journal.started,
      ...(verdict === undefined ? {} : { audit: verdict }),
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

  /** The command never started. */
  #discard(): void {
    if (this.#base !== undefined) removeSaved(this.dir);
    this.#writer.discard();
  }

  /** Gives up. A recording whose command has started stays as a cut trace. */
  abort(): void {
    if (this.#state === "aborted" || this.#state === "ended") return;
    this.#state = "aborted";
    // first no more stops, then whoever was stopped goes on
    this.#kernel.shared.enabled = false;
    this.#kernel.ring.drain((_, words, offset) => {
      if (this.#freezer.isHeld(words, offset)) this.#freezer.stopped(words, offset);
    }, this.#kernel.ring.sizeBytes);
    this.#freezer.release();
    if (this.#journal.started) this.#writer.abort();
    else this.#discard();
    this.#close();
  }

  #close(): void {
    this.#assist?.close();
    for (const { fd } of this.#mounts) closeSync(fd);
    this.#mounts.length = 0;
    this.#kernel.close();
  }
}
