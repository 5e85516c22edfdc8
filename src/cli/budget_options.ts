/** Sizes and times that are given as options: `--max-size 500M`, `--keep-last 10m`. */
import { DiffKeeperError } from "../base/error.ts";
import { TRACE_BUDGET_BYTES_MIN } from "../base/limits.ts";
import { formatBytes } from "../base/units.ts";
import { parseTime, type TimeExpr } from "../format/time_expr.ts";

const SIZE_UNITS: Record<string, number> = { "": 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 };

/** The size that a trace may have, as sizeOption gives it. @throws {DiffKeeperError} `usage`: so small that no history would be left. */
export function budgetOption(flag: string, text: string): number {
  const bytes = sizeOption(flag, text);
  if (bytes >= TRACE_BUDGET_BYTES_MIN) return bytes;
  throw new DiffKeeperError(
    "usage",
    `cannot use ${flag} "${text}": it is less than ${formatBytes(TRACE_BUDGET_BYTES_MIN)}`,
    { hint: "nothing would be left of the history; for megabytes write 10M" },
  );
}

/** `64M`, `8G`, `262144`: binary units. @throws {DiffKeeperError} `usage`. */
export function sizeOption(flag: string, text: string): number {
  const match = /^(\d{1,15})([KMG]?)$/i.exec(text);
  if (match === null) {
    throw new DiffKeeperError("usage", `cannot use ${flag} "${text}": it is not a size`, {
      hint: "give bytes, or a number with K, M or G",
    });
  }
  return Number(match[1]) * (SIZE_UNITS[(match[2] ?? "").toUpperCase()] ?? 1);
}

function parsed(text: string): TimeExpr | undefined {
  try {
    return parseTime(text);
  } catch {
    return undefined; // its hint names moments, which are no lengths of time
  }
}

/** `10m`, `90s`, `1h30m`, in nanoseconds. @throws {DiffKeeperError} `usage`. */
export function keepTime(flag: string, text: string): number {
  // a bare number may be meant as seconds or as an event, which is no length of time
  const expr = /^\d+(\.\d+)?[a-z]/.test(text) ? parsed(text) : undefined;
  if (expr?.kind === "clock" && !expr.before && expr.ns > 0) return expr.ns;
  throw new DiffKeeperError("usage", `cannot use ${flag} "${text}": it is not a length of time`, {
    hint: "write 10m, 90s or 1h30m",
  });
}
