/**
 * Signals to the recorder are meant for the command: they are passed on. The recorder stays until the command ended, so that
 * nothing is lost. What the terminal sends (Ctrl-C, Ctrl-\) goes to the whole foreground group, so the command has it already.
 */
import { readFileSync } from "node:fs";

const FORWARDED = ["SIGHUP", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGALRM"] as const;
const FROM_TERMINAL = ["SIGINT", "SIGQUIT"] as const;

/** Are we in the foreground group of our terminal? Fields 5 (pgrp) and 8 (tpgid) of /proc/self/stat. */
function inForeground(): boolean {
  const stat = readFileSync("/proc/self/stat", "latin1");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return fields[2] === fields[5];
}

/** Passes signals on to `pid` until `stop`. */
export function forwardSignals(pid: number): { stop(): void } {
  const pass = (signal: NodeJS.Signals) => {
    try {
      process.kill(pid, signal);
    } catch {
      // it has ended: there is nobody to tell
    }
  };
  const passUnlessTerminal = (signal: NodeJS.Signals) => {
    if (!inForeground()) pass(signal);
  };
  for (const signal of FORWARDED) process.on(signal, pass);
  for (const signal of FROM_TERMINAL) process.on(signal, passUnlessTerminal);
  return {
    stop() {
      for (const signal of FORWARDED) process.off(signal, pass);
      for (const signal of FROM_TERMINAL) process.off(signal, passUnlessTerminal);
    },
  };
}

/** Calls `action` at each signal that asks a program to end, until `stop`. */
export function onEndSignals(action: () => void): { stop(): void } {
  const signals = ["SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM"] as const;
  for (const signal of signals) process.on(signal, action);
  return {
    stop() {
      for (const signal of signals) process.off(signal, action);
    },
  };
}
