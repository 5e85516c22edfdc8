#!/bin/sh
# Installs what DiffKeeper needs to be built and tested, and only what is missing: the npm packages of
# package-lock.json and a few Debian packages. Safe to run again at any time: a second run finds nothing to do,
# prints nothing and opens no connection. A lock file keeps two runs in one checkout apart.
set -eu
cd "$(dirname "$0")/.."
PATH="$PATH:/usr/sbin:/sbin"
export PATH

say() { echo "setup: $*" >&2; }
fail() {
  echo "setup: error: $1" >&2
  shift
  for line in "$@"; do echo "setup: hint: $line" >&2; done
  exit 1
}
# wasm-ld, or wasm-ld-NN as the versioned packages name it; tools/build.ts looks for the same.
has_wasm_linker() {
  command -v wasm-ld >/dev/null 2>&1 && return 0
  for path in /usr/bin/wasm-ld-[0-9]*; do [ -x "$path" ] && return 0; done
  return 1
}
has_library() { ldconfig -p | grep -q "^[[:space:]]*$1 "; }

case "$(uname -s)-$(uname -m)" in
  Linux-x86_64 | Linux-aarch64) ;;
  *) fail "cannot build here: this is $(uname -s) on $(uname -m), DiffKeeper needs Linux on x86_64 or aarch64" ;;
esac

if command -v flock >/dev/null 2>&1 && [ -z "${DIFFKEEPER_SETUP_LOCKED:-}" ]; then
  mkdir -p build
  DIFFKEEPER_SETUP_LOCKED=1 exec flock build/.setup.lock sh tools/setup.sh
fi

# --- Debian packages: one line per need, the package that brings it.
missing=""
need() { missing="$missing $1"; }
command -v clang >/dev/null 2>&1 || need clang
command -v llvm-strip >/dev/null 2>&1 || need llvm
has_wasm_linker || need lld
command -v gcc >/dev/null 2>&1 || need gcc
command -v make >/dev/null 2>&1 || need make
command -v strace >/dev/null 2>&1 || need strace
command -v git >/dev/null 2>&1 || need git
command -v python3 >/dev/null 2>&1 || need python3
command -v bspatch >/dev/null 2>&1 || need bsdiff
command -v bzip2 >/dev/null 2>&1 || need bzip2
[ -e /usr/include/bpf/bpf_helpers.h ] || need libbpf-dev
[ -e /usr/include/stdio.h ] || need libc6-dev
has_library libbpf.so.1 || need libbpf1
has_library libelf.so.1 || need libelf1
has_library libz.so.1 || need zlib1g

if [ -n "$missing" ]; then
  say "missing Debian packages:$missing"
  # Ubuntu 24.04 and later renamed libelf1; libelf1t64 provides it, so the names above still resolve there.
  command -v apt-get >/dev/null 2>&1 ||
    fail "cannot install$missing: there is no apt-get (tried on Debian and Ubuntu only)" \
      "install clang, llvm, lld, libbpf (1.x) with headers, libelf, zlib, gcc, make, strace, git, python3, bsdiff and bzip2, then run this again"
  [ "$(id -u)" = 0 ] ||
    fail "cannot install$missing: you are not root" \
      "run: sudo apt-get install --no-install-recommends$missing" "then run this again as yourself"
  say "running apt-get update and apt-get install --no-install-recommends$missing"
  apt-get update -qq || fail "cannot install$missing: apt-get update failed" "check the network, then run this again"
  # shellcheck disable=SC2086 # the list is words on purpose
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >&2 </dev/null ||
    fail "cannot install$missing: apt-get install failed" \
      "see its message above; libbpf 1.x needs Debian 12, Ubuntu 24.04 or later"
fi

# --- npm packages: installed when the lock file is not the one last installed.
stamp=node_modules/.installed-package-lock.json
if ! cmp -s package-lock.json "$stamp"; then
  command -v npm >/dev/null 2>&1 || fail "cannot install the npm packages: there is no npm" "install Node.js 20 or later with npm"
  say "installing the npm packages of package-lock.json (npm ci)"
  npm ci --no-audit --no-fund --loglevel=error >&2 || fail "cannot install the npm packages: npm ci failed" "see its message above"
  cp package-lock.json "$stamp"
fi

for tool in bun deno tsc; do
  node_modules/.bin/$tool --version >/dev/null 2>&1 ||
    fail "cannot run node_modules/.bin/$tool" "remove node_modules and run this again"
done
