/**
 * The SQL of the writing side: inserting and looking up rows of an open trace, with every failure of SQLite turned into an error
 * that names the trace. The counterpart of trace_rows.ts. It knows keys and values, not what they mean.
 */
import type { Database, SQLQueryBindings, Statement } from "bun:sqlite";
import { assert } from "../base/assert.ts";
import { buildKey, type TraceKey } from "../format/keys.ts";
import { storeError } from "./store_error.ts";
import { startLog } from "./trace_create.ts";

/** A row that is there. */
interface Found {
  id: number;
  value: Uint8Array;
}

/** See the head of the file. */
export class RowWriter {
  readonly #dir: string;
  readonly #db: Database;
  readonly #insert: Statement<unknown, SQLQueryBindings[]>;
  readonly #replace: Statement<unknown, SQLQueryBindings[]>;
  readonly #idOf: Statement<{ id: number }, SQLQueryBindings[]>;
  readonly #find: Statement<Found, SQLQueryBindings[]>;

  /** Takes over the database: `close` closes it. */
  constructor(db: Database, dir: string) {
    this.#dir = dir;
    this.#db = db;
    const insert = "INSERT INTO kv (id, key, value) VALUES (?1, ?2, ?3)";
    this.#insert = db.prepare(insert);
    this.#replace = db.prepare(`${insert} ON CONFLICT (key) DO UPDATE SET value = excluded.value`);
    this.#idOf = db.prepare("SELECT id FROM kv WHERE key = ?1");
    this.#find = db.prepare("SELECT id, value FROM kv WHERE key = ?1");
  }

  /** Everything from here on goes through the write-ahead log. */
  startLog(): void {
    this.attempt("start the log of", () => startLog(this.#db));
  }

  /** False once a failure has made SQLite roll back by itself. */
  get inTransaction(): boolean {
    return this.#db.inTransaction;
  }

  /** Inserts a row whose key is not there. */
  insert(key: TraceKey, row: { id: number; value: Uint8Array }): void {
    assert(this.#db.inTransaction, "a row must be put in a transaction");
    this.attempt("write", () => this.#insert.run(row.id, buildKey(key), row.value));
  }

  /** Inserts a row, or replaces the value of the row with this key, which keeps its id. */
  replace(key: TraceKey, row: { id: number; value: Uint8Array }): void {
    assert(this.#db.inTransaction, "a row must be put in a transaction");
    this.attempt("write", () => this.#replace.run(row.id, buildKey(key), row.value));
  }

  idOf(key: TraceKey): number | undefined {
    return this.attempt("look up a row of", () => this.#idOf.get(buildKey(key)))?.id;
  }

  find(key: TraceKey): Found | undefined {
    return this.attempt("look up a row of", () => this.#find.get(buildKey(key))) ?? undefined;
  }

  /** Runs a statement without results: a transaction's ends, a pragma. */
  execute(action: string, sql: string): void {
    this.attempt(action, () => this.#db.run(sql));
  }

  /** Runs something that may fail and names the trace in its error. */
  attempt<T>(action: string, run: () => T): T {
    try {
      return run();
    } catch (thrown) {
      throw storeError(thrown, `cannot ${action} trace "${this.#dir}"`, this.#dir);
    }
  }

  close(): void {
    for (const statement of [this.#insert, this.#replace, this.#idOf, this.#find]) {
      statement.finalize();
    }
    this.#db.close();
  }
}
