/** Folders for tests that go away after each test, and recorder processes that do. */
import { afterEach } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const folders: string[] = [];
const children: Bun.Subprocess[] = [];

/**
 * To be called once in each test file that uses this one: a hook counts for the file that registers it, and this module is
 * loaded once for all files of a run.
 */
export function cleanUpAfterEach(): void {
  afterEach(async () => {
    for (const child of children.splice(0)) {
      child.kill("SIGKILL");
      await child.exited;
    }
    for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
  });
}

/** A new empty folder. */
export function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "diffkeeper-store-"));
  folders.push(folder);
  return folder;
}

/** A recorder of tests/support/store_recorder.ts and the lines it prints. */
export class TestRecorder {
  readonly child: Bun.Subprocess<"ignore", "pipe", "inherit">;
  readonly lines: string[] = [];
  readonly #done: Promise<void>;

  /** @param wrapper a command that runs it, such as setpriv. */
  constructor(dir: string, options: { what: string; wrapper?: string[] }) {
    const script = join(import.meta.dir, "../../tests/support/store_recorder.ts");
    const argv = [...options.wrapper ?? [], process.execPath, script, dir, options.what];
    this.child = Bun.spawn(argv, { stdio: ["ignore", "pipe", "inherit"] });
    children.push(this.child);
    this.#done = this.#read();
  }

  /** Waits until a line fulfils the condition, or the process has ended. */
  async until(condition: (line: string) => boolean): Promise<void> {
    let ended = false;
    this.#done.then(() => ended = true, () => ended = true);
    while (!ended && !this.lines.some(condition)) await Bun.sleep(1);
  }

  /** Ends it by kill -9 and gives the last seq it had reported as committed. */
  async kill(): Promise<number> {
    this.child.kill("SIGKILL");
    await this.child.exited;
    await this.#done;
    return this.lastSeq();
  }

  /** Waits for its end. */
  async end(): Promise<number> {
    await this.#done;
    return await this.child.exited;
  }

  lastSeq(): number {
    return Math.max(0, ...this.lines.map(Number).filter((seq) => Number.isInteger(seq)));
  }

  async #read(): Promise<void> {
    let rest = "";
    for await (const bytes of this.child.stdout) {
      const lines = (rest + new TextDecoder().decode(bytes)).split("\n");
      rest = lines.pop() ?? "";
      this.lines.push(...lines);
    }
  }
}

/** Whether a test can run this program as user nobody: it needs root, setpriv, and a checkout that all may read. */
export function canRunAsNobody(): boolean {
  if (process.getuid?.() !== 0) return false;
  const argv = ["setpriv", "--reuid=65534", "--clear-groups", process.execPath];
  const probe = [...argv, join(import.meta.dir, "schema.ts")];
  try {
    return Bun.spawnSync(probe, { stdio: ["ignore", "ignore", "ignore"] }).exitCode === 0;
  } catch {
    return false;
  }
}
