/** The commands that read a trace: they run on any system that the runtime runs on. */
import * as compactCommand from "./compact.ts";
import * as exportCommand from "./export.ts";
import * as gcCommand from "./gc.ts";
import * as infoCommand from "./info.ts";
import * as packCommand from "./pack.ts";
import type { CommandModule } from "./run.ts";
import * as statsCommand from "./stats.ts";
import * as timelineCommand from "./timeline.ts";
import * as verifyCommand from "./verify.ts";

/** In the order of --help. */
export const READING_COMMANDS: readonly CommandModule[] = [
  timelineCommand,
  exportCommand,
  infoCommand,
  verifyCommand,
  statsCommand,
  compactCommand,
  gcCommand,
  packCommand,
];
