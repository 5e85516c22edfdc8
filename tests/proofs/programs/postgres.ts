/**
 * PostgreSQL 15 from its start to its stop, under pgbench and a client that appends the key of each row to `done` after its COMMIT.
 * The data folder of every export must start, recover, hold every row that is in `done` and the balances that pgbench's
 * transactions keep equal, stop, and pass `pg_checksums`.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { linesDone, must, type Place, type Program, shell } from "./_program.ts";

const BIN = "/usr/lib/postgresql/15/bin";
const SECONDS = 10;
const ROWS = 4000;
/** Committed by the client, and by pgbench, or the run proves nothing. */
const ROWS_LEAST = 50;
/** Runs what follows as the user who owns the cluster. */
const AS_POSTGRES = "setpriv --reuid=postgres --regid=postgres --init-groups";

/** Small segments and buffers, so that segments are recycled and pages written while it runs. */
const SETTINGS = `
listen_addresses = ''
unix_socket_directories = '/tmp'
shared_buffers = 8MB
min_wal_size = 4MB
max_wal_size = 8MB
wal_recycle = on
autovacuum_naptime = 2s
bgwriter_delay = 20ms
full_page_writes = on
`;

/** What makes, rewrites and removes whole files and folders. */
const TABLES = `
CREATE TABLE numbers AS SELECT n, repeat('y', n % 700) AS t FROM generate_series(1, 9000) n;
CREATE INDEX ON numbers (t);
CREATE DATABASE copied STRATEGY file_copy;
DELETE FROM numbers WHERE n % 3 = 0;
VACUUM numbers;
VACUUM FULL numbers;
CHECKPOINT;
CREATE DATABASE logged STRATEGY wal_log;
DROP DATABASE copied;
ALTER TABLE numbers SET UNLOGGED;
TRUNCATE numbers;
DROP TABLE numbers;
DROP DATABASE logged;
`;

/** A server on the socket of its folder's name, so that no two meet. */
function server(folder: string, sockets: string): { start: string; stop: string } {
  const options = `-c unix_socket_directories=${sockets}`;
  return {
    start:
      `${AS_POSTGRES} ${BIN}/pg_ctl -D ${folder} -w -t 120 -l ${sockets}/log -o "${options}" start`,
    stop: `${AS_POSTGRES} ${BIN}/pg_ctl -D ${folder} -w -m fast stop`,
  };
}

function prepare(at: Place): void {
  const sockets = join(at.base, "sockets");
  const { start, stop } = server("data", sockets);
  must(
    `
mkdir ${sockets}
chown postgres: . ${sockets}
${AS_POSTGRES} ${BIN}/initdb -D data --data-checksums --wal-segsize=1 -A trust --no-sync >/dev/null
cat >>data/postgresql.conf <<'END'
${SETTINGS}
END
${start} >/dev/null
${AS_POSTGRES} ${BIN}/pgbench -h ${sockets} -i -q -s 1 postgres 2>/dev/null
${AS_POSTGRES} ${BIN}/psql -q -h ${sockets} -c 'CREATE TABLE ledger (n int PRIMARY KEY, t text)' postgres
${stop} >/dev/null
cat >${at.base}/tables.sql <<'END'
${TABLES}
END
i=0
while [ $i -lt ${ROWS} ]; do
  i=$((i + 1))
  echo "INSERT INTO ledger VALUES ($i, repeat('x', $i % 900)) RETURNING n;"
done >${at.base}/rows.sql
`,
    at.watched,
  );
}

function script(at: Place): string {
  const sockets = join(at.base, "sockets");
  const { start, stop } = server("data", sockets);
  return `
${start} >/dev/null
echo started >>starts
timeout ${SECONDS} ${AS_POSTGRES} ${BIN}/psql -Atq -h ${sockets} -f ../rows.sql postgres >>done &
${AS_POSTGRES} ${BIN}/psql -q -h ${sockets} -f ../tables.sql postgres 2>../tables.err &
${AS_POSTGRES} ${BIN}/pgbench -h ${sockets} -n -c 3 -j 2 -T ${SECONDS} postgres >../pgbench.out 2>&1
wait || true
grep -q . ../tables.err && exit 1
${stop} >/dev/null
`;
}

const QUERIES = "SELECT 'balances ' || (" +
  "(SELECT coalesce(sum(abalance), 0) FROM pgbench_accounts) = (SELECT coalesce(sum(bbalance), 0) FROM pgbench_branches) " +
  "AND (SELECT coalesce(sum(tbalance), 0) FROM pgbench_tellers) = (SELECT coalesce(sum(bbalance), 0) FROM pgbench_branches) " +
  "AND (SELECT coalesce(sum(delta), 0) FROM pgbench_history) = (SELECT coalesce(sum(bbalance), 0) FROM pgbench_branches)); " +
  "SELECT n FROM ledger;";

function use(out: string, at: Place): string[] {
  if (!existsSync(join(out, "data"))) return ["the data folder is missing"];
  const sockets = join(at.base, "used");
  const { start, stop } = server("data", sockets);
  must(`rm -rf ${sockets} && mkdir ${sockets} && chown postgres: ${sockets}`, at.base);
  const started = shell(`${start} >/dev/null`, out);
  if (started.code !== 0) {
    const log = shell(`tail -5 ${sockets}/log`, at.base).stdout;
    return [`does not start: ${started.stderr.trim()} ${log.trim()}`];
  }
  const complaints: string[] = [];
  const psql = `${AS_POSTGRES} ${BIN}/psql -Atq -h ${sockets} -c "${QUERIES}" postgres`;
  const answer = shell(psql, out);
  const lines = answer.stdout.trim().split("\n");
  if (answer.code !== 0 || !lines.includes("balances true")) {
    complaints.push(`${lines[0]} ${answer.stderr.trim()}`);
  }
  const present = new Set(lines);
  const missing = linesDone(out).filter((n) => n !== "" && !present.has(n));
  if (missing.length > 0) {
    complaints.push(`${missing.length} committed rows are not there: ${missing.slice(0, 5)}`);
  }
  const stopped = shell(`${stop} >/dev/null`, out);
  if (stopped.code !== 0) complaints.push(`does not stop: ${stopped.stderr.trim()}`);
  const sums = shell(`${AS_POSTGRES} ${BIN}/pg_checksums --check -D data`, out);
  if (sums.code !== 0) complaints.push(`pg_checksums: ${(sums.stdout + sums.stderr).trim()}`);
  return complaints;
}

function atEnd(at: Place): string[] {
  const complaints: string[] = [];
  const rows = linesDone(at.out).length;
  if (rows < ROWS_LEAST) complaints.push(`only ${rows} rows`);
  const text = readFileSync(join(at.base, "pgbench.out"), "utf8");
  const [, count = "0"] = /transactions actually processed: (\d+)/.exec(text) ?? [];
  if (Number(count) < ROWS_LEAST) complaints.push(`only ${count} transactions: ${text}`);
  return complaints;
}

/** PostgreSQL. */
export const POSTGRES: Program = {
  name: "postgres",
  needs: [[`${BIN}/postgres`, "postgresql-15"], ["setpriv", "util-linux"]],
  gapMs: 1500,
  prepare,
  script,
  use,
  atEnd,
};
