/**
 * Builds dist/diffkeeper in five steps: the BPF objects, what is native (native/), the WebAssembly module of the codecs, copies of
 * the shared libraries that are embedded, and the compiled binary. A step is skipped when the hash of its inputs and of its command
 * is the one of its last success (kept in build/stamps/). Each output appears by rename, so that two builds in one
 * checkout never see half a file.
 * --target linux-x64|linux-arm64|darwin-arm64|darwin-x64: a binary for that system that only reads traces, dist/diffkeeper-TARGET
 * (recording binaries are built on the system they are for). The other runtimes are npm packages, fetched once into build/runtimes/.
 * --oldest: a binary that uses nothing that came after Linux 5.15 (tools/kernels tests it).
 */
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readFileSync, realpathSync } from "node:fs";
import { renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { stripSignature } from "./mach_o.ts";

const ROOT = join(import.meta.dir, "..");
const ARCH = process.arch === "arm64"
  ? { bpf: "arm64", triple: "aarch64-linux-gnu", ldconfig: "AArch64" }
  : { bpf: "x86", triple: "x86_64-linux-gnu", ldconfig: "x86-64" };
const BPF_SOURCE = "bpf/recorder.bpf.c";
const BPF_OBJECT = "build/recorder.bpf.o";
/** For kernels that have all that it can use (DK_NEWEST of bpf/kernel.h). */
const BPF_NEWEST_OBJECT = "build/recorder_newest.bpf.o";
const STARTER = "build/starter.elf";
const LOADING = "build/loading.so";
const WASM_MODULE = "build/codecs.wasm";
const BINARY = "dist/diffkeeper";
/** In the order in which the binary must load them. */
const LIBRARIES = ["libz.so.1", "libelf.so.1", "libbpf.so.1"] as const;

/** One build step: what it reads, what it writes, and how. */
interface Step {
  readonly name: string;
  /** Files whose bytes decide whether the step runs. */
  readonly inputs: readonly string[];
  /** Anything else that decides, such as the command line. */
  readonly key: string;
  readonly outputs: readonly string[];
  run(): void;
}

function fail(message: string, hint: string): never {
  console.error(`build: error: ${message}\nbuild: hint: ${hint}`);
  process.exit(1);
}

function glob(pattern: string): string[] {
  return [...new Bun.Glob(pattern).scanSync({ cwd: ROOT, onlyFiles: true })].sort();
}

/** Runs a tool in the checkout; stops the build with the tool's own output if it fails. */
function command(argv: string[]): void {
  const [tool] = argv;
  const done = Bun.spawnSync(argv, { cwd: ROOT, stdout: "pipe", stderr: "pipe" });
  if (done.exitCode === 0) return;
  console.error(done.stdout.toString() + done.stderr.toString());
  fail(
    `${tool} exited with ${done.exitCode}`,
    "see its output above; npm run setup installs the tools",
  );
}

function hashOf(step: Step): string {
  const hash = createHash("sha256").update(step.key);
  for (const path of step.inputs) {
    hash.update(`\0${path}\0`).update(readFileSync(resolve(ROOT, path)));
  }
  return hash.digest("hex");
}

function perform(step: Step): void {
  const stamp = join(ROOT, "build/stamps", step.name);
  const hash = hashOf(step);
  const fresh = existsSync(stamp) && readFileSync(stamp, "utf8") === hash &&
    step.outputs.every((path) => existsSync(join(ROOT, path)));
  if (fresh) return;
  const startedAt = performance.now();
  for (const path of step.outputs) mkdirSync(join(ROOT, dirname(path)), { recursive: true });
  mkdirSync(dirname(stamp), { recursive: true });
  step.run();
  writeFileSync(stamp, hash);
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  console.error(`build: ${step.name}: ${step.outputs.join(", ")} (${seconds}s)`);
}

/** A name beside the output, to be renamed onto it when complete. */
function temporary(path: string): string {
  return `${path}.${process.pid}.tmp`;
}

function publish(path: string): void {
  renameSync(join(ROOT, temporary(path)), join(ROOT, path));
}

function bpfStep(output: string, definition?: string): Step {
  // -mcpu=v3: atomics that return a value, in kernels from 5.12. -g: BTF, which CO-RE needs; DWARF is stripped after.
  const clang = ["clang", "-g", "-O2", "-Wall", "-Werror", "-target", "bpf", "-mcpu=v3"];
  if (process.argv.includes("--oldest")) clang.push("-DDK_OLDEST");
  else if (definition !== undefined) clang.push(`-D${definition}`);
  clang.push(`-D__TARGET_ARCH_${ARCH.bpf}`, "-I", "bpf", "-I", `/usr/include/${ARCH.triple}`);
  return {
    name: basename(output),
    inputs: glob("bpf/**/*.{c,h}"),
    key: clang.join(" "),
    outputs: [output],
    run() {
      command([...clang, "-c", BPF_SOURCE, "-o", temporary(output)]);
      command(["llvm-strip", "-g", temporary(output)]);
      publish(output);
    },
  };
}

/** Static, without a C library: native/starter.c. */
function starterStep(): Step {
  const source = "native/starter.c";
  const clang = ["clang", "-O2", "-Wall", "-Wextra", "-Werror", "-ffreestanding", "-fno-builtin"];
  clang.push("-fno-stack-protector", "-fno-asynchronous-unwind-tables", "-fno-pic");
  clang.push("-nostdlib", "-static", "-fuse-ld=lld", "-Wl,--build-id=none,-s");
  return {
    name: "starter",
    inputs: [source],
    key: clang.join(" "),
    outputs: [STARTER],
    run() {
      command([...clang, source, "-o", temporary(STARTER)]);
      publish(STARTER);
    },
  };
}

/** A shared library that stands in for functions of libbpf: native/loading.c. */
function loadingStep(): Step {
  const sources = ["loading", "kernel_types", "program_loads"].map((name) => `native/${name}.c`);
  const clang = ["clang", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-fvisibility=hidden"];
  clang.push("-shared", "-fuse-ld=lld", "-Wl,--build-id=none,-s");
  return {
    name: "loading",
    inputs: ["native/loading.h", ...sources],
    key: clang.join(" "),
    outputs: [LOADING],
    run() {
      command([...clang, ...sources, "-o", temporary(LOADING)]);
      publish(LOADING);
    },
  };
}

/** Debian's lld has it with a version in its name too. */
function wasmLinker(): string {
  const named = ["wasm-ld", ...Array.from({ length: 20 }, (_, i) => `wasm-ld-${33 - i}`)];
  const found = named.find((name) => Bun.which(name) !== null);
  return found ?? fail("cannot find wasm-ld on this machine", "npm run setup installs it (lld)");
}

function wasmStep(): Step {
  const clang = ["clang", "--target=wasm32", "-O3", "-msimd128", "-mbulk-memory"];
  clang.push("-nostdlib", "-ffreestanding", "-Wall", "-Wextra", "-Werror");
  const linker = wasmLinker();
  const flags = ["--no-entry", "--strip-all", "--export=__heap_base", "-z", "stack-size=16384"];
  const sources = glob("wasm/c/*.c");
  return {
    name: "wasm",
    inputs: glob("wasm/c/*.{c,h}"),
    key: [...clang, linker, ...flags].join(" "),
    outputs: [WASM_MODULE],
    run() {
      const objects = sources.map((path) => temporary(`build/${basename(path)}.o`));
      sources.forEach((path, i) => command([...clang, "-c", path, "-o", objects[i] ?? ""]));
      command([linker, ...flags, ...objects, "-o", temporary(WASM_MODULE)]);
      for (const path of objects) rmSync(join(ROOT, path));
      publish(WASM_MODULE);
    },
  };
}

/** Where the dynamic loader of this host finds a library, symbolic links followed. */
function libraryPath(name: string): string {
  const list = Bun.spawnSync(["/sbin/ldconfig", "-p"]).stdout.toString().split("\n");
  const line = list.find((text) => text.includes(`${name} (`) && text.includes(ARCH.ldconfig));
  const candidates = [
    line?.split("=> ")[1]?.trim(),
    `/usr/lib/${ARCH.triple}/${name}`,
    `/lib/${ARCH.triple}/${name}`,
  ];
  for (const path of candidates) {
    if (path !== undefined && existsSync(path)) return realpathSync(path);
  }
  return fail(`cannot find ${name} on this machine`, "npm run setup installs it");
}

function libraryStep(name: string): Step {
  const source = libraryPath(name);
  const target = `build/lib/${name}`;
  return {
    name,
    inputs: [source],
    key: source,
    outputs: [target],
    run() {
      copyFileSync(source, join(ROOT, temporary(target)));
      publish(target);
    },
  };
}

function binaryStep(): Step {
  const entries = ["main.ts", ...glob("src/**/*_worker.ts")];
  // A compiled program would read .env and bunfig.toml of the current folder, and the recorded command would inherit it.
  const isolated = ["--no-compile-autoload-dotenv", "--no-compile-autoload-bunfig"];
  // Bytecode: parsed at build time, which halves the start (35 to 17 ms).
  const flags = ["--compile", "--minify-syntax", "--bytecode", "--format=esm", ...isolated];
  const sources = glob("{src,ffi,wasm}/**/*.{ts,html,css,wasm}").filter((path) =>
    !path.endsWith("_test.ts")
  );
  const libraries = LIBRARIES.map((name) => `build/lib/${name}`);
  const native = [STARTER, LOADING];
  const embedded = [BPF_OBJECT, BPF_NEWEST_OBJECT, ...native, WASM_MODULE, ...libraries];
  return {
    name: "binary",
    inputs: ["main.ts", "package.json", "package-lock.json", ...sources, ...embedded],
    key: [Bun.version, ...flags, ...entries].join(" "),
    outputs: [BINARY],
    run() {
      command([process.execPath, "build", ...flags, ...entries, "--outfile", temporary(BINARY)]);
      publish(BINARY);
    },
  };
}

/** The npm package of the runtime for each target. */
const RUNTIMES: Readonly<Record<string, string>> = {
  "linux-x64": "@oven/bun-linux-x64",
  "linux-arm64": "@oven/bun-linux-aarch64",
  "darwin-arm64": "@oven/bun-darwin-aarch64",
  "darwin-x64": "@oven/bun-darwin-x64",
};

/** Fetches the runtime of a target by npm, which checks it against the registry's digest. */
function runtimeStep(target: string): Step {
  const name = `${RUNTIMES[target] ?? ""}@${Bun.version}`;
  const output = `build/runtimes/${target}/bun`;
  return {
    name: `runtime-${target}`,
    inputs: [],
    key: name,
    outputs: [output],
    run() {
      const folder = dirname(output);
      command(["npm", "pack", "--silent", name, "--pack-destination", folder]);
      const [archive = ""] = glob(`${folder}/*.tgz`);
      command(["tar", "xzf", archive, "-C", folder, "--strip-components=2", "package/bin/bun"]);
      rmSync(join(ROOT, archive));
    },
  };
}

/** A binary that only reads: nothing of the recorder is in it, no library and no BPF object. */
function readerStep(target: string): Step {
  const runtime = `build/runtimes/${target}/bun`;
  const output = `${BINARY}-${target}`;
  const flags = ["--compile", "--minify-syntax", "--format=esm", `--target=bun-${target}`];
  flags.push("--no-compile-autoload-dotenv", "--no-compile-autoload-bunfig");
  flags.push(`--compile-executable-path=${runtime}`);
  const sources = glob("{src,ffi,wasm}/**/*.{ts,wasm}").filter((path) =>
    !path.endsWith("_test.ts")
  );
  return {
    name: `reader-${target}`,
    inputs: ["package.json", "package-lock.json", ...sources, WASM_MODULE, runtime],
    key: [...flags, "unsigned x64"].join(" "),
    outputs: [output],
    run() {
      const argv = [process.execPath, "build", ...flags, "src/cli/reader.ts"];
      command([...argv, "--outfile", temporary(output)]);
      if (target === "darwin-x64") unsign(join(ROOT, temporary(output)));
      publish(output);
    },
  };
}

/** The runtime's own signature, which the bundler leaves in although it adds to the file (for arm64 it signs anew). */
function unsign(path: string): void {
  const file = readFileSync(path);
  if (stripSignature(file)) writeFileSync(path, file);
}

function buildReader(target: string): void {
  if (RUNTIMES[target] === undefined) {
    fail(`there is no target "${target}"`, `one of ${Object.keys(RUNTIMES).join(", ")}`);
  }
  perform(wasmStep());
  perform(runtimeStep(target));
  perform(readerStep(target));
}

/** Half-made outputs of this run, if a tool failed. */
function removeTemporaries(): void {
  for (const path of glob(`{dist,build}/**/*.${process.pid}.tmp`)) rmSync(join(ROOT, path));
}

if (import.meta.main) {
  process.on("exit", removeTemporaries);
  const { values } = parseArgs({
    options: {
      target: { type: "string", multiple: true, default: [] },
      oldest: { type: "boolean" },
    },
  });
  if (values.target.length > 0) { for (const target of values.target) buildReader(target); }
  else {
    perform(bpfStep(BPF_OBJECT));
    perform(bpfStep(BPF_NEWEST_OBJECT, "DK_NEWEST"));
    perform(starterStep());
    perform(loadingStep());
    perform(wasmStep());
    for (const name of LIBRARIES) perform(libraryStep(name));
    perform(binaryStep());
  }
}
