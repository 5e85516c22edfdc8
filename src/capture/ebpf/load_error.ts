/**
 * Why the kernel refuses the recorder, in words: the missing feature with the first kernel that has it, the missing privilege, or
 * what the verifier says. Asked only after something failed.
 */
import { libbpf } from "../../../ffi/libbpf.ts";
import { Errno, errnoText } from "../../../ffi/libc.ts";
import { DiffKeeperError } from "../../base/error.ts";
import { lockdown } from "./hooks.ts";

const LINE_CHARS_MAX = 200;
/** Map types (enum bpf_map_type of include/uapi/linux/bpf.h) that came last, and when. */
const MAP_TYPES = [
  { type: 27, feature: "BPF ring buffers", minimum: "5.8" },
  { type: 29, feature: "BPF task storage", minimum: "5.11" },
];

/** The error for a kernel without a feature. */
export function missingFeature(feature: string, minimum: string): DiffKeeperError {
  return new DiffKeeperError(
    "unsupported_kernel",
    `cannot record: this kernel lacks ${feature} (needs Linux ${minimum})`,
    { hint: "run it on a kernel from 5.15 on, built with CONFIG_DEBUG_INFO_BTF=y" },
  );
}

/** The verifier's last word: the line before its statistics. */
function verdictIn(log: Uint8Array): string | undefined {
  const end = log.indexOf(0);
  const text = new TextDecoder().decode(log.subarray(0, end < 0 ? log.length : end));
  const isStatistics = /^(processed|verification time|stack depth|insns processed) /;
  const lines = text.split("\n").filter((line) => line !== "" && !isStatistics.test(line));
  return lines.at(-1)?.slice(0, LINE_CHARS_MAX);
}

/**
 * @param code errno of the load or the attachment.
 * @param log what the kernel said, a C string.
 */
export function loadError(code: number, log: Uint8Array): DiffKeeperError {
  const verdict = verdictIn(log);
  // EACCES is the verifier's word too, and then it gives a reason
  if (code === Errno.EPERM || (code === Errno.EACCES && verdict === undefined)) {
    return new DiffKeeperError(
      "no_privilege",
      "cannot load the recorder into the kernel: permission denied",
      {
        hint: "run it with sudo; the command still runs as you",
        cause: `bpf(2): ${errnoText(code)}`,
      },
    );
  }
  for (const { type, feature, minimum } of MAP_TYPES) {
    if (libbpf().libbpf_probe_bpf_map_type(type, null) === 0) {
      return missingFeature(feature, minimum);
    }
  }
  if (lockdown() === "confidentiality") {
    return new DiffKeeperError(
      "unsupported_kernel",
      "cannot record: this kernel is locked down (confidentiality), so BPF may not read its memory",
      { hint: "boot it with lockdown=integrity" },
    );
  }
  return new DiffKeeperError(
    "unsupported_kernel",
    `cannot load the recorder into the kernel: ${errnoText(code)}`,
    {
      hint: "it needs Linux 5.15 or newer, built with CONFIG_DEBUG_INFO_BTF=y",
      ...(verdict === undefined ? {} : { cause: `the BPF verifier: ${verdict}` }),
    },
  );
}
