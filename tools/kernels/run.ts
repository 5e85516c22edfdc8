/**
 * The recorder on other kernels: boots Debian's in QEMU, two at a time, runs guest/check.ts in each, prints one line a kernel.
 * `npm run test:kernels -- [--all] [--kernel NAME]... [--writes 500000] [--points 200] [--seconds 7200] [--bin PATH]`. Without
 * --all: the kernels that the default sources of Debian 12 have. A kernel that cannot be had is a skip with its reason.
 */
import { existsSync, mkdirSync, rmSync } from "node:fs";
import { parseArgs } from "node:util";
import { type Kernel, KERNELS } from "./catalog.ts";
import { writeInitrd } from "./contents.ts";
import { FOLDER, ROOT } from "./folder.ts";
import { guestObstacle, runGuest } from "./guest.ts";
import { kernelImage } from "./kernel_image.ts";
import { oldestBinary } from "./oldest.ts";
import { Apt, type Found } from "./packages.ts";
import { lineOf, reportIn, type Row, rowOf } from "./report.ts";

const GUESTS_AT_A_TIME = 2;
const OUTPUT_LINES_SHOWN = 30;

/** From the command line. */
interface Options {
  kernels: readonly Kernel[];
  writes: number;
  points: number;
  secondsMax: number;
  binary: string;
}

function optionsOf(argv: string[]): Options {
  const { values } = parseArgs({
    args: argv,
    options: {
      all: { type: "boolean", default: false },
      kernel: { type: "string", multiple: true },
      writes: { type: "string", default: "500000" },
      points: { type: "string", default: "200" },
      seconds: { type: "string", default: "7200" },
      bin: { type: "string", default: `${ROOT}/dist/diffkeeper` },
    },
  });
  const names = values.kernel ?? [];
  const unknown = names.find((name) => !KERNELS.some((kernel) => kernel.name === name));
  if (unknown !== undefined) {
    const known = KERNELS.map((kernel) => kernel.name).join(", ");
    console.error(`kernels: error: no kernel "${unknown}"\nkernels: hint: there are ${known}`);
    process.exit(2);
  }
  const isChosen = (kernel: Kernel) =>
    names.length > 0 ? names.includes(kernel.name) : values.all || kernel.isDefault;
  return {
    kernels: KERNELS.filter(isChosen),
    writes: Number(values.writes),
    points: Number(values.points),
    secondsMax: Number(values.seconds),
    binary: values.bin,
  };
}

function skipped(kernel: Kernel, reason: string): Row {
  const none = { hooks: "-", events: "-", lost: "-", seconds: "0" };
  return { kernel: kernel.name, ...none, verdict: "skipped", notes: [reason] };
}

/** Fetches packages: first from the system's sources, and only for the others from more suites. */
function fetchAll(kernels: readonly Kernel[]): Map<Kernel, Found> {
  const found = new Map<Kernel, Found>();
  const system = Apt.ofSystem();
  let more: Apt | string | undefined;
  for (const kernel of kernels) {
    let packages = system.fetch(kernel);
    if ("missing" in packages) {
      more ??= Apt.withMoreSuites();
      packages = typeof more === "string" ? { missing: more } : more.fetch(kernel);
    }
    found.set(kernel, packages);
  }
  return found;
}

async function rowFor(kernel: Kernel, packages: Found, options: Options): Promise<Row> {
  if ("missing" in packages) return skipped(kernel, packages.missing);
  const image = kernelImage(kernel, packages.debs);
  const binary = kernel.isOldest ? oldestBinary() : options.binary;
  const initrd = writeInitrd(kernel.name, binary, image.modules);
  const { writes, points, secondsMax } = options;
  const parameters = [`dk.writes=${writes}`, `dk.points=${points}`];
  const guest = await runGuest({ name: kernel.name, image, initrd, parameters, secondsMax });
  rmSync(initrd);
  const row = rowOf(kernel, reportIn(guest.output), guest.seconds);
  if (row.verdict !== "FAILED") return row;
  const lines = guest.output.trim().split("\n").filter((line) => !line.startsWith("@@"));
  return {
    ...row,
    notes: [...row.notes, ...lines.slice(-OUTPUT_LINES_SHOWN), `console: ${guest.consolePath}`],
  };
}

async function main(options: Options): Promise<boolean> {
  mkdirSync(FOLDER, { recursive: true });
  const found = fetchAll(options.kernels);
  const waiting = [...options.kernels];
  let isGood = true;
  const worker = async () => {
    for (let kernel = waiting.shift(); kernel !== undefined; kernel = waiting.shift()) {
      const row = await rowFor(kernel, found.get(kernel) ?? { missing: "not fetched" }, options);
      console.log(lineOf(row));
      for (const note of row.notes) console.log(`    ${note}`);
      isGood &&= row.verdict !== "FAILED";
    }
  };
  await Promise.all(Array.from({ length: GUESTS_AT_A_TIME }, worker));
  return isGood;
}

if (import.meta.main) {
  const options = optionsOf(process.argv.slice(2));
  const obstacle = guestObstacle() || (existsSync(options.binary) ? "" : `no ${options.binary}`);
  if (obstacle !== "") {
    for (const kernel of options.kernels) {
      const row = skipped(kernel, obstacle);
      console.log(`${lineOf(row)}\n    ${obstacle}`);
    }
    process.exit(0);
  }
  process.exit(await main(options) ? 0 : 1);
}
