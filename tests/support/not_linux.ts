/** Preloaded into a program that is to believe that it runs elsewhere: what is not Linux goes through node:fs alone. */
Object.defineProperty(process, "platform", { value: "darwin" });
