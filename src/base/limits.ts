/**
 * Every named limit of DiffKeeper, in one place, so that related limits can be seen and asserted together.
 * Convention: UPPER_SNAKE with the unit last (`JOURNAL_BYTES_MAX`, `FLUSH_INTERVAL_MS`); the docstring says what is
 * bounded, why this number, and what happens when it is reached. A limit of the kernel names its source. Limits that
 * depend on each other are asserted at the end of this file.
 */
import { assert } from "./assert.ts";

/** How many causes an error report follows before it stops; a longer chain is a loop. Further causes are not shown. */
export const ERROR_CAUSES_MAX = 8;

/** How long a task runs before a progress line appears on the terminal; shorter tasks stay silent. */
export const PROGRESS_DELAY_MS = 1_000;

/** Shortest time between two redraws of the progress line; calls in between are ignored. */
export const PROGRESS_INTERVAL_MS = 100;

/** How much text a result collects before it is written to stdout in one call; a longer line is written alone. */
export const RESULT_BLOCK_CHARS = 65_536;

/** Pause between two writes of result lines that are few, while the next may take long to find. */
export const RESULT_PACE_MS = 100;

/** How long a write waits before it tries a full, non-blocking stdout again. */
export const RESULT_RETRY_MS = 2;

assert(
  PROGRESS_INTERVAL_MS <= PROGRESS_DELAY_MS,
  "a progress line must redraw faster than it waits",
);

// --- The trace file (docs/FORMAT.md; src/format, src/store) ---

/** Bytes of events at which the drain should flush a batch (soft: one more event may exceed it). Keeps rows cheap to read. */
export const JOURNAL_BATCH_BYTES_MAX = 1 << 20;

/** Bytes of one encoded event: an argv of 2 MiB (ARG_MAX) or 690,000 extents fit. A bigger event is `limit_exceeded`. */
export const EVENT_BYTES_MAX = 1 << 24;

/** Payload from this size on belongs in a `d:` row; smaller payload stands in the batch, where a copy costs less than a row. */
export const PAYLOAD_INLINE_BYTES_MAX = 1 << 16;

/** Bytes of one value of the trace with its envelope. A writer refuses a larger one, a reader calls it `data_corrupt`. */
export const TRACE_VALUE_BYTES_MAX = 1 << 26;

/** Bytes of a path in an `m:` key; Linux has no limit for relative walks, 4096 per call. A longer path is `limit_exceeded`. */
export const TRACE_PATH_BYTES_MAX = 1 << 18;

/** Bytes of one content chunk `c:`; larger content is cut into chunks of this size. */
export const CONTENT_CHUNK_BYTES_MAX = 1 << 20;

/**
 * SQLite page of a trace. Each flush rewrites the pages it touches into the log: a flush of one event costs 56 KB with this
 * size, 200 KB with 64 KiB, for 1.2 against 1.5 GB/s of large values (both measured).
 */
export const TRACE_PAGE_BYTES = 1 << 14;

/** How long the writer waits for a lock of the trace that a reader holds; then `in_use`. */
export const TRACE_BUSY_MS = 2_000;

/** Payload bytes a reader keeps in memory; the least recently used rows go first. */
export const READER_CACHE_BYTES_MAX = 1 << 26;

/** Slabs of 1 MiB in which a reader keeps what happened to contents: their positions are u32. */
export const CONTENT_SLABS_MAX = 4_095;

/** Blobs that may be followed to unpack one; the compactor makes at most 72. Longer is damage. */
export const BLOB_CHAIN_MAX = 80;

/** Rows a reader fetches at once where it lists small rows (processes, versions). */
export const READER_PAGE_ROWS_MAX = 1_000;

/** Free bytes below which a failed write is reported as `disk_full`, whatever SQLite calls it. */
export const DISK_FREE_BYTES_MIN = 1 << 18;

/** A lock file without readable content is a recorder just starting for this long, and a leftover afterwards. */
export const LOCK_EMPTY_GRACE_MS = 2_000;

assert(
  JOURNAL_BATCH_BYTES_MAX + EVENT_BYTES_MAX < TRACE_VALUE_BYTES_MAX,
  "a batch with its largest last event must fit in a value",
);
assert(CONTENT_CHUNK_BYTES_MAX < TRACE_VALUE_BYTES_MAX, "a content chunk must fit in a value");
assert(
  PAYLOAD_INLINE_BYTES_MAX <= JOURNAL_BATCH_BYTES_MAX,
  "inline payload must not be larger than a batch",
);

// --- The kernel side (bpf/, src/capture, src/record) ---

/** Watched filesystems that the BPF programs compare with: DEVS_MAX of bpf/state.h. More is `limit_exceeded`. */
export const DEVS_WATCHED_MAX = 16;

/** Size of the ring buffer; a power of two. 32 MiB hold 180,000 small writes: a third of a second at full speed. */
export const RING_BYTES = 1 << 25;

/** Smallest and largest ring that can be asked for (tests fill small ones; 2^31 is the kernel's limit, 2^30 ours). */
export const RING_BYTES_MIN = 1 << 18;
export const RING_BYTES_MAX = 1 << 30;

/** Bytes of the message that starts the command: its arguments and environment (the kernel's own limit depends on that of the stack, execve(2); usually 2 MiB). */
export const LAUNCH_PLAN_BYTES_MAX = 1 << 24;

/** Age at which events are committed: half of the 200 ms that a killed recorder may lose. */
export const FLUSH_INTERVAL_MS = 100;

/** Shortest time between two syncs of the log; one happens only when the ring is empty, because it makes the disk busy. */
export const SYNC_INTERVAL_MS = 1_000;

/** Bytes of a data row `d:`: large payload is gathered up to here. */
export const JOURNAL_DATA_BYTES_MAX = 1 << 20;

/** Bytes after which a transaction is committed before its time, to bound memory. */
export const JOURNAL_TRANSACTION_BYTES_MAX = 1 << 25;

/** Versions that wait in memory (56 bytes each) until their `m:` rows are written. */
export const VERSION_INDEX_EVENTS_MAX = 250_000;

/** Bytes taken from the ring before the drain looks at the clock and at messages. */
export const DRAIN_TURN_BYTES_MAX = 1 << 24;

/** Pause of the drain when there was little in the ring, in milliseconds. */
export const DRAIN_PAUSE_MS = 2;

/** Little: what a look into the ring may find without being followed by the next look at once. */
export const DRAIN_LITTLE_BYTES = 1 << 16;

/** Pauses that are made in a row without a turn of the event loop; a message ends a pause. */
export const DRAIN_PAUSES_MAX = 25;

/** Files that programs outside have mapped since before the recording, of which each is told. */
export const MAPPED_OUTSIDE_SHOWN_MAX = 100;

/** Piece in which the audit reads a file. */
export const AUDIT_READ_BYTES = 1 << 18;

/** Time that the audit takes to compare contents unless told otherwise: this part of the recording's, within these bounds. */
export const AUDIT_CONTENT_PART = 0.05;
export const AUDIT_CONTENT_MS_MIN = 1_000;
export const AUDIT_CONTENT_MS_MAX = 10_000;

/** How often files that are mapped shared and writable are compared while the command runs, unless --mmap-interval says otherwise. */
export const MAPPED_INTERVAL_MS = 20;

/** Bounds of --mmap-interval: the drain's own pause, and what still may be called a resolution. */
export const MAPPED_INTERVAL_MS_MIN = 2;
export const MAPPED_INTERVAL_MS_MAX = 60_000;

/** A look that takes longer than this part of the interval makes the interval longer: a quarter of one core at most. */
export const MAPPED_LOOK_PART = 0.25;

/** Known content of mapped files that is kept to compare with, holes not counted. A file beyond is read at the end, with a note. */
export const MAPPED_SHADOW_BYTES_MAX = 256 << 20;

/** Mapped files that are compared at the same time: each keeps a descriptor. */
export const MAPPED_FILES_MAX = 256;

/** Mapped files are read, compared and kept in pieces of this size. */
export const MAPPED_CHUNK_BYTES = 1 << 16;

/** Records of the ring that are looked through, when a mapped file is compared, for later changes of it by others. */
export const MAPPED_AHEAD_BYTES_MAX = 1 << 20;

/** Changed bytes that one look between sync points takes; the rest follows with the next. */
export const MAPPED_LOOK_BYTES_MAX = 32 << 20;

/** Changes of one file at one moment that lie nearer than this become one event. */
export const MAPPED_JOIN_BYTES = 64;

/** How long the end of a recording waits for records that are still being written, in milliseconds. */
export const DRAIN_END_MS_MAX = 2_000;

/** Open files that the recorder needs: the runtime duplicates descriptors to numbers above 100 when it starts a process. */
export const OPEN_FILES_MIN = 256;

/** Pause between two looks at whether processes of the command are still alive (`record --wait`). */
export const WAIT_PAUSE_MS = 20;

/** Entries of a folder moved in from outside that are taken over; the rest is found by their first change. */
export const IMPORT_ENTRIES_MAX = 1_000_000;

/** How often the baseline looks again at paths that others change meanwhile; later changes are events at the start. */
export const BASELINE_ROUNDS_MAX = 3;

/**
 * Data and files of watched folders that are copied before the start even with a lazy baseline: up to here the copy costs
 * less than the gate. A larger tree is left where it is, and what is about to be destroyed is saved.
 */
export const EAGER_BYTES_MAX = 1 << 22;
export const EAGER_FILES_MAX = 256;

/** Files up to here are saved as records of a segment; larger ones as files of their own, by clone or link where that is possible. */
export const SAVED_INLINE_BYTES_MAX = 1 << 20;

/** Bytes of a segment of saved contents; the next begins a new one. The recorder takes a segment into memory as a whole. */
export const SAVED_SEGMENT_BYTES = 1 << 24;

/** How long the end of a recording waits for a content that is being saved, in milliseconds. */
export const GATE_CLOSE_MS_MAX = 10_000;

/** Entries of a stat cache (32 bytes each, half of the slots are free); of larger trees the rest is learned anew each time. */
export const STAT_CACHE_ENTRIES_MAX = 1 << 20;

/** Folders that are looked at ahead of a scan (200 KB each), and threads that do so. */
export const SCAN_AHEAD_FOLDERS = 16;
export const SCAN_THREADS_MAX = 3;

/** Stat caches kept, one for each set of watched folders; the oldest go first. */
export const STAT_CACHE_FILES_MAX = 16;

/** Bytes of records of changes before the start that are kept; more are counted and left to the next look. */
export const EARLY_CHANGES_BYTES_MAX = 1 << 24;

/** Names in a kernel's type information (2 MiB in Linux 6.18). */
export const BTF_STRINGS_BYTES_MAX = 1 << 26;

// --- Codecs (wasm/; docs/FORMAT.md, "Codecs") ---

/** Bytes of base that one suffix array covers: 5 bytes of memory each. Of a larger base the best window is chosen. */
export const DELTA_BASE_WINDOW_BYTES = 1 << 24;

/** Bytes of target in one section of a delta; part of the format. A larger target is cut. */
export const DELTA_SECTION_BYTES_MAX = 1 << 23;

/** Steps at which windows of a large base may begin: two sections often share a window, and its suffix array. */
export const DELTA_WINDOW_STEP_BYTES = 1 << 22;

/** Bytes of the control numbers of a section; part of the format. This encoder needs 1.3 for each byte of the section. */
export const DELTA_CONTROL_BYTES_MAX = 1 << 25;

/** Bytes of base and of target that a delta may have; part of the format. A larger one is `limit_exceeded`. */
export const DELTA_INPUT_BYTES_MAX = 1 << 30;

/** Equal bytes from which a run inside a region is told as a copy; shorter ones are zeros among the differences. Measured. */
export const DELTA_COPY_BYTES_MIN = 8;
/** The same where time counts: fewer entries to write and to read, and no larger with what is written then. Measured. */
export const DELTA_FAST_COPY_BYTES_MIN = 32;

/** Memory of the WebAssembly instance with the largest windows; proved with 200 MB inputs (tests/proofs/bsdiff.ts). */
export const CODEC_MEMORY_BYTES_MAX = 144 << 20;

/** Bytes of a base that zstd takes as prefix, and of what is encoded with one: both fit in the largest window, 2^27. */
export const ZSTD_PREFIX_BYTES_MAX = 1 << 26;

/** Largest zstd window that is written or read, as power of two: what any zstd decoder takes without asking. */
export const ZSTD_WINDOW_LOG_MAX = 27;

/** Largest match tables with a prefix, as power of two of 4-byte entries; twice of each: the prefix has its own. */
export const ZSTD_TABLE_LOG_MAX = 24;

/** Content-defined chunks: no border before, the size wanted, a border at the latest. Part of what makes chunks equal. */
export const CHUNK_BYTES_MIN = 1 << 13;
export const CHUNK_BYTES_WANTED = 1 << 15;
export const CHUNK_BYTES_MAX = 1 << 17;

assert(
  DELTA_BASE_WINDOW_BYTES % DELTA_WINDOW_STEP_BYTES === 0,
  "windows of a base must begin and end on steps",
);
assert(
  2 * ZSTD_PREFIX_BYTES_MAX <= 2 ** ZSTD_WINDOW_LOG_MAX,
  "a prefix and what follows it must fit in a window",
);
assert(
  CHUNK_BYTES_MIN < CHUNK_BYTES_WANTED && CHUNK_BYTES_WANTED < CHUNK_BYTES_MAX &&
    CHUNK_BYTES_MAX <= CONTENT_CHUNK_BYTES_MAX,
  "a content-defined chunk must fit in a content row",
);

// --- Compaction (src/compact, src/format/packed_*) ---

/** Free bytes of a trace from which on it is worth writing anew to give them back. */
export const TRACE_VACUUM_BYTES_MIN = 1 << 16;

/** SQLite page of a trace written anew: packed rows are small, and each wastes half a page. */
export const TRACE_PACKED_PAGE_BYTES = 1 << 12;

/** Versions of a file that are differences from each other; then one is stored whole again. Each names a base by one byte. */
export const SERIES_INDEX_MAX = 127;

/** Of a series every so manieth version is a difference from a much earlier one, so that chains stay short. */
export const SERIES_STRIDE = 16;

/** Content from this size on is cut where its bytes say so, that equal parts are found wherever they stand. */
export const CHUNKED_BYTES_MIN = 1 << 18;

/** Content is compressed together up to this size, and whoever reads a part unpacks it all, and up to seven others it needs. */
export const SOLID_BYTES_MAX = 1 << 23;

/** Content that was put together is a prefix for the next from this size on. */
export const SOLID_PREFIX_BYTES_MIN = 1 << 19;

/** A larger file that is new is not put together with others: it may come again as a whole. */
export const SOLID_FILE_BYTES_MAX = 1 << 19;

/** Of contents of the start smaller ones are compressed together up to this size: any of them may be read alone, and kept alone. */
export const START_SOLID_BYTES_MAX = 1 << 20;
export const START_FILE_BYTES_MAX = 1 << 16;

/** From this size on a file whose earlier version is far away is a difference from it; what one costs beside its bytes. */
export const ALONE_BYTES_MIN = 1 << 8;
export const ALONE_COST_BYTES = 64;

/** Bytes that were written here and there in a file are a difference from its earlier version up to this size. */
export const ALONE_PIECES_BYTES_MAX = 1 << 16;

/** Content that takes more than this when stored gets a `c:` row, where equal content is found; less stands in its batch's row. */
export const CONTENT_ROW_BYTES_MIN = 1 << 11;

/** Text from this size on is looked at whether it is lines with numbers; the longest line, and how many sorts there may be. */
export const LINES_BYTES_MIN = 1 << 14;
export const LINE_BYTES_MAX = 1 << 12;
export const LINE_TEMPLATES_MAX = 1 << 12;

/** A file that is written in smaller pieces is a log or grows like one, and no copy of another: it is not cut into chunks. */
export const LOG_PIECE_BYTES_MAX = 1 << 10;

/** Bytes of an earlier version that are looked through at once. */
export const BASE_BYTES_MAX = 1 << 18;

/** Content from this size on may be a difference from a range of an earlier version, if that takes at most this part of it. */
export const DELTA_BYTES_MIN = 1 << 16;
export const DELTA_PART_MAX = 1 / 16;

/** Of the bytes a difference is made of, the part that may be new; with more it is not tried to the end. */
export const DELTA_EXTRA_PART_MAX = 1 / 8;

/** Such differences in a chain at most; then one is made from so early a version that the chain has at most so many. */
export const DELTA_CHAIN_MAX = 16;
export const DELTA_ANCHOR_CHAIN_MAX = 2;

/** Rows of large writes that were packed last, kept as they were: the next version is a difference from them. */
export const DELTA_RECENT_BYTES_MAX = 40 << 20;

/** Bytes of blobs that differences from several blobs may need at once to be unpacked. More is damage. */
export const BLOB_SHARED_BYTES_MAX = 1 << 28;

/** Files and names of which the last content is remembered; the oldest are forgotten, and stored whole the next time. */
export const BASE_FILES_MAX = 1 << 16;

/** Parts of a file that are remembered as bases for its next version; of a larger file the last ones. */
export const BASE_PARTS_MAX = 4_096;

/** How long the background compactor rests while the ring is filling, and pauses when there is nothing to pack. */
export const COMPACT_REST_MS = 20;
export const COMPACT_PAUSE_MS = 50;

/** Part of the ring that may be full while the background compactor works. */
export const COMPACT_PENDING_PART = 1 / 32;

/** How often the background compactor may find the trace in use for longer than TRACE_BUSY_MS; then it gives up. */
export const COMPACT_FAILURES_MAX = 5;

/** How long a command runs before the background compactor starts. */
export const COMPACT_START_MS = 500;

/** A smaller trace stays as it is at the end of a recording: writing it anew would take longer than it saves. */
export const COMPACT_TRACE_BYTES_MIN = 1 << 22;

/** How long the end of a recording packs what is still raw; the rest is left to `diffkeeper compact`. */
export const COMPACT_END_MS = 2_000;

/** So much of a trace is packed with the most effort that was asked for, some seconds of it. */
export const COMPACT_DEEP_BYTES = 1 << 24;

/** Bytes of rows that are packed between two collections of the garbage that this leaves, beside buffers that are released. */
export const COMPACT_GARBAGE_BYTES = 1 << 26;

/** Parts of a keyframe, of about 1 MB each, between two collections of the objects that it is made of. */
export const STATE_PARTS_PER_COLLECTION = 2;

/** What a node, or a run of content, takes as an object of a keyframe, about: when to collect goes by it. */
export const STATE_ENTRY_BYTES = 1 << 9;

/** What one transaction packs once more, in rows and in bytes of their content. */
export const REPACK_ROWS_PER_STEP = 64;
export const REPACK_BYTES_PER_STEP = 1 << 23;

/** Bytes of content between two collections of the garbage that packing it once more leaves. */
export const REPACK_GARBAGE_BYTES = 1 << 24;

/** Content that the compactor keeps, unpacked and as it is stored: earlier versions to make differences from. */
export const COMPACT_CACHE_BYTES_MAX = 1 << 25;

/** Buffers from this size on are given back at once (base/release.ts); smaller ones may be parts of others. */
export const RELEASE_BYTES_MIN = 1 << 15;

/** Extents in one event of a keyframe; a file in more pieces has further events. */
export const KEYFRAME_EXTENTS_MAX = 100_000;

/** Events after a keyframe before the next one may come, and nodes times this: so keyframes stay a small part of a trace. */
export const KEYFRAME_EVENTS_MIN = 100_000;
export const KEYFRAME_EVENTS_PER_NODE = 8;

/** How often a trace with a budget is looked at while it is recorded. */
export const LIVE_LOOK_MS = 500;

/** History that is never folded while it is recorded: what was just written may not be referred to yet. */
export const LIVE_KEEP_NS_MIN = 1_000_000_000;

/** Part of --keep-last by which a recording may be older before it is folded: each fold costs as much as the tree. */
export const LIVE_FOLD_PART = 1 / 4;

/** The smallest --max-size: less is a slip of the pen that would cost the whole history. */
export const TRACE_BUDGET_BYTES_MIN = 1 << 20;

/** Parts of --max-size: from the first on history is folded, until events and their content take no more than the second. */
export const LIVE_SIZE_HIGH = 0.7;
export const LIVE_SIZE_LOW = 0.35;

/** Room on the disk that a recorder holds for one last row: the pages of SQLite's log that it takes, with splits. */
export const LAST_WORDS_BYTES = 1 << 18;

/** Log of a recording with a budget that is moved into the file when it is longer. */
export const LIVE_LOG_BYTES_MAX = 1 << 26;

/** How long a recorder with a budget waits for the lock of its trace while history is folded; meanwhile the command is held back. */
export const LIVE_BUSY_MS = 30_000;

/** Folds of one collection until the trace is as small as was asked for; the last one leaves no events. */
export const GC_ROUNDS_MAX = 8;

/** Batches that become one packed row: bytes, and events at most, as a reader unpacks all of them for one. */
export const SEGMENT_BYTES = 1 << 23;
export const SEGMENT_EVENTS_MAX = 1 << 16;
/** Payload in rows of its own that one step packs: all that it becomes is one transaction. */
export const SEGMENT_DATA_BYTES_MAX = 1 << 24;
export const SEGMENT_ROWS_MAX = 4_096;

assert(
  2 * SOLID_BYTES_MAX <= 2 ** ZSTD_WINDOW_LOG_MAX,
  "solid content and its prefix must fit in a window",
);
