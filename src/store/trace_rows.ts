/**
 * The rows of an open trace: lookups by id, key and range, with every failure of SQLite and every broken value turned into
 * an error that names the trace. The only place where the reading side speaks SQL. Each call is a transaction of its own.
 */
import type { Database, SQLQueryBindings, Statement } from "bun:sqlite";
import { assert } from "../base/assert.ts";
import { DiffKeeperError } from "../base/error.ts";
import { READER_PAGE_ROWS_MAX } from "../base/limits.ts";
import { unwrap, ValueKind } from "../format/envelope.ts";
import { buildKey, type KeyRange, parseKey, type TraceKey } from "../format/keys.ts";
import type { JsonObject, JsonValue } from "./schema.ts";
import { storeError } from "./store_error.ts";
import type { OpenTrace } from "./trace_open.ts";

/** A row as stored; the value with its envelope, not yet checked. */
export interface Row {
  id: number;
  key: Uint8Array;
  value: Uint8Array;
}

type RowStatement = Statement<Row, SQLQueryBindings[]>;

const IN_RANGE = "FROM kv WHERE key >= ?1 AND key < ?2 ORDER BY key";
const SQL = {
  first: `SELECT id, key, value ${IN_RANGE} LIMIT 1`,
  last: `SELECT id, key, value ${IN_RANGE} DESC LIMIT 1`,
  // Answered by the index alone: the value, which may be large, is not read.
  firstKey: `SELECT id, key, x'' AS value ${IN_RANGE} LIMIT 1`,
  lastKey: `SELECT id, key, x'' AS value ${IN_RANGE} DESC LIMIT 1`,
  page: `SELECT id, key, value ${IN_RANGE} LIMIT ${READER_PAGE_ROWS_MAX}`,
  count: "SELECT count(*) AS id, x'' AS key, x'' AS value FROM kv WHERE key >= ?1 AND key < ?2",
  byId: "SELECT id, key, value FROM kv WHERE id = ?1",
  byKey: "SELECT id, key, value FROM kv WHERE key = ?1",
} as const;
type SqlName = keyof typeof SQL;

const utf8 = new TextDecoder("utf-8", { fatal: true });

/** See the head of the file. */
export class TraceRows {
  readonly dir: string;
  readonly #path: string;
  readonly #db: Database;
  readonly #statements = new Map<SqlName, RowStatement>();

  /** Takes over the database: `close` closes it. */
  constructor(opened: OpenTrace) {
    this.dir = opened.dir;
    this.#path = opened.path;
    this.#db = opened.db;
  }

  /** The row with the smallest key of the range. */
  first(range: KeyRange): Row | undefined {
    return this.#one("first", [range.from, range.to]);
  }

  /** The row with the greatest key of the range. */
  last(range: KeyRange): Row | undefined {
    return this.#one("last", [range.from, range.to]);
  }

  /** The smallest key of the range, without its value. */
  firstKey(range: KeyRange): Uint8Array | undefined {
    return this.#one("firstKey", [range.from, range.to])?.key;
  }

  /** The greatest key of the range, without its value. */
  lastKey(range: KeyRange): Uint8Array | undefined {
    return this.#one("lastKey", [range.from, range.to])?.key;
  }

  byId(id: number): Row | undefined {
    return this.#one("byId", [id]);
  }

  byKey(key: TraceKey): Row | undefined {
    return this.#one("byKey", [buildKey(key)]);
  }

  /** Rows in the range. */
  count(range: KeyRange): number {
    return this.#one("count", [range.from, range.to])?.id ?? 0;
  }

  /** All rows of the range in order of their keys, fetched in pages. */
  *all(range: KeyRange): Generator<Row> {
    let from = range.from;
    for (;;) {
      const page = this.#run("page", (statement) => statement.all(from, range.to));
      for (const row of page) yield this.#typed(row);
      const last = page.at(-1);
      if (last === undefined || page.length < READER_PAGE_ROWS_MAX) return;
      from = keyAfter(last.key);
    }
  }

  /** The key of a row, parsed and of the sort that its place promises. @throws {DiffKeeperError} `data_corrupt` */
  key<S extends TraceKey["sort"]>(bytes: Uint8Array, sort: S): Extract<TraceKey, { sort: S }> {
    const key = this.check(() => parseKey(bytes));
    if (!isSort(key, sort)) throw this.corrupt("a row has a key of another sort");
    return key;
  }

  /** The object in a JSON row. @throws {DiffKeeperError} `data_corrupt` */
  json(row: Row): JsonObject {
    const payload = this.check(() => unwrap(row.value, ValueKind.JSON));
    let value: JsonValue;
    try {
      value = JSON.parse(utf8.decode(payload));
    } catch (thrown) {
      throw this.corrupt("a row is not JSON", thrown);
    }
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw this.corrupt("a row is not a JSON object");
    }
    return value;
  }

  /** The object of an `i:` row; undefined if there is none. */
  info(name: string): JsonObject | undefined {
    const row = this.byKey({ sort: "info", name });
    return row === undefined ? undefined : this.json(row);
  }

  /** Runs a check of src/format and names the trace in its error. */
  check<T>(run: () => T): T {
    try {
      return run();
    } catch (thrown) {
      if (!(thrown instanceof DiffKeeperError) || thrown.code !== "data_corrupt") throw thrown;
      throw this.corrupt("a row is damaged", thrown);
    }
  }

  /** A `data_corrupt` error about this trace. */
  corrupt(why: string, cause?: unknown): DiffKeeperError {
    return new DiffKeeperError("data_corrupt", `cannot read trace "${this.dir}": ${why}`, {
      hint: "copy the trace again from where it was recorded, all files of its folder",
      ...(cause === undefined ? {} : { cause }),
    });
  }

  close(): void {
    for (const statement of this.#statements.values()) statement.finalize();
    this.#statements.clear();
    this.#db.close();
  }

  #one(name: SqlName, bindings: SQLQueryBindings[]): Row | undefined {
    const row = this.#run(name, (statement) => statement.get(...bindings));
    return row === null ? undefined : this.#typed(row);
  }

  #run<T>(name: SqlName, run: (statement: RowStatement) => T): T {
    try {
      let statement = this.#statements.get(name);
      if (statement === undefined) {
        statement = this.#db.prepare<Row, SQLQueryBindings[]>(SQL[name]);
        this.#statements.set(name, statement);
      }
      return run(statement);
    } catch (thrown) {
      throw storeError(thrown, `cannot read trace "${this.dir}"`, this.#path);
    }
  }

  /** SQLite keeps a type per value: damage can turn a blob into a number. */
  #typed(row: Row): Row {
    const sound = row.key instanceof Uint8Array && row.value instanceof Uint8Array;
    if (!sound || typeof row.id !== "number") throw this.corrupt("a row has values of other types");
    assert(row.id >= 0, "a row id must not be negative");
    return row;
  }
}

/** The smallest key greater than this one. */
export function keyAfter(key: Uint8Array): Uint8Array {
  const after = new Uint8Array(key.length + 1);
  after.set(key);
  return after;
}

function isSort<S extends TraceKey["sort"]>(
  key: TraceKey,
  sort: S,
): key is Extract<TraceKey, { sort: S }> {
  return key.sort === sort;
}
