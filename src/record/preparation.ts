/**
 * What comes before the command runs: the trace and the command's cgroup are made, the watched folders announced to the kernel side,
 * the baseline taken, and what others change meanwhile looked at again. Until `connect` nothing of it needs the kernel side, which
 * another thread loads meanwhile.
 * States: opened -> connected -> ready (baseline taken) -> handed over to a Recording, or discarded, which leaves nothing behind.
 */
import { closeSync, constants, existsSync, openSync } from "node:fs";
import { hostname, machine, release } from "node:os";
import { libc } from "../../ffi/libc.ts";
import { DiffKeeperError } from "../base/error.ts";
import { BASELINE_ROUNDS_MAX, DRAIN_PAUSE_MS, DRAIN_TURN_BYTES_MAX } from "../base/limits.ts";
import { formatBytes, formatCount } from "../base/units.ts";
import { type KernelHandles, KernelSide } from "../capture/ebpf/kernel_side.ts";
import { showOwnPage } from "../capture/ebpf/own_page.ts";
import { encodeRecording } from "../format/recording_info.ts";
import { Tree } from "../resolve/tree.ts";
import { TRACE_VERSION } from "../store/schema.ts";
import { TraceWriter } from "../store/trace_writer.ts";
import { BaseContent, removeSaved } from "./base_content.ts";
import { isSmall, rehearse, takeBaseline } from "./baseline.ts";
import { EarlyRecords } from "./early_records.ts";
import { FolderAhead } from "./folder_ahead.ts";
import { makeCommandCgroup, removeCommandCgroup } from "./freezer.ts";
import { InodeStat } from "./inode_stat.ts";
import { CLOCK_REALTIME, clockNs } from "./kernel_clock.ts";
import { holdRoom } from "./last_words.ts";
import type { HandleMount } from "./live_assist.ts";
import type { OpenRequest } from "./messages.ts";
import { checkPidNamespace } from "./process_ids.ts";
import { isLayeredFd } from "./pseudo_fs.ts";
import { rescan } from "./rescan.ts";
import { StatCache, statCachePath } from "./stat_cache.ts";
import { WatchSet } from "./watch.ts";

/** Mode of the fallocate by which the recorder announces a folder to the BPF programs: ANNOUNCE_MODE of bpf/state.h. */
const ANNOUNCE_MODE = 0x7ffffff0;
/** Announced as "never record what is below": VERDICT_EXCLUDED of bpf/state.h. */
const ANNOUNCE_EXCLUDED = -2;

/** See the head of the file. */
export class Preparation {
  readonly notes: string[] = [];
  readonly request: OpenRequest;
  readonly writer: TraceWriter;
  readonly watch: WatchSet;
  readonly tree = new Tree();
  readonly early = new EarlyRecords();
  readonly mounts: HandleMount[] = [];
  /** Folder of the command's own cgroup; undefined: not available. */
  readonly cgroup: string | undefined;
  readonly #savedId = 1 + Math.floor(Math.random() * 0x7fff_fffe);
  #kernel: KernelSide | undefined;
  #base: BaseContent | undefined;
  #isLazy = false;
  #cachePath: string | undefined;
  #known = new StatCache();
  readonly #rehearsal = new AbortController();
  #rehearsed: Promise<void> = Promise.resolve();
  #ahead: FolderAhead | undefined;
  #isDiscarded = false;

  private constructor(request: OpenRequest, parts: { writer: TraceWriter; watch: WatchSet }) {
    this.request = request;
    this.writer = parts.writer;
    this.watch = parts.watch;
    this.cgroup = makeCommandCgroup(request.launcherPid);
    this.notes.push(...parts.watch.notes);
    const [setting] = Object.entries(request.testing);
    if (setting !== undefined) this.notes.push(`recorded with a test's ${setting.join(" ")}`);
  }

  /**
   * Makes the trace and the cgroup.
   * @throws {DiffKeeperError} whatever keeps the recording from starting; nothing is left behind.
   */
  static open(request: OpenRequest): Preparation {
    checkPidNamespace();
    const { stateDir, folders, cwd, include, exclude, overwrite, owner, busyMs } = request;
    const writer = TraceWriter.create(stateDir, {
      overwrite,
      bulk: true,
      ...(owner === undefined ? {} : { owner }),
      ...(busyMs === undefined ? {} : { busyMs }),
    });
    holdRoom(writer.dir);
    let preparation: Preparation | undefined;
    try {
      const watch = new WatchSet({ folders, cwd, stateDir: writer.dir, include, exclude });
      preparation = new Preparation(request, { writer, watch });
      preparation.#rehearse();
      return preparation;
    } catch (thrown) {
      if (preparation === undefined) writer.discard();
      else preparation.discard();
      throw thrown;
    }
  }

  /** The attached kernel side. */
  get kernel(): KernelSide {
    if (this.#kernel === undefined) {
      throw new DiffKeeperError("defect", "the kernel side is not connected");
    }
    return this.#kernel;
  }

  /** With a lazy baseline. */
  get base(): BaseContent | undefined {
    return this.#base;
  }

  /** Whether what files hold is better left where it is until it is about to be destroyed. */
  get wantsGate(): boolean {
    return this.#isLazy;
  }

  /** Uses the time until the kernel side is there: decides on the baseline, and goes through a lazy one for nothing. */
  #rehearse(): void {
    const { baseline, cache } = this.request;
    if (baseline === "full") return;
    const { watch } = this;
    const { signal } = this.#rehearsal;
    const folders = watch.roots.map((root) => root.path);
    const cachePath = cache === undefined ? undefined : statCachePath(cache.home, folders);
    // large the last time: threads can begin to start
    if (cachePath !== undefined && existsSync(cachePath)) this.#ahead = new FolderAhead();
    this.#isLazy = baseline === "lazy" && !isSmall(watch);
    if (baseline === "lazy" && !this.#isLazy) {
      this.#ahead?.close();
      this.#ahead = undefined;
      // little is copied: it may go through the log
      this.writer.startLog();
      this.#rehearsed = rehearse({ watch, known: this.#known, mode: "full", signal });
      return;
    }
    this.#ahead ??= new FolderAhead();
    this.#cachePath = cachePath;
    this.#known = new StatCache(this.#cachePath);
    this.#rehearsed = rehearse({
      watch,
      known: this.#known,
      ahead: this.#ahead,
      mode: "lazy",
      signal,
    });
  }

  /**
   * The kernel side is attached: from now on nothing that happens in the watched folders is missed.
   * @throws {DiffKeeperError} a folder cannot be announced.
   */
  connect(handles: KernelHandles): void {
    this.#rehearsal.abort();
    this.#kernel = new KernelSide(handles);
    const { shared } = this.#kernel;
    this.#announce(this.writer.dir, ANNOUNCE_EXCLUDED, false);
    for (const { path, index } of this.watch.roots) this.#announce(path, index, true);
    shared.layered = this.mounts.some(({ fd }) => isLayeredFd(fd));
    shared.devs = [...new Set(this.mounts.map((mount) => mount.dev))];
    for (const stream of [1, 2] as const) this.#announceOutput(stream);
    showOwnPage();
  }

  #announce(path: string, index: number, keep: boolean): void {
    const fd = openSync(Buffer.from(path, "latin1"), constants.O_RDONLY | constants.O_DIRECTORY);
    libc.fallocate(fd, ANNOUNCE_MODE, index, 0);
    if (!keep) return closeSync(fd);
    const stat = new InodeStat();
    if (stat.readFd(fd) !== 0) throw new DiffKeeperError("io", `cannot look at "${path}"`);
    this.mounts.push({ dev: stat.dev, fd });
  }

  #announceOutput(stream: 1 | 2): void {
    const stat = new InodeStat();
    if (stat.readFd(stream) === 0) this.kernel.shared.setOutput(stream, stat.dev, stat.ino);
  }

  /**
   * Takes the baseline. With a lazy one the table for the gate stands in the memory file then.
   * @throws {DiffKeeperError} what keeps the recording from starting.
   */
  async takeBaseline(
    how: { tableFd: number; note?: string },
    onProgress: (text: string) => void,
  ): Promise<void> {
    if (how.note !== undefined) this.notes.push(how.note);
    if (how.tableFd >= 0) {
      const { watch, tree } = this;
      this.#base = new BaseContent({ dir: this.writer.dir, id: this.#savedId, watch, tree });
      this.#base.table.expect(this.#known.expected);
    }
    await this.#rehearsed;
    const timer = setInterval(() => this.drainEarly(), DRAIN_PAUSE_MS * 10);
    try {
      this.putInfo();
      const summary = await this.#takeBaseline(onProgress);
      const { gaps, gapTexts: [first = ""] } = summary;
      if (gaps > 0) this.notes.push(`${gaps} not readable before the start: ${first}`);
      this.#settle(summary.rows);
      this.#putLinked();
    } finally {
      clearInterval(timer);
      this.#ahead?.close();
    }
    this.writer.startLog();
    this.#base?.table.share(how.tableFd, this.#savedId);
  }

  #takeBaseline(onProgress: (text: string) => void) {
    const { baseline, baselineBytesMax } = this.request;
    const { watch, tree, writer: trace } = this;
    const known = this.#known;
    return takeBaseline({
      mode: this.#base !== undefined ? "lazy" : baseline === "none" ? "none" : "full",
      known,
      ...(this.#ahead === undefined ? {} : { ahead: this.#ahead }),
      ...(this.#base === undefined ? {} : { table: this.#base.table }),
      watch,
      tree,
      trace,
      ...(baselineBytesMax === undefined ? {} : { bytesMax: baselineBytesMax }),
      onProgress: ({ files, totalFiles, bytes }) =>
        onProgress(
          `copying the folder's state: ${formatCount(files)} of ${formatCount(totalFiles)} files, ${
            formatBytes(bytes)
          }`,
        ),
    });
  }

  /** Files with several names may be opened by one outside: the kernel side is told which they are. */
  #putLinked(): void {
    for (const node of this.tree.unpacked()) {
      if (!node.isFile || node.nlink < 2) continue;
      this.kernel.putLinked(node, this.tree.rootOf(node.id));
    }
  }

  /** Looks again at what other processes changed while the baseline was taken, a few times at most. */
  #settle(baselineRows: number): void {
    let rows = baselineRows;
    const { dropped } = this.early;
    if (dropped > 0) this.notes.push(`${dropped} changes before the start were too many to follow`);
    for (let round = 0; round < BASELINE_ROUNDS_MAX; round++) {
      this.drainEarly();
      const paths = this.early.takeChangedPaths(this.tree);
      if (paths.length === 0) return;
      rows = rescan({
        watch: this.watch,
        tree: this.tree,
        trace: this.writer,
        rows,
        onEvent: (event) => this.#base?.settled(event),
      }, paths);
    }
  }

  /** Takes what has happened so far; the last time when the command is about to start. */
  drainEarly(): void {
    this.kernel.ring.drain(
      (bytes, words, offset) => this.early.take(bytes, words, offset),
      DRAIN_TURN_BYTES_MAX,
    );
  }

  /** Writes what is known of the recording; again when it starts, which is its time. */
  putInfo(): void {
    const { argv, cwd, name, envNames, include, exclude, version } = this.request;
    this.writer.begin();
    this.writer.putRecording(encodeRecording({
      argv,
      cwd,
      name,
      envNames,
      rootPaths: this.watch.roots.map((root) => root.path),
      include,
      exclude,
      startEpochNs: clockNs(CLOCK_REALTIME),
      kernel: release(),
      machine: machine(),
      host: hostname(),
      tracer: `ebpf (${this.kernel.hooks.join(", ")})`,
      ...(this.#base === undefined ? {} : { savedId: this.#savedId }),
      versions: { diffkeeper: version, bun: Bun.version, trace: String(TRACE_VERSION) },
    }));
    this.writer.commit();
  }

  /** For the next recording of these folders. */
  saveCache(): void {
    if (this.#cachePath !== undefined) this.#known.save(this.#cachePath, this.request.cache?.owner);
  }

  /** Nothing was recorded and nothing is left behind. */
  discard(): void {
    if (this.#isDiscarded) return;
    this.#isDiscarded = true;
    this.#rehearsal.abort();
    this.#ahead?.close();
    this.#kernel?.close();
    if (this.#base !== undefined) removeSaved(this.writer.dir);
    this.writer.discard();
    this.close();
  }

  /** Gives back what `connect` opened, and the cgroup. */
  close(): void {
    for (const { fd } of this.mounts) closeSync(fd);
    this.mounts.length = 0;
    if (this.cgroup !== undefined) removeCommandCgroup(this.cgroup);
  }
}
