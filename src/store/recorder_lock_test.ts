import { expect, test } from "bun:test";
import { readdirSync, readFileSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { lockState, RecorderLock, refuseHeld } from "./recorder_lock.ts";
import { cleanUpAfterEach, newFolder } from "./testing_folder.ts";

cleanUpAfterEach();

/** A state-dir with this lock, `ageSeconds` old. */
function withLock(text: string, ageSeconds = 0): string {
  const dir = newFolder();
  const path = join(dir, "recorder.lock");
  const then = Date.now() / 1_000 - ageSeconds;
  writeFileSync(path, text);
  utimesSync(path, then, then);
  return dir;
}

function ownLock(): string[] {
  const dir = newFolder();
  const lock = RecorderLock.acquire(dir);
  const fields = readFileSync(join(dir, "recorder.lock"), "latin1").trim().split(" ");
  lock.release();
  expect(readdirSync(dir)).toEqual([]);
  return fields;
}

test("a lock says whether its process lives", async () => {
  const [pid, startTime, boot, namespace] = ownLock();
  expect(pid).toBe(String(process.pid));
  expect(lockState(newFolder())).toBe("free");
  expect(lockState(withLock(`${pid} ${startTime} ${boot} ${namespace}\n`))).toBe("held");
  expect(lockState(withLock(`${pid} 17 ${boot} ${namespace}\n`))).toBe("stale");
  expect(lockState(withLock(`${pid} ${startTime} another-boot ${namespace}\n`))).toBe("stale");
  expect(lockState(withLock(`${pid} ${startTime} ${boot} pid:[7]\n`))).toBe("unknown");
  expect(lockState(withLock(""))).toBe("unknown");
  expect(lockState(withLock(`${pid} ${startTime} ${boot} pid:[4`))).toBe("unknown");
  expect(lockState(withLock(`${pid} ${startTime} ${boot} pid:[4`, 60))).toBe("stale");
  expect(lockState(withLock("", 60))).toBe("stale");
  expect(lockState(withLock("\0garbage", 60))).toBe("stale");
  const child = Bun.spawn(["true"]);
  await child.exited;
  expect(lockState(withLock(`${child.pid} 1 ${boot} ${namespace}\n`))).toBe("stale");
});

test("a leftover is taken over, a held lock is not, and only the holder releases", () => {
  const dir = withLock("1 2 another-boot pid:[7]\n");
  const lock = RecorderLock.acquire(dir);
  expect(() => RecorderLock.acquire(dir)).toThrow(`the recorder with process id ${process.pid}`);
  expect(() => RecorderLock.acquire(dir)).toThrow("cannot record into");
  expect(() => RecorderLock.acquire(dir, "change")).toThrow("cannot change the trace in");
  writeFileSync(join(dir, "recorder.lock"), "somebody else");
  lock.release();
  expect(readdirSync(dir)).toEqual(["recorder.lock"]);
});

test("a lock that its recorder never wrote is taken over when it is old enough", () => {
  const dir = withLock("", 1.7);
  expect(lockState(dir)).toBe("unknown");
  const lock = RecorderLock.acquire(dir);
  expect(readFileSync(join(dir, "recorder.lock"), "latin1")).toStartWith(`${process.pid} `);
  lock.release();
  expect(lockState(dir)).toBe("free");
});

test("who only asks waits as well", () => {
  const started = performance.now();
  expect(() => refuseHeld(withLock("", 1.7))).not.toThrow();
  expect(performance.now() - started).toBeGreaterThan(100);
});

test("a lock that cannot be written is not left behind", () => {
  const dir = newFolder();
  const script = `import { RecorderLock } from ${
    JSON.stringify(join(import.meta.dir, "recorder_lock.ts"))
  };
    try { RecorderLock.acquire(${JSON.stringify(dir)}); } catch (e) { console.log(e.message); }`;
  const program = join(newFolder(), "acquire.ts");
  writeFileSync(program, script);
  // no file may get a byte, as on a full disk
  const shell = `trap "" XFSZ; ulimit -f 0; exec "$0" "$1"`;
  const done = Bun.spawnSync(["sh", "-c", shell, process.execPath, program]);
  expect(done.stdout.toString()).toStartWith(`cannot lock "${dir}/recorder.lock": `);
  expect(readdirSync(dir)).toEqual([]);
});

test("a folder that is not there cannot be locked", () => {
  expect(() => RecorderLock.acquire(join(newFolder(), "none"))).toThrow("cannot lock");
});
