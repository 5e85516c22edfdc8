/**
 * From Debian packages to what QEMU boots: the uncompressed kernel (PVH boot, which saves unpacking it under emulation), and the
 * modules for disk and ext4 where they are not built in, in the order in which they must be loaded.
 */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { DISK_MODULES, type Kernel } from "./catalog.ts";
import { FOLDER, tool } from "./folder.ts";

/** Offsets in the setup header of a bzImage: Documentation/arch/x86/boot.rst. */
const SETUP_SECTORS_AT = 0x1f1;
const PAYLOAD_AT = 0x248;
const SECTOR_BYTES = 512;
const SETUP_SECTORS_DEFAULT = 4;
/** How a payload begins, and what unpacks it. xz and zstd end with padding that is not theirs. */
const PACKERS = [
  { magic: [0x28, 0xb5, 0x2f, 0xfd], argv: ["zstd", "-dcq"] },
  { magic: [0xfd, 0x37, 0x7a, 0x58], argv: ["xz", "-dc", "--single-stream"] },
  { magic: [0x02, 0x21, 0x4c, 0x18], argv: ["lz4", "-dcq"] },
  { magic: [0x1f, 0x8b], argv: ["gzip", "-dcq"] },
] as const;
const ELF = [0x7f, 0x45, 0x4c, 0x46];

/** What a guest is booted with. */
export interface KernelImage {
  vmlinux: string;
  /** Files of modules, in load order. */
  modules: string[];
}

function startsWith(bytes: Uint8Array, magic: readonly number[]): boolean {
  return magic.every((byte, i) => bytes[i] === byte);
}

/** The kernel inside a bzImage. The unpacker may complain about what follows the payload; the result must be an ELF file. */
function vmlinuxOf(bzImage: Uint8Array): Uint8Array {
  const view = new DataView(bzImage.buffer, bzImage.byteOffset, bzImage.byteLength);
  const sectors = (bzImage[SETUP_SECTORS_AT] ?? 0) || SETUP_SECTORS_DEFAULT;
  const start = (sectors + 1) * SECTOR_BYTES + view.getUint32(PAYLOAD_AT, true);
  const payload = bzImage.subarray(start, start + view.getUint32(PAYLOAD_AT + 4, true));
  const packer = PACKERS.find(({ magic }) => startsWith(payload, magic));
  if (packer === undefined) throw new Error("the kernel is packed in a way that is not known here");
  const done = Bun.spawnSync([...packer.argv], { stdin: payload, stdout: "pipe", stderr: "pipe" });
  if (!startsWith(done.stdout, ELF)) {
    throw new Error(`${packer.argv[0]} does not unpack the kernel: ${done.stderr.toString()}`);
  }
  return done.stdout;
}

function firstMatch(folder: string, pattern: string): string | undefined {
  const glob = new Bun.Glob(pattern);
  const [path] = [...glob.scanSync({ cwd: folder, onlyFiles: true, followSymlinks: false })].sort();
  return path === undefined ? undefined : join(folder, path);
}

/** Name of a module from its file: dashes and underscores are one. */
function moduleName(path: string): string {
  return basename(path).replace(/\.ko(\.xz)?$/, "").replaceAll("-", "_");
}

/** The files that the wanted modules need, dependencies first; empty where all are built in. */
function moduleFiles(modulesFolder: string): string[] {
  const release = readdirSync(modulesFolder)[0] ?? "";
  const base = modulesFolder.replace(/\/lib\/modules$/, "");
  const dep = join(modulesFolder, release, "modules.dep");
  if (!existsSync(dep)) tool(["/sbin/depmod", "-b", base, release]);
  const needs = new Map<string, string[]>();
  for (const line of readFileSync(dep, "utf8").split("\n")) {
    const [path = "", list = ""] = line.split(":");
    if (path !== "") needs.set(path, list.trim().split(" ").filter((word) => word !== ""));
  }
  const order: string[] = [];
  for (const wanted of DISK_MODULES) {
    const path = [...needs.keys()].find((one) => moduleName(one) === wanted);
    if (path === undefined) continue;
    // modules.dep lists all that is needed, the deepest last
    for (const one of [...(needs.get(path) ?? []).toReversed(), path]) {
      if (!order.includes(one)) order.push(one);
    }
  }
  return order.map((path) => join(modulesFolder, release, path));
}

/** Unpacks the packages once. */
function unpacked(kernel: Kernel, debs: readonly string[]): string {
  const names = debs.map((deb) => basename(deb)).join("\n");
  const folder = join(FOLDER, "unpacked", `${kernel.flavour}${kernel.series}`);
  const stamp = join(folder, ".packages");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === names) return folder;
  tool(["rm", "-rf", folder]);
  mkdirSync(folder, { recursive: true });
  for (const deb of debs) tool(["dpkg-deb", "-x", deb, folder]);
  writeFileSync(stamp, names);
  return folder;
}

function modulesOf(kernel: Kernel, folder: string): string[] {
  if (kernel.flavour === "cloud-") return [];
  const parent = ["lib/modules", "usr/lib/modules"].map((path) => join(folder, path)).find(
    existsSync,
  );
  if (parent === undefined) return [];
  return moduleFiles(parent).map((file) => {
    const plain = join(FOLDER, "modules", kernel.name, `${moduleName(file)}.ko`);
    mkdirSync(dirname(plain), { recursive: true });
    const bytes = readFileSync(file);
    writeFileSync(plain, file.endsWith(".xz") ? tool(["xz", "-dc"], bytes) : bytes);
    return plain;
  });
}

/** Makes what a guest needs of its packages. @throws when they hold no kernel. */
export function kernelImage(kernel: Kernel, debs: readonly string[]): KernelImage {
  const folder = unpacked(kernel, debs);
  const vmlinux = join(folder, "vmlinux");
  if (!existsSync(vmlinux)) {
    const packed = firstMatch(folder, "boot/vmlinuz-*") ??
      firstMatch(folder, "usr/lib/modules/*/vmlinuz") ??
      firstMatch(folder, "lib/modules/*/vmlinuz");
    if (packed === undefined) throw new Error(`the packages of ${kernel.name} hold no kernel`);
    writeFileSync(`${vmlinux}.tmp`, vmlinuxOf(readFileSync(packed)));
    renameSync(`${vmlinux}.tmp`, vmlinux);
  }
  return { vmlinux, modules: modulesOf(kernel, folder) };
}
