/**
 * SQLite in WAL mode: two processes commit to one database, update and delete blobs, and checkpoint. After each commit they
 * append the row's key to a file; at every event the database must be sound and hold every row whose key is there.
 */
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { linesDone, must, type Place, type Program, shell } from "./_program.ts";

const WRITERS = 2;
const SECONDS = 4;
/** Committed by each writer, or the run proves nothing. */
const ROWS_LEAST = 50;

/** argv: number of the writer, seconds. */
const WRITER = `
import os, random, sqlite3, sys, time
me, seconds = int(sys.argv[1]), float(sys.argv[2])
random.seed(me)
db = sqlite3.connect("data.db", timeout=30, isolation_level=None)
db.execute("PRAGMA journal_mode=WAL")
db.execute("PRAGMA synchronous=%s" % ("FULL" if me == 0 else "NORMAL"))
db.execute("PRAGMA wal_autocheckpoint=300")
log = os.open("done-%d" % me, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
end = time.monotonic() + seconds
n = 0
while time.monotonic() < end:
    db.execute("BEGIN IMMEDIATE")
    db.execute("INSERT INTO ledger VALUES (?, ?)", (me, n))
    for i in range(random.randrange(1, 5)):
        k = random.randrange(400)
        if random.random() < 0.2:
            db.execute("DELETE FROM blobs WHERE k = ?", (k,))
        else:
            size = random.choice((10, 300, 5000, 20000))
            db.execute("INSERT OR REPLACE INTO blobs VALUES (?, ?)", (k, random.randbytes(size)))
    if random.random() < 0.1:
        db.execute("ROLLBACK")
        continue
    db.execute("COMMIT")
    os.write(log, b"%d\\n" % n)
    n += 1
    time.sleep(random.random() / 500)
    if n % 40 == 0:
        db.execute("PRAGMA wal_checkpoint(%s)" % random.choice(("PASSIVE", "FULL", "TRUNCATE")))
db.close()
`;

const SCHEMA =
  "PRAGMA journal_mode=WAL; CREATE TABLE ledger (writer, n, PRIMARY KEY (writer, n));" +
  "CREATE TABLE blobs (k INTEGER PRIMARY KEY, data BLOB);";

function use(out: string): string[] {
  if (!existsSync(join(out, "data.db"))) return ["data.db is missing"];
  const complaints: string[] = [];
  const query = "PRAGMA integrity_check; SELECT writer || ' ' || n FROM ledger;";
  const ran = shell(`sqlite3 data.db "${query}"`, out);
  const [verdict, ...rows] = ran.stdout.trim().split("\n");
  if (ran.code !== 0 || verdict !== "ok") {
    complaints.push(`integrity_check: ${verdict} ${ran.stderr.trim()}`);
  }
  const present = new Set(rows);
  for (let writer = 0; writer < WRITERS; writer++) {
    const missing = linesDone(out, `done-${writer}`).filter((n) => !present.has(`${writer} ${n}`));
    if (missing.length > 0) {
      complaints.push(`${missing.length} committed rows of writer ${writer} are not there`);
    }
  }
  return complaints;
}

function atEnd(at: Place): string[] {
  const rows = Array.from({ length: WRITERS }, (_, i) => linesDone(at.out, `done-${i}`).length);
  return rows.every((count) => count >= ROWS_LEAST) ? [] : [`only ${rows.join(", ")} rows`];
}

/** SQLite. */
export const SQLITE: Program = {
  name: "sqlite",
  needs: [["sqlite3", "sqlite3"], ["python3", "python3"]],
  gapMs: 300,
  prepare(at) {
    writeFileSync(join(at.base, "writer.py"), WRITER);
    must(`sqlite3 data.db "${SCHEMA}"`, at.watched);
  },
  script() {
    const writers = Array.from(
      { length: WRITERS },
      (_, i) => `python3 ../writer.py ${i} ${SECONDS} &`,
    );
    return [...writers, "wait"].join("\n");
  },
  use,
  atEnd,
};
