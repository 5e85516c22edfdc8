/**
 * The rows of an open trace: lookups by id, key and range, with every failure of SQLite and every broken value turned into
 * an error that names the trace. The only place where the reading side speaks SQL. Each call is a transaction of its own.
 * SQLite keeps each key twice, in the table and in the index, and compares them only when asked to: so every row is taken
 * from the table through the index (or back), and must have the same key and id in both. One flipped bit cannot pass off
 * one row as another.
 */
import { Buffer } from "node:buffer";
import type { Database, SQLQueryBindings, Statement } from "bun:sqlite";
import { assert } from "../base/assert.ts";
import { DiffKeeperError } from "../base/error.ts";
import { READER_PAGE_ROWS_MAX } from "../base/limits.ts";
import { unwrap, ValueKind } from "../format/envelope.ts";
import { buildKey, type KeyRange, parseKey, type TraceKey } from "../format/keys.ts";
import type { JsonObject, JsonValue } from "./schema.ts";
import { storeError, thrownCode } from "./store_error.ts";
import type { OpenTrace } from "./trace_open.ts";

/** A row as stored; the value with its envelope, not yet checked. */
export interface Row {
  id: number;
  key: Uint8Array;
  value: Uint8Array;
}

/** A row as it comes from SQLite: what the table has, and what the index has of it. */
interface FoundRow extends Row {
  /** Null: the other of the two does not have the row. */
  otherId: number | null;
  otherKey: Uint8Array | null;
}

type RowStatement = Statement<FoundRow, SQLQueryBindings[]>;

/** `i` is read from the index alone, `t` from the table alone. */
const BY_KEY = "SELECT i.id, t.key, t.value, t.id AS otherId, i.key AS otherKey " +
  "FROM kv i LEFT JOIN kv t ON t.id = i.id WHERE";
const ONLY_KEY = "SELECT id, key, x'' AS value, id AS otherId, key AS otherKey FROM kv WHERE";
const SQL = {
  first: `${BY_KEY} i.key >= ?1 AND i.key < ?2 ORDER BY i.key LIMIT 1`,
  last: `${BY_KEY} i.key >= ?1 AND i.key < ?2 ORDER BY i.key DESC LIMIT 1`,
  // Answered by the index alone: the value, which may be large, is not read.
  firstKey: `${ONLY_KEY} key >= ?1 AND key < ?2 ORDER BY key LIMIT 1`,
  lastKey: `${ONLY_KEY} key >= ?1 AND key < ?2 ORDER BY key DESC LIMIT 1`,
  page: `${BY_KEY} i.key >= ?1 AND i.key < ?2 ORDER BY i.key LIMIT ${READER_PAGE_ROWS_MAX}`,
  count: "SELECT count(*) AS id, x'' AS key, x'' AS value, 0 AS otherId, x'' AS otherKey " +
    "FROM kv WHERE key >= ?1 AND key < ?2",
  countAll: "SELECT count(*) AS id, x'' AS key, x'' AS value, 0 AS otherId, x'' AS otherKey " +
    "FROM kv NOT INDEXED",
  byId: "SELECT t.id, t.key, t.value, i.id AS otherId, i.key AS otherKey " +
    "FROM kv t LEFT JOIN kv i ON i.key = t.key WHERE t.id = ?1",
  byKey: `${BY_KEY} i.key = ?1`,
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

  /** From here on every call sees what is stored now, until `close`. A recorder is not held up: it only cannot trim its log. */
  hold(): void {
    this.#attempt(() => this.#db.run("BEGIN"));
  }

  /** The row with the smallest key of the range. */
  first(range: KeyRange): Row | undefined {
    return this.#inRange("first", range);
  }

  /** The row with the greatest key of the range. */
  last(range: KeyRange): Row | undefined {
    return this.#inRange("last", range);
  }

  /** The smallest key of the range, without its value. */
  firstKey(range: KeyRange): Uint8Array | undefined {
    return this.#inRange("firstKey", range)?.key;
  }

  /** The greatest key of the range, without its value. */
  lastKey(range: KeyRange): Uint8Array | undefined {
    return this.#inRange("lastKey", range)?.key;
  }

  byId(id: number): Row | undefined {
    return this.#one("byId", [id]);
  }

  byKey(key: TraceKey): Row | undefined {
    return this.byKeyBytes(buildKey(key));
  }

  /** As `byKey`, for a key that need not be one of ours. */
  byKeyBytes(key: Uint8Array): Row | undefined {
    return this.#one("byKey", [key]);
  }

  /** Rows in the range, as the index has them. */
  count(range: KeyRange): number {
    return this.#count("count", [range.from, range.to]);
  }

  /** All rows, as the table has them. */
  countAll(): number {
    return this.#count("countAll", []);
  }

  /** What SQLite finds wrong with its pages, its table and its index; at most `max` lines. Reads the whole file. */
  integrity(max: number): string[] {
    assert(max > 0 && Number.isInteger(max), "a number of lines must be a whole number");
    return this.#attempt(() => {
      const lines = this.#db.query<{ integrity_check: unknown }, []>(
        `PRAGMA integrity_check(${max})`,
      ).all().map((row) => String(row.integrity_check));
      return lines.length === 1 && lines[0] === "ok" ? [] : lines;
    });
  }

  /** All rows of the range in order of their keys, fetched in pages. */
  *all(range: KeyRange): Generator<Row> {
    let from = range.from;
    for (;;) {
      const page = this.#run("page", (statement) => statement.all(from, range.to));
      for (const row of page) yield this.#within(this.#typed(row), { from, to: range.to });
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

  #inRange(name: SqlName, range: KeyRange): Row | undefined {
    const row = this.#one(name, [range.from, range.to]);
    return row === undefined ? undefined : this.#within(row, range);
  }

  #count(name: SqlName, bindings: SQLQueryBindings[]): number {
    return this.#run(name, (statement) => statement.get(...bindings))?.id ?? 0;
  }

  #run<T>(name: SqlName, run: (statement: RowStatement) => T): T {
    return this.#attempt(() => {
      let statement = this.#statements.get(name);
      if (statement === undefined) {
        statement = this.#db.prepare<FoundRow, SQLQueryBindings[]>(SQL[name]);
        this.#statements.set(name, statement);
      }
      return run(statement);
    });
  }

  #attempt<T>(run: () => T): T {
    try {
      return run();
    } catch (thrown) {
      // The statements are constant: where SQLite does not understand one, the schema is damaged.
      if (DAMAGE_CODES.has(thrownCode(thrown))) throw this.corrupt("it is damaged", thrown);
      throw storeError(thrown, `cannot read trace "${this.dir}"`, this.#path);
    }
  }

  /** SQLite keeps a type per value: damage can turn a blob into a number. */
  #typed(row: FoundRow): Row {
    const { id, key, value, otherId, otherKey } = row;
    if (otherId === null || otherKey === null) {
      throw this.corrupt("a row is missing in the table or in its index");
    }
    const sound = key instanceof Uint8Array && value instanceof Uint8Array &&
      otherKey instanceof Uint8Array;
    if (!sound || typeof id !== "number") throw this.corrupt("a row has values of other types");
    if (id !== otherId || Buffer.compare(key, otherKey) !== 0) {
      throw this.corrupt("a row has another key or id in the index than in the table");
    }
    if (id < 0) throw this.corrupt("a row has a negative id");
    return { id, key, value };
  }

  /** In a damaged index a search can end anywhere: this also makes every walk along the keys end. */
  #within(row: Row, range: KeyRange): Row {
    const { key } = row;
    if (Buffer.compare(key, range.from) >= 0 && Buffer.compare(key, range.to) < 0) return row;
    throw this.corrupt("its index is not in order");
  }
}

/** Results of SQLite that only a damaged file gives to a constant statement. */
const DAMAGE_CODES: ReadonlySet<string> = new Set(["SQLITE_ERROR", "SQLITE_TOOBIG"]);

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
