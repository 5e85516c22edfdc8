/**
 * `npm ci` of a project whose packages are tarballs beside it: packages of this checkout and a tree of small ones that depend on
 * each other. No registry is asked. npm writes each file from its start, so in every export a file of a package is a beginning of
 * what was packed; once it has ended all are whole, the program that uses them runs, and `npm ls` finds nothing wrong.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../_kit.ts";
import { linesDone, must, type Place, type Program, shell } from "./_program.ts";

const SMALL = 60;
const FILES_EACH = 12;
/** Of this checkout: packages without dependencies of their own. */
const REAL = ["commander", "undici-types"];
const NPM = "npm --offline --no-audit --no-fund --no-update-notifier --loglevel=error";

/** Packages `small0` to `smallN`; each needs the one of half its number. */
function makeSmall(folder: string): void {
  for (let i = 0; i < SMALL; i++) {
    const at = join(folder, `small${i}`);
    mkdirSync(join(at, "lib"), { recursive: true });
    const below = Math.floor(i / 2);
    const needs = i === 0 ? {} : { [`small${below}`]: `file:${folder}/small${below}-1.0.0.tgz` };
    const bin = { [`small${i}`]: "bin.js" };
    writeFileSync(
      join(at, "package.json"),
      JSON.stringify({ name: `small${i}`, version: "1.0.0", bin, dependencies: needs }),
    );
    writeFileSync(join(at, "bin.js"), "#!/usr/bin/env node\nconsole.log(require('.'));\n");
    const inner = i === 0 ? "0" : `require("small${below}")`;
    writeFileSync(join(at, "index.js"), `module.exports = ${inner} + ${i};\n`);
    for (let k = 0; k < FILES_EACH; k++) {
      writeFileSync(join(at, "lib", `part${k}.js`), `module.exports = ${k};\n`.repeat(k * 40 + 1));
    }
  }
}

function prepare(at: Place): void {
  const packages = join(at.base, "packages");
  mkdirSync(packages);
  makeSmall(packages);
  const real = REAL.filter((name) => existsSync(join(ROOT, "node_modules", name, "package.json")));
  const folders = real.map((name) => `${ROOT}/node_modules/${name}`);
  const environment = `export npm_config_cache=${at.base}/cache`;
  must(
    `${environment}\n${NPM} pack --silent --ignore-scripts ./small* ${
      folders.join(" ")
    } >/dev/null`,
    packages,
  );
  const tarballs = must("ls *.tgz", packages).trim().split("\n");
  const dependencies = Object.fromEntries(
    tarballs.map((file) => [
      file.startsWith("small") ? file.replace("-1.0.0.tgz", "") : file.replace(/-[\d.]+\.tgz$/, ""),
      `file:${packages}/${file}`,
    ]),
  );
  writeFileSync(
    join(at.watched, "package.json"),
    JSON.stringify({ name: "project", version: "1.0.0", dependencies }),
  );
  must(`${environment}\n${NPM} install --package-lock-only --ignore-scripts`, at.watched);
}

/** Files of small packages that are neither their source nor a beginning of it; `whole`: all must be there. */
function unlikeSource(out: string, packages: string, whole: boolean): string[] {
  const complaints: string[] = [];
  for (const name of new Bun.Glob("small*/**").scanSync({ cwd: packages, onlyFiles: true })) {
    const path = join(out, "node_modules", name);
    const found = existsSync(path) ? readFileSync(path) : undefined;
    const source = readFileSync(join(packages, name));
    const right = found === undefined
      ? !whole
      : found.equals(source.subarray(0, whole ? source.length : found.length));
    if (!right) complaints.push(`node_modules/${name} is not what was packed`);
  }
  return complaints;
}

function use(out: string, at: Place): string[] {
  const installed = linesDone(out).at(-1)?.startsWith("installed") === true;
  const complaints = unlikeSource(out, join(at.base, "packages"), installed);
  if (!installed) return complaints;
  const sum = expectedSum(SMALL - 1);
  const ran = shell(`node node_modules/.bin/small${SMALL - 1}`, out);
  if (ran.code !== 0 || ran.stdout.trim() !== String(sum)) {
    complaints.push(`the program says ${ran.stdout.trim()} ${ran.stderr.trim()}`);
  }
  const list = shell(`export npm_config_cache=${at.base}/cache\n${NPM} ls --all`, out);
  if (list.code !== 0) complaints.push(`npm ls: ${list.stderr.trim()}`);
  return complaints;
}

/** What the chain of halves adds up to. */
function expectedSum(from: number): number {
  let sum = 0;
  for (let i = from; i > 0; i = Math.floor(i / 2)) sum += i;
  return sum;
}

function atEnd(at: Place): string[] {
  return linesDone(at.out).at(-1) === "installed again" ? [] : ["nothing was installed"];
}

/** npm. */
export const NPM_CI: Program = {
  name: "npm",
  needs: [["npm", "npm"], ["node", "nodejs"]],
  gapMs: 300,
  prepare,
  script: (at) => `
export npm_config_cache=${at.base}/cache
${NPM} ci
echo installed >>done
sleep 0.1
echo removing >>done
${NPM} ci
echo installed again >>done
`,
  use,
  atEnd,
};
