/**
 * The kernels of the matrix: which package each comes from, where from, and what is expected of it. Series are chosen, never exact
 * versions: the names of Debian's packages move. The default needs nothing but the usual sources of Debian 12.
 */

/** One guest. */
export interface Kernel {
  /** What the user types and the table shows. */
  readonly name: string;
  /** Start of the package's version: "6.12". */
  readonly series: string;
  /** Debian's flavour: "cloud-" has ext4 and nvme built in, "" has both as modules. */
  readonly flavour: "cloud-" | "";
  /** In the default sources of Debian 12. */
  readonly isDefault: boolean;
  /** `refuse`: record must end with a clear error. */
  readonly expected: "record" | "refuse";
  /** A build that does without what newer kernels offer: what 5.15 gets. */
  readonly isOldest: boolean;
}

function kernel(series: string, more: Partial<Kernel> = {}): Kernel {
  const plain = { name: series, series, flavour: "cloud-", isDefault: false } as const;
  return { ...plain, expected: "record", isOldest: false, ...more };
}

export const KERNELS: readonly Kernel[] = [
  kernel("6.1", { isDefault: true }),
  kernel("6.12", { isDefault: true }),
  kernel("6.1", { name: "6.1-oldest", isOldest: true, isDefault: true }),
  kernel("6.12", { name: "6.12-modules", flavour: "" }),
  kernel("5.10", { expected: "refuse" }),
  kernel("6.16"),
  kernel("6.18"),
  kernel("7.0"),
  kernel("7.2"),
];

/** Suites of Debian that hold the kernels which Debian 12 has not. */
export const MORE_SUITES = ["bullseye", "trixie", "trixie-backports"] as const;
export const MORE_SECURITY_SUITES = ["bullseye-security", "trixie-security"] as const;

/** Modules for disk and ext4 where they are not built in, in this order; ext4 asks for its checksum by name when it mounts. */
export const DISK_MODULES = ["nvme", "crc32c_generic", "crc32c_cryptoapi", "ext4"] as const;
