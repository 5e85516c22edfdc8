/**
 * The BPF object: opened from the embedded bytes, sized for this machine, loaded, attached. What a kernel lacks is found out here
 * and said with the feature's name and the minimum kernel; what it lacks but we can do without is left out and reported
 * (`hooks`). States: opened -> loaded -> attached. Everything detaches when the process ends, however it ends. This runs on
 * the main thread; who reads what the programs send makes a KernelSide of the handles.
 */
import { type Pointer, read } from "bun:ffi";
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import objectPath from "../../../build/recorder.bpf.o" with { type: "file" };
import newestPath from "../../../build/recorder_newest.bpf.o" with { type: "file" };
import {
  createMap,
  libbpf,
  loadObject,
  openObject,
  pointerOf,
  prepareTypes,
} from "../../../ffi/libbpf.ts";
import { cString, errno, errnoText, pinned } from "../../../ffi/libc.ts";
import { PROT_READ_WRITE } from "../../../ffi/memory_map.ts";
import { DiffKeeperError } from "../../base/error.ts";
import { DK_ABI } from "../../format/kernel_record.ts";
import { chooseHooks, type Hook, isNewest, lockdown, type Machine, usefulNames } from "./hooks.ts";
import { kernelNames } from "./kernel_types.ts";
import { loadError, missingFeature } from "./load_error.ts";
import type { KernelHandles } from "./kernel_side.ts";
import { mapShared } from "./ring.ts";
import { Shared, SHARED_BYTES } from "./shared.ts";

/** Slots of scratch memory beside one for each CPU: SCRATCH_SPARE of bpf/state.h. */
const SCRATCH_SPARE = 8;
const LOG_BYTES = 64 * 1024;
/** From how much of the ring on a task that fills it is stopped by the kernel side itself. */
const STOP_PART = 0.75;

/** They take the kernel 7, 5 and 2 ms. */
const LARGE_MAPS = ["ring", "inodes", "scratches"];

/** What a recorder is made for. */
export interface RecorderOptions {
  ringBytes: number;
  /** Magic numbers of the watched filesystems. */
  filesystems: readonly number[];
  /** Entries of maps, where a test wants fewer. */
  room?: { inodes?: number; scratchSlots?: number };
}

type State = "opened" | "loaded" | "attached";

/** The loaded recorder. `load` it, then `attach`. */
export class RecorderObject {
  /** For the thread that reads. */
  readonly handles: KernelHandles;
  readonly #shared: Shared;
  readonly #object: Pointer;
  readonly #log = pinned(LOG_BYTES);
  readonly #used: readonly Hook[];
  #state: State = "opened";

  private constructor(machine: Machine, options: RecorderOptions & { isHurried: boolean }) {
    const path = isNewest(machine.names) ? newestPath : objectPath;
    const bytes = readFileSync(path);
    if (options.isHurried) prepareTypes(bytes);
    const object = openObject(bytes, this.#log);
    if (object === undefined) {
      throw new DiffKeeperError("defect", `cannot open the BPF object: ${errnoText(errno())}`);
    }
    this.#object = object;
    this.#checkAbi();
    this.#used = this.#chooseHooks(machine);
    const { ringBytes, room = {} } = options;
    this.#setEntries("ring", ringBytes);
    this.#setEntries("scratches", room.scratchSlots ?? cpuCount() + SCRATCH_SPARE);
    if (room.inodes !== undefined) this.#setEntries("inodes", room.inodes);
    // while the kernel's types are prepared
    for (const name of LARGE_MAPS) createMap(this.#map(name), name);
    const code = loadObject(object, options.isHurried);
    if (code !== 0) {
      libbpf().bpf_object__close(object);
      throw loadError(code, this.#log.bytes);
    }
    this.#state = "loaded";
    this.#shared = this.#mapShared();
    this.handles = {
      ringFd: libbpf().bpf_map__fd(this.#map("ring")),
      ringBytes,
      sharedFd: libbpf().bpf_map__fd(this.#map(".bss")),
      inodesFd: libbpf().bpf_map__fd(this.#map("inodes")),
      hooks: [],
    };
  }

  /** @throws {DiffKeeperError} `unsupported_kernel` (names the feature), `no_privilege`. */
  static load(options: RecorderOptions): RecorderObject {
    const { filesystems } = options;
    const allowsFentry = lockdown() === "none";
    const names = kernelNames(usefulNames({ filesystems, allowsFentry }));
    if (names === undefined) {
      throw missingFeature("type information for BPF (/sys/kernel/btf/vmlinux)", "5.4");
    }
    const machine = { names, filesystems, allowsFentry };
    try {
      return new RecorderObject(machine, { ...options, isHurried: true });
    } catch {
      // nothing says why a thread's program was refused: once more, by libbpf alone
    }
    const slowly = { ...options, isHurried: false };
    try {
      return new RecorderObject(machine, slowly);
    } catch (thrown) {
      // a kernel may list functions and not let anybody hook them
      const hadMore = chooseHooks(machine).used.some(({ section }) => section.startsWith("fentry"));
      if (!hadMore) throw thrown;
      return new RecorderObject({ ...machine, allowsFentry: false }, slowly);
    }
  }

  /** Leaves out the programs whose hook this kernel does not have, or nobody needs. */
  #chooseHooks(machine: Machine): Hook[] {
    const { used, left } = chooseHooks(machine);
    const missing = used.find((hook) => left.includes(hook));
    if (missing !== undefined) {
      const name = missing.section.replace("tp_btf/", "");
      throw missingFeature(`the tracepoint ${name} for BPF`, "5.5");
    }
    for (const { program } of left) {
      libbpf().bpf_program__set_autoload(this.#program(program), false);
    }
    return used;
  }

  #map(name: string): Pointer {
    const map = pointerOf(libbpf().bpf_object__find_map_by_name(this.#object, cString(name)));
    if (map === undefined) {
      throw new DiffKeeperError("defect", `the BPF object has no map "${name}"`);
    }
    return map;
  }

  #program(name: string): Pointer {
    const program = pointerOf(
      libbpf().bpf_object__find_program_by_name(this.#object, cString(name)),
    );
    if (program === undefined) {
      throw new DiffKeeperError("defect", `the BPF object has no program "${name}"`);
    }
    return program;
  }

  #setEntries(name: string, entries: number): void {
    const code = libbpf().bpf_map__set_max_entries(this.#map(name), entries);
    if (code !== 0) throw new DiffKeeperError("defect", `cannot size the BPF map "${name}"`);
  }

  /** An object of another build than ours would be read wrongly, record by record. */
  #checkAbi(): void {
    const size = pinned(8);
    const value = pointerOf(
      libbpf().bpf_map__initial_value(this.#map(".rodata.abi"), size.address),
    );
    if (value !== undefined && read.u32(value, 0) === DK_ABI) return;
    throw new DiffKeeperError("defect", "the BPF object speaks another version of the records");
  }

  /** libbpf maps .bss for skeletons only, so this does it. */
  #mapShared(): Shared {
    const map = this.#map(".bss");
    const size = pinned(8);
    libbpf().bpf_map__initial_value(map, size.address);
    if (read.u32(size.address, 0) !== SHARED_BYTES) {
      throw new DiffKeeperError(
        "defect",
        "the BPF object's .bss is not the dk_shared of this build",
      );
    }
    return new Shared(mapShared(libbpf().bpf_map__fd(map), SHARED_BYTES, PROT_READ_WRITE));
  }

  /**
   * Attaches every loaded program. From then on everything is recorded but what `self`, the recorder, does.
   * @throws {DiffKeeperError} `no_privilege`, `unsupported_kernel`.
   */
  attach(self: number): void {
    if (this.#state !== "loaded") {
      throw new DiffKeeperError("defect", "the recorder is attached once");
    }
    this.#shared.selfTgid = self;
    this.#shared.stopMark = Math.floor(this.handles.ringBytes * STOP_PART);
    this.#shared.enabled = true;
    for (const { program, section, isRequired } of this.#used) {
      const isAttached =
        pointerOf(libbpf().bpf_program__attach(this.#program(program))) !== undefined;
      if (isAttached) this.handles.hooks.push(section);
      else if (isRequired) throw loadError(errno(), this.#log.bytes);
    }
    this.#state = "attached";
  }
}

/** Possible CPUs, from the kernel: "0-3" or "0,2-3" (scratch slots are indexed by CPU number). */
function cpuCount(): number {
  const text = readFileSync("/sys/devices/system/cpu/possible", "utf8").trim();
  const last = Number(text.split(/[,-]/).at(-1));
  return Number.isSafeInteger(last) ? last + 1 : availableParallelism();
}
