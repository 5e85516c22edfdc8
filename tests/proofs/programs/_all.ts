/** All programs of the proof `programs`, in the order in which they run. */
import type { Program } from "./_program.ts";
import { BUILD } from "./build.ts";
import { FIO } from "./fio.ts";
import { GIT } from "./git.ts";
import { NPM_CI } from "./npm.ts";
import { POSTGRES } from "./postgres.ts";
import { RSYNC } from "./rsync.ts";
import { SQLITE } from "./sqlite.ts";
import { STRESS } from "./stress.ts";
import { TAR } from "./tar.ts";

export const PROGRAMS: readonly Program[] = [
  POSTGRES,
  SQLITE,
  GIT,
  BUILD,
  TAR,
  NPM_CI,
  RSYNC,
  FIO,
  STRESS,
];
