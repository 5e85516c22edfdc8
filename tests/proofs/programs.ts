/**
 * Real programs under record, each restored at 20 random events and used: `npm run prove programs [NAME...] [--seed N] [--keep]`
 * Beside the random events, at which the program itself judges the export, the program is frozen at random moments whose
 * folder is written down: there the export must be the same by bytes, names, modes, owners, links and mtimes, and at the end.
 */
import { parseArgs } from "node:util";
import { freezerObstacle } from "../oracle/frozen.ts";
import { machine, obstacle } from "./_kit.ts";
import { PROGRAMS } from "./programs/_all.ts";
import { missingOf, prove, type ProveOptions } from "./programs/_prove.ts";

async function main(argv: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: argv,
    allowPositionals: true,
    options: {
      seed: { type: "string", default: String(Date.now() % 1_000_000) },
      keep: { type: "boolean", default: false },
      events: { type: "string" },
      moments: { type: "string" },
      ring: { type: "string" },
    },
  });
  const reason = obstacle() || freezerObstacle();
  if (reason !== "") {
    console.error(`proof: error: cannot run here: ${reason}`);
    return 1;
  }
  const names = PROGRAMS.map(({ name }) => name);
  const unknown = positionals.filter((name) => !names.includes(name));
  if (unknown.length > 0) {
    console.error(`proof: error: there is no program "${unknown.join('", "')}"`);
    console.error(`proof: hint: there are ${names.join(", ")}`);
    return 2;
  }
  const chosen = PROGRAMS.filter(({ name }) =>
    positionals.length === 0 || positionals.includes(name)
  );
  const missing = new Set(chosen.flatMap(missingOf));
  if (missing.size > 0) {
    console.error(`proof: error: programs are missing`);
    console.error(`proof: hint: apt-get install ${[...missing].join(" ")}`);
    return 1;
  }
  let differences = 0;
  const options: ProveOptions = {
    seed: Number(values.seed),
    keep: values.keep,
    ...(values.events === undefined ? {} : { events: Number(values.events) }),
    ...(values.ring === undefined ? {} : { ring: values.ring }),
    ...(values.moments === undefined ? {} : { moments: Number(values.moments) }),
  };
  for (const program of chosen) {
    differences += await prove(program, options, (line) => console.log(line));
  }
  console.log(
    `programs: ${chosen.length} programs, ${differences} differences, seed ${options.seed} (${machine()})`,
  );
  return differences === 0 ? 0 : 1;
}

process.exit(await main(process.argv.slice(2)));
