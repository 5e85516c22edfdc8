/** Stores through shared mappings are exact at sync points (tests/proofs/mmap.ts has the checks), on ext4 and on tmpfs. */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { Checks, named, obstacle, removeScratch } from "../proofs/_kit.ts";
import { checkClock, checkLinker, checkSqlite, checkSyncPoints } from "../proofs/mmap.ts";

const reason = obstacle() !== "" || Bun.which("cc") === null;
const noLinker = reason || Bun.which("ld.lld") === null;
const noSqlite = reason || Bun.which("sqlite3") === null || Bun.which("python3") === null;
const needs = (name: string, missing: boolean, what: string) =>
  missing && obstacle() === "" ? `${name} (skipped: needs ${what})` : named(name);

afterAll(removeScratch);

test.skipIf(reason)(needs("every sync point of a mapped file", reason, "cc"), () => {
  const checks = new Checks({ quiet: true });
  expect(checkSyncPoints(checks)).toBeGreaterThan(15);
  expect(checks.failures).toEqual([]);
}, 60_000);

test.skipIf(reason)(needs("the same in memory (tmpfs)", reason, "cc"), () => {
  const folder = mkdtempSync("/dev/shm/diffkeeper-mmap-");
  try {
    const checks = new Checks({ quiet: true });
    checkSyncPoints(checks, folder);
    expect(checks.failures).toEqual([]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}, 60_000);

test.skipIf(reason)(needs("between sync points as old as stated", reason, "cc"), () => {
  const checks = new Checks({ quiet: true });
  checkClock(checks, 5);
  expect(checks.failures).toEqual([]);
}, 60_000);

test.skipIf(noLinker)(needs("a linker that maps its output", noLinker, "ld.lld"), () => {
  const checks = new Checks({ quiet: true });
  checkLinker(checks);
  expect(checks.failures).toEqual([]);
}, 60_000);

test.skipIf(noSqlite)(needs("SQLite's shared memory", noSqlite, "sqlite3 and python3"), () => {
  const checks = new Checks({ quiet: true });
  checkSqlite(checks, 3);
  expect(checks.failures).toEqual([]);
}, 60_000);
