import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DiffKeeperError } from "../base/error.ts";
import {
  closeFd,
  createFile,
  EntryFinisher,
  makeFolder,
  nameBytes,
  openFolder,
  writeAt,
} from "./target.ts";
import { openTarget } from "./target_folder.ts";

let dir = "";
let fd = -1;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "diffkeeper-target-"));
  fd = openSync(dir, "r");
});
afterEach(() => {
  closeFd(fd);
  rmSync(dir, { recursive: true, force: true });
});

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (thrown) {
    if (thrown instanceof DiffKeeperError) return thrown.code;
  }
  return "none";
}

test("names that are not one name are corrupt data", () => {
  for (const name of ["", ".", "..", "a/b", "/", "a\0b"]) {
    expect([name, codeOf(() => nameBytes(name))]).toEqual([name, "data_corrupt"]);
  }
  expect([...nameBytes("...\xff")]).toEqual([46, 46, 46, 255, 0]);
});

describe("nothing is followed", () => {
  test("a symlink in the place of a file or folder", () => {
    symlinkSync("/tmp", join(dir, "link"));
    expect(codeOf(() => openFolder(fd, "link"))).toBe("io");
    expect(codeOf(() => makeFolder(fd, "link", true))).toBe("io");
    expect(codeOf(() => createFile(fd, "link"))).toBe("io");
  });
  test("emptying removes the link and not what it points to", () => {
    const outside = mkdtempSync(join(tmpdir(), "diffkeeper-outside-"));
    writeFileSync(join(outside, "keep"), "");
    mkdirSync(join(dir, "a/b"), { recursive: true });
    symlinkSync(outside, join(dir, "a/b/link"));
    symlinkSync(outside, join(dir, "link"));
    mkdirSync(join(dir, "closed"));
    chmodSync(join(dir, "closed"), 0);
    closeFd(openTarget(dir, { force: true, stateDir: "/nowhere" }));
    expect(readdirSync(dir)).toEqual([]);
    expect(readdirSync(outside)).toEqual(["keep"]);
    rmSync(outside, { recursive: true });
  });
});

describe("the target", () => {
  test("is made, with the folders above", () => {
    closeFd(openTarget(join(dir, "x/y"), { force: false, stateDir: "/nowhere" }));
    expect(readdirSync(join(dir, "x"))).toEqual(["y"]);
  });
  test("must be empty without force", () => {
    mkdirSync(join(dir, "old"));
    expect(codeOf(() => openTarget(dir, { force: false, stateDir: "/nowhere" }))).toBe("exists");
  });
  test("must not be, hold or lie in the trace, by whatever path", () => {
    const stateDir = join(dir, "trace");
    mkdirSync(stateDir);
    symlinkSync(stateDir, join(dir, "alias"));
    for (
      const out of [
        stateDir,
        dir,
        "/",
        join(stateDir, "a/b"),
        join(dir, "alias"),
        join(dir, "alias/new"),
      ]
    ) {
      expect([out, codeOf(() => openTarget(out, { force: true, stateDir }))]).toEqual([
        out,
        "usage",
      ]);
    }
    expect(codeOf(() => openTarget(join(dir, "trace2"), { force: true, stateDir }))).toBe("none");
  });
});

test("a target that holds a file that the trace refers to stays as it is, with all modes", () => {
  mkdirSync(join(dir, "a/closed"), { recursive: true });
  writeFileSync(join(dir, "a/closed/kept"), "here");
  writeFileSync(join(dir, "other"), "");
  const { ino } = lstatSync(join(dir, "a/closed/kept"), { bigint: true });
  chmodSync(join(dir, "a/closed"), 0);
  const open = (wanted: bigint) => () =>
    openTarget(dir, {
      force: true,
      stateDir: "/nowhere",
      referred: () => (stat) => stat.ino === wanted,
    });
  expect(open(ino)).toThrow('it holds "a/closed/kept"');
  expect(lstatSync(join(dir, "a/closed")).mode & 0o7777).toBe(0);
  expect(readdirSync(dir).sort()).toEqual(["a", "other"]);
  closeFd(open(-1n)());
  expect(readdirSync(dir)).toEqual([]);
});

test("files are written at offsets, and their state is set last", () => {
  const file = createFile(fd, "f\xff");
  writeAt(file, 3, { bytes: Buffer.from("abc"), name: "f" });
  const finisher = new EntryFinisher({ owner: false, complain: () => undefined });
  const mtime = { sec: -7, nsec: 999_999_999 };
  finisher.finish(file, "f", { mode: 0o100440, uid: 0, gid: 0, rdev: 0, mtime });
  closeFd(file);
  const path = Buffer.from(`${dir}/f\xff`, "latin1");
  expect(readFileSync(path).toString()).toBe("\0\0\0abc");
  const stat = lstatSync(path, { bigint: true });
  expect([stat.mode, stat.mtimeNs]).toEqual([0o100440n, -6_000_000_001n]);
});

test("a program of somebody else does not get our rights", () => {
  const complaints: string[] = [];
  const complain = (_: string, text: string) => complaints.push(text);
  const finisher = new EntryFinisher({ owner: false, complain });
  const file = createFile(fd, "f");
  finisher.finish(file, "f", { mode: 0o106755, uid: 4_000_000, gid: 0, rdev: 0 });
  closeFd(file);
  expect(lstatSync(join(dir, "f")).mode).toBe(0o100755);
  expect(complaints.length).toBe(1);
});
