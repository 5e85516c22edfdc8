/**
 * Who the command runs as, and with which environment. Started by sudo, the command runs as the invoking user with the environment
 * sudo itself was given (its PATH and HOME, which sudo's policy replaced for us), so that `sudo diffkeeper record -- make test` runs
 * what `make test` runs. `--user` overrides; without sudo nothing changes.
 */
import { readFileSync } from "node:fs";
import { DiffKeeperError } from "../base/error.ts";
import { procStrings } from "./launcher.ts";

/** A user as the command gets it. */
export interface CommandUser {
  uid: number;
  gid: number;
  groups: number[];
  name: string;
  home: string;
  shell: string;
}

interface PasswdEntry {
  name: string;
  uid: number;
  gid: number;
  home: string;
  shell: string;
}

/** Ancestors looked at for sudo: sudo, its monitor, a shell or env between. */
const ANCESTORS_MAX = 8;
/** Variables that sudo sets for the target user: the invoker's own values win. */
const SUDO_OWN = /^(PATH|HOME|USER|LOGNAME|MAIL|SHELL|USERNAME|SUDO_[A-Z]+)=/;

function passwd(): PasswdEntry[] {
  let text: string;
  try {
    text = readFileSync("/etc/passwd", "latin1");
  } catch {
    return [];
  }
  return text.split("\n").map((line) => line.split(":")).filter((f) => f.length >= 7).map((f) => ({
    name: f[0] ?? "",
    uid: Number(f[2]),
    gid: Number(f[3]),
    home: f[5] ?? "/",
    shell: f[6] ?? "/bin/sh",
  }));
}

function groupsOf(name: string, gid: number): number[] {
  let text = "";
  try {
    text = readFileSync("/etc/group", "latin1");
  } catch {
    return [gid];
  }
  const member = text.split("\n").map((line) => line.split(":"))
    .filter((f) => (f[3] ?? "").split(",").includes(name)).map((f) => Number(f[2]));
  return [...new Set([gid, ...member])];
}

function userOf(wanted: string, gid: number | undefined): CommandUser {
  const entries = passwd();
  const numeric = /^\d+$/.test(wanted) ? Number(wanted) : undefined;
  const entry = entries.find((e) => e.name === wanted) ?? entries.find((e) => e.uid === numeric);
  if (entry === undefined && numeric === undefined) {
    throw new DiffKeeperError("usage", `cannot run the command as "${wanted}": no such user`, {
      hint: "give a name of /etc/passwd or a numeric user id",
    });
  }
  const uid = entry?.uid ?? numeric ?? 0;
  const group = gid ?? entry?.gid ?? uid;
  return {
    uid,
    gid: group,
    groups: entry === undefined ? [group] : groupsOf(entry.name, group),
    name: entry?.name ?? wanted,
    home: entry?.home ?? "/",
    shell: entry?.shell ?? "/bin/sh",
  };
}

/**
 * The user that the command runs as; undefined: as the recorder itself.
 * @throws {DiffKeeperError} `usage` for a user that does not exist, `no_privilege` when not root.
 */
export function commandUser(
  flag: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
): CommandUser | undefined {
  const uid = process.geteuid?.() ?? 0;
  if (flag !== undefined && uid !== 0) {
    throw new DiffKeeperError("no_privilege", `cannot run the command as "${flag}": not root`);
  }
  if (flag !== undefined) return userOf(flag, undefined);
  const { SUDO_UID, SUDO_GID } = env;
  if (uid !== 0 || SUDO_UID === undefined || !/^\d+$/.test(SUDO_UID)) return undefined;
  return userOf(SUDO_UID, SUDO_GID === undefined ? undefined : Number(SUDO_GID));
}

function parentOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
}

/** The environment that sudo was started with; undefined when no ancestor is sudo or it cannot be read. */
function sudoEnvironment(): string[] | undefined {
  let pid = process.ppid;
  try {
    for (let i = 0; i < ANCESTORS_MAX && pid > 1; i++) {
      if (readFileSync(`/proc/${pid}/comm`, "latin1").trim() === "sudo") {
        return procStrings(pid, "environ");
      }
      pid = parentOf(pid);
    }
  } catch {
    return undefined;
  }
  return undefined;
}

/** The command's environment as `NAME=value` binary strings, exact bytes. */
export function commandEnvironment(user: CommandUser | undefined, viaSudo: boolean): string[] {
  const own = procStrings("self", "environ");
  if (user === undefined) return own;
  const kept = own.filter((entry) => !SUDO_OWN.test(entry));
  const base = viaSudo ? sudoEnvironment() : undefined;
  const identity = [
    `HOME=${user.home}`,
    `USER=${user.name}`,
    `LOGNAME=${user.name}`,
    `SHELL=${user.shell}`,
  ];
  const path = own.filter((entry) => entry.startsWith("PATH="));
  const before = base?.filter((entry) => SUDO_OWN.test(entry) && !entry.startsWith("SUDO_"));
  const result = new Map<string, string>();
  for (const entry of [...identity, ...path, ...(before ?? []), ...kept]) {
    result.set(entry.slice(0, entry.indexOf("=")), entry);
  }
  return [...result.values()];
}
