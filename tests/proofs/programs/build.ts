/**
 * A C build with make -j2: objects, an archive, and programs linked by ld.bfd, gold and lld (the last two write through shared
 * mappings), then stripped. Each recipe appends the checksum of what it made to `done`; in every export what is in `done` must
 * have that checksum, and what is linked must run.
 */
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { linesDone, must, type Place, type Program, shell } from "./_program.ts";

const PARTS = 24;
const LINKERS = ["bfd", "gold", "lld"];

function part(i: number): string {
  const functions = Array.from(
    { length: 40 },
    (_, k) => `int part${i}_${k}(int x) { return f(x, ${k}) + ${i}; }`,
  );
  return `#include <stdio.h>
#include <netdb.h>
static char room[20000] = {${i}, 1};
static int f(int x, int y) { for (int i = 0; i < y; i++) x += i * x ^ y ^ room[i]; return x; }
${functions.join("\n")}
int part${i}(void) { return ${functions.map((_, k) => `part${i}_${k}(${k})`).join(" + ")}; }
`;
}

function makefile(): string {
  const numbers = Array.from({ length: PARTS }, (_, i) => i);
  const objects = numbers.map((i) => `part${i}.o`).join(" ");
  const note = "sha256sum $@ >>done";
  const links = LINKERS.map((linker) => {
    return `program.${linker}: main.o libparts.a\n` +
      `\tcc -g -fuse-ld=${linker} -o $@ main.o libparts.a && ${note}\n` +
      `stripped.${linker}: program.${linker}\n\tcp $< $@.new && strip $@.new && mv $@.new $@ && ${note}\n`;
  });
  const all = LINKERS.map((linker) => `stripped.${linker}`).join(" ");
  return `all: ${all}\n%.o: %.c\n\tcc -g -O1 -c -o $@ $< && ${note}\n` +
    `libparts.a: ${objects}\n\tar rcs $@ $^ && ${note}\n${links.join("")}`;
}

function use(out: string): string[] {
  const complaints: string[] = [];
  const done = linesDone(out);
  const sums = shell(`sha256sum --check --quiet --strict <<'END'\n${done.join("\n")}\nEND`, out);
  if (done.length > 0 && sums.code !== 0) {
    complaints.push(`sha256sum: ${(sums.stdout + sums.stderr).trim().slice(0, 300)}`);
  }
  for (const line of done) {
    const name = line.slice(line.indexOf("  ") + 2);
    if (!/^(program|stripped)\./.test(name)) continue;
    const ran = shell(`./${name}`, out);
    if (ran.code !== 0 || ran.stdout !== "sum ok\n") {
      complaints.push(`${name} exits with ${ran.code}: ${ran.stdout}${ran.stderr}`);
    }
  }
  const made = ["Makefile", "main.c"].filter((name) => !existsSync(join(out, name)));
  return [...complaints, ...made.map((name) => `${name} is missing`)];
}

function atEnd(at: Place): string[] {
  const names = linesDone(at.out).map((line) => line.slice(line.indexOf("  ") + 2));
  return LINKERS.flatMap((linker) => [`program.${linker}`, `stripped.${linker}`])
    .filter((name) => !names.includes(name)).map((name) => `${name} was not made`);
}

/** make, cc, ar, ld, gold, lld, strip. */
export const BUILD: Program = {
  name: "build",
  needs: [["make", "make"], ["cc", "gcc"], ["ld.gold", "binutils"], ["ld.lld", "lld"]],
  gapMs: 300,
  prepare(at) {
    for (let i = 0; i < PARTS; i++) writeFileSync(join(at.watched, `part${i}.c`), part(i));
    const names = Array.from({ length: PARTS }, (_, i) => `part${i}`);
    const main = names.map((name) => `int ${name}(void);`).join("\n") +
      `\n#include <stdio.h>\nint main(void) { volatile int sum = ${
        names.map((name) => `${name}()`).join(" + ")
      }; printf("sum %s\\n", sum == ${names[0]}() + sum - ${names[0]}() ? "ok" : "bad"); }\n`;
    writeFileSync(join(at.watched, "main.c"), main);
    writeFileSync(join(at.watched, "Makefile"), makefile());
    must("make --version", at.watched);
  },
  script: () => "exec make -s -j2",
  use,
  atEnd,
};
