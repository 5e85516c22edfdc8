/**
 * What the recorder and the launcher (native/starter.c, `launch`) say to each other on two pipes. The recorder writes a plan, then commands
 * of which the last is the go; the launcher answers with replies. Both are of one build, so nothing carries a version. All numbers
 * are little-endian and unsigned but the values of replies; the structs of starter.c have the same names.
 */
import { assert } from "../base/assert.ts";

/** What the launcher is to become; bytes are binary strings. */
export interface LaunchSpec {
  argv: string[];
  /** Each `NAME=value`. */
  env: string[];
  user?: { uid: number; gid: number; groups: number[] };
  /** Signals that were ignored when the recorder started, as in SigIgn of /proc/PID/status; they stay ignored. */
  ignoredSignals: number[];
  /** Signals that were blocked then, as in SigBlk; they stay blocked. */
  blockedSignals: number[];
  /** Descriptors above stderr that the command gets. */
  fds: readonly number[];
  /** Which of descriptors 0, 1 and 2 were non-blocking when the recorder started. */
  nonBlocking: number[];
  /** Soft limit of open files before the runtime raised it. */
  openFilesMax?: number;
}

/** struct plan, in words of 8 bytes. */
const PLAN_WORDS = 13;
const WORD_BYTES = 8;
/** struct command: u32 kind, u32 flags, u64 bytes. */
const COMMAND_BYTES = 16;
/** struct reply: i64 kind, i64 value. */
export const REPLY_BYTES = 16;

const CommandKind = { GO: 1, FILTER: 2 } as const;
/** What a reply is about: its value is the result of seccomp(2); or an errno of execve(2); or one of becoming the user. */
export const ReplyKind = { FILTER: 1, EXEC: 2, USER: 3 } as const;

const STANDARD_FDS = [0, 1, 2] as const;

function bits(numbers: readonly number[], first: number): bigint {
  return numbers.reduce((sum, number) => sum | 1n << BigInt(number - first), 0n);
}

/** Where a command of this name may stand: execvp(3) with the command's own PATH. */
export function candidates(name: string, env: readonly string[]): string[] {
  if (name === "" || name.includes("/")) return [name];
  const path = env.find((entry) => entry.startsWith("PATH="))?.slice(5) ??
    "/usr/local/bin:/usr/bin:/bin";
  return path.split(":").map((folder) => `${folder === "" ? "." : folder}/${name}`);
}

/** struct plan and what stands behind it. */
export function encodePlan(spec: LaunchSpec): Uint8Array {
  const { argv, env, user, fds } = spec;
  assert(argv.length > 0, "a command has a name");
  const paths = candidates(argv[0] ?? "", env);
  const groups = user?.groups ?? [];
  const strings = Buffer.from(
    [...argv, ...env, ...paths].map((one) => `${one}\0`).join(""),
    "latin1",
  );
  const blocking = STANDARD_FDS.filter((fd) => !spec.nonBlocking.includes(fd));
  const numbers = [...groups, ...fds].map(BigInt);
  const words = [
    BigInt(numbers.length * WORD_BYTES + strings.length),
    ...[argv.length, env.length, paths.length, groups.length, fds.length].map(BigInt),
    ...[user === undefined ? 0 : 1, user?.uid ?? 0, user?.gid ?? 0].map(BigInt),
    bits(spec.ignoredSignals, 1),
    bits(spec.blockedSignals, 1),
    bits(blocking, 0),
    BigInt(spec.openFilesMax ?? 0),
  ];
  assert(words.length === PLAN_WORDS, "the plan has the fields of the struct");
  return Buffer.concat([Buffer.from(BigUint64Array.from([...words, ...numbers]).buffer), strings]);
}

function encodeCommand(kind: number, flags: number, data: Uint8Array): Uint8Array {
  const command = Buffer.alloc(COMMAND_BYTES);
  command.writeUInt32LE(kind, 0);
  command.writeUInt32LE(flags, 4);
  command.writeBigUInt64LE(BigInt(data.length), 8);
  return Buffer.concat([command, data]);
}

/** Asks for a seccomp filter: `flags` of seccomp(2) and its instructions. */
export function encodeFilter(flags: number, program: Uint8Array): Uint8Array {
  return encodeCommand(CommandKind.FILTER, flags, program);
}

/** Lets the command go. */
export function encodeGo(): Uint8Array {
  return encodeCommand(CommandKind.GO, 0, new Uint8Array(0));
}

/** A reply, from its REPLY_BYTES bytes. */
export function decodeReply(bytes: Uint8Array): { kind: number; value: number } {
  assert(bytes.length === REPLY_BYTES, "a reply has 16 bytes");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return { kind: Number(view.getBigInt64(0, true)), value: Number(view.getBigInt64(8, true)) };
}
