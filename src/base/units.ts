/**
 * Numbers with units as people read them. Sizes are decimal (1KB = 1000B), as disks, `ls --si` and network tools count,
 * so that the digits are those of the exact byte count. Rounding is down: a size or time shown was surely reached.
 * There is no rounding up to the next unit: 999999B is 999.9KB.
 */
import { assert } from "./assert.ts";

const SIZE_UNITS = ["KB", "MB", "GB", "TB", "PB", "EB"] as const;
const NS_PER_US = 1_000n;
const NS_PER_MS = 1_000_000n;
const NS_PER_SECOND = 1_000_000_000n;
const SECONDS_PER_MINUTE = 60n;
const MINUTES_PER_HOUR = 60n;

/** A byte count: `15B`, `1.2KB`, `3.0GB`. Below 1000 exact, above with one decimal, rounded down. */
export function formatBytes(sizeBytes: number | bigint): string {
  const size = BigInt(sizeBytes);
  assert(size >= 0n, "a size is not negative");
  if (size < 1_000n) return `${size}B`;
  let tenths = size / 100n;
  for (const unit of SIZE_UNITS) {
    if (tenths < 10_000n) return `${tenths / 10n}.${tenths % 10n}${unit}`;
    tenths /= 1_000n;
  }
  return `${tenths * 100n}EB`;
}

/** A count with groups of three: `2,000,000`. */
export function formatCount(count: number | bigint): string {
  return count.toString().replace(/\B(?=(\d{3})+$)/g, ",");
}

/** A count with its noun: `1 file`, `2 files`, `1 entry`, `2,000 entries`. @param many the plural; default: with an s. */
export function counted(count: number, noun: string, many = `${noun}s`): string {
  return `${formatCount(count)} ${count === 1 ? noun : many}`;
}

/** A length of time: `850ns`, `12us`, `3.4ms`, `1.20s`, `2m14.5s`, `1h02m03s`; rounded down. */
export function formatDurationNs(durationNs: number | bigint): string {
  const duration = BigInt(durationNs);
  assert(duration >= 0n, "a duration is not negative");
  if (duration < NS_PER_US) return `${duration}ns`;
  if (duration < NS_PER_MS) return `${duration / NS_PER_US}us`;
  if (duration < NS_PER_SECOND) return `${fixed(duration, NS_PER_MS, 1)}ms`;
  const seconds = duration / NS_PER_SECOND;
  if (seconds < SECONDS_PER_MINUTE) return `${fixed(duration, NS_PER_SECOND, 2)}s`;
  const minutes = seconds / SECONDS_PER_MINUTE;
  const rest = duration % (SECONDS_PER_MINUTE * NS_PER_SECOND);
  if (minutes < MINUTES_PER_HOUR) {
    return `${minutes}m${fixed(rest, NS_PER_SECOND, 1).padStart(4, "0")}s`;
  }
  const hours = minutes / MINUTES_PER_HOUR;
  return `${hours}h${pad(minutes % MINUTES_PER_HOUR, 2)}m${pad(rest / NS_PER_SECOND, 2)}s`;
}

/** value / unit with a fixed number of decimals, rounded down. */
function fixed(value: bigint, unit: bigint, decimals: number): string {
  const scale = 10n ** BigInt(decimals);
  const scaled = value * scale / unit;
  return `${scaled / scale}.${pad(scaled % scale, decimals)}`;
}

function pad(value: bigint, digits: number): string {
  return value.toString().padStart(digits, "0");
}
