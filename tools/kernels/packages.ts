/**
 * Fetches kernel packages with apt into build/kernels/debs, without root and without changing the system: for kernels that Debian
 * 12 has not, apt gets folders of its own (lists, cache, sources). The addresses come from the machine's own sources. A
 * package that is there is not fetched again; one that cannot be had is a reason, not an error.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Kernel, MORE_SECURITY_SUITES, MORE_SUITES } from "./catalog.ts";
import { FOLDER } from "./folder.ts";

const SOURCES = "/etc/apt/sources.list.d/debian.sources";
const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";
const APT_MS_MAX = 300_000;
/** Some images switch apt's caches off, which makes each call 3 s long. */
const CACHES = [
  "-o",
  "Dir::Cache::pkgcache=pkgcache.bin",
  "-o",
  "Dir::Cache::srcpkgcache=srcpkgcache.bin",
];

/** A kernel's packages on this machine, or why there are none. */
export type Found = { debs: string[] } | { missing: string };

/** What apt answered. */
interface Answer {
  isOk: boolean;
  text: string;
}

/** The address of an archive in the machine's sources: the first line "URIs:" that ends with its name. */
function archive(name: string): string | undefined {
  if (!existsSync(SOURCES)) return undefined;
  const lines = readFileSync(SOURCES, "utf8").split("\n");
  return lines.find((line) => line.startsWith("URIs:") && line.endsWith(`/${name}`))?.slice(5)
    .trim();
}

/** Apt as this tool sees it: the system's own, or one with more suites. */
export class Apt {
  readonly #config: string | undefined;
  #names: string[] | undefined;

  private constructor(config?: string) {
    this.#config = config;
  }

  static ofSystem(): Apt {
    return new Apt();
  }

  /** With all suites. @returns the reason as text where that does not work. */
  static withMoreSuites(): Apt | string {
    const main = archive("debian");
    const security = archive("debian-security");
    if (main === undefined || security === undefined) return `${SOURCES} names no Debian archive`;
    const folder = join(FOLDER, "apt");
    for (const part of ["lists/partial", "cache/archives/partial"]) {
      mkdirSync(join(folder, part), { recursive: true });
    }
    const options = `[arch=${debianArch()} signed-by=${KEYRING}]`;
    const lines = [
      ...MORE_SUITES.map((suite) => `deb ${options} ${main} ${suite} main`),
      ...MORE_SECURITY_SUITES.map((suite) => `deb ${options} ${security} ${suite} main`),
    ];
    writeFileSync(join(folder, "sources.list"), `${lines.join("\n")}\n`);
    const config = join(folder, "apt.conf");
    writeFileSync(
      config,
      [
        `Dir::State::Lists "${folder}/lists";`,
        `Dir::Cache "${folder}/cache";`,
        `Dir::Etc::SourceList "${folder}/sources.list";`,
        `Dir::Etc::SourceParts "/dev/null";`,
        `APT::Sandbox::User "root";`,
        "",
      ].join("\n"),
    );
    const apt = new Apt(config);
    const update = apt.#run(["apt-get", "-q", "update"]);
    return update.isOk ? apt : `apt-get update fails: ${lastLine(update.text)}`;
  }

  #run(argv: string[], cwd?: string): Answer {
    const done = Bun.spawnSync(argv, {
      ...(cwd === undefined ? {} : { cwd }),
      env: { ...process.env, ...(this.#config === undefined ? {} : { APT_CONFIG: this.#config }) },
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
      timeout: APT_MS_MAX,
    });
    return { isOk: done.exitCode === 0, text: `${done.stdout}${done.stderr}` };
  }

  #packageNames(): string[] {
    this.#names ??= this.#run(["apt-cache", ...CACHES, "pkgnames", "linux-"]).text.split("\n");
    return this.#names;
  }

  /** Names of the packages that make the newest kernel of the series. */
  #packagesOf(kernel: Kernel): string[] {
    const series = kernel.series.replaceAll(".", "\\.");
    const pattern = new RegExp(
      `^linux-(?:image|binary)-(${series}\\.[^ ]*)-${kernel.flavour}${debianArch()}$`,
    );
    const versions = this.#packageNames().map((name) => pattern.exec(name)?.[1])
      .filter((version) => version !== undefined)
      .filter((version) => !/rt|unsigned|cloud/.test(version))
      .sort(byVersion);
    const version = versions.at(-1);
    if (version === undefined) return [];
    // from 6.19 on the image package is empty: binary, modules and base are apart
    const suffix = `${version}-${kernel.flavour}${debianArch()}`;
    const parts = ["binary", "modules", "base"].map((part) => `linux-${part}-${suffix}`)
      .filter((name) => this.#packageNames().includes(name));
    return parts.some((name) => name.startsWith("linux-binary-"))
      ? parts
      : [`linux-image-${suffix}`];
  }

  /** Fetches what is not there yet. */
  fetch(kernel: Kernel): Found {
    const names = this.#packagesOf(kernel);
    if (names.length === 0) {
      return { missing: `no package of Linux ${kernel.series} in the sources` };
    }
    const folder = join(FOLDER, "debs");
    mkdirSync(folder, { recursive: true });
    const debs: string[] = [];
    for (const name of names) {
      const file = fileOf(folder, name);
      if (file === undefined) {
        const got = this.#run(["apt-get", "-q", ...CACHES, "download", name], folder);
        if (!got.isOk) return { missing: `cannot fetch ${name}: ${lastLine(got.text)}` };
      }
      debs.push(join(folder, fileOf(folder, name) ?? name));
    }
    return { debs };
  }
}

function fileOf(folder: string, name: string): string | undefined {
  return readdirSync(folder).find((file) => file.startsWith(`${name}_`) && file.endsWith(".deb"));
}

/** Debian's name of this machine's architecture. */
export function debianArch(): string {
  return process.arch === "arm64" ? "arm64" : "amd64";
}

function byVersion(a: string, b: string): number {
  return a.localeCompare(b, "en", { numeric: true });
}

function lastLine(text: string): string {
  return text.trim().split("\n").at(-1) ?? "";
}
