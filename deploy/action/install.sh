#!/bin/sh
# Downloads the release binary of a version, refuses it unless it has the expected SHA-256, and installs it for this job.
# Reads DIFFKEEPER_VERSION, DIFFKEEPER_SHA256 (default: releases.txt), DIFFKEEPER_URL (default: the release of
# DIFFKEEPER_REPOSITORY) and the runner's RUNNER_TEMP, GITHUB_SERVER_URL, GITHUB_OUTPUT, GITHUB_PATH.
set -eu

fail() {
  echo "::error title=DiffKeeper::$1"
  [ $# -lt 2 ] || echo "hint: $2"
  exit 1
}

version=${DIFFKEEPER_VERSION#v}
case "$(uname -s)-$(uname -m)" in
  Linux-x86_64) arch=x64 ;;
  Linux-aarch64) arch=arm64 ;;
  *) fail "cannot record on $(uname -s) $(uname -m): DiffKeeper needs Linux on x86_64 or aarch64" "use runs-on: ubuntu-latest" ;;
esac

sha256=${DIFFKEEPER_SHA256:-}
if [ -z "$sha256" ]; then
  releases="$(dirname "$0")/releases.txt"
  sha256=$(awk -v v="$version" -v a="$arch" '$1 == v && $2 == a { print $3 }' "$releases")
  [ -n "$sha256" ] || fail "cannot install version \"$version\" for $arch: its SHA-256 is not known" "give the input sha256"
fi
case $sha256 in
  *[!0-9a-f]*) fail "cannot use sha256 \"$sha256\": it is not in lower-case hex digits" ;;
esac
[ ${#sha256} = 64 ] || fail "cannot use sha256 \"$sha256\": it has ${#sha256} digits, not 64"

url=${DIFFKEEPER_URL:-}
[ -n "$url" ] ||
  url="$GITHUB_SERVER_URL/$DIFFKEEPER_REPOSITORY/releases/download/v$version/diffkeeper-linux-$arch"

folder="$RUNNER_TEMP/diffkeeper"
mkdir -p "$folder"
part="$folder/diffkeeper.part"
curl --fail --silent --show-error --location --retry 3 --output "$part" "$url" ||
  fail "cannot download $url" "check the version, or give the input url"
found=$(sha256sum "$part")
found=${found%% *}
if [ "$found" != "$sha256" ]; then
  rm -f "$part"
  fail "cannot install $url: its SHA-256 is $found, expected $sha256" "do not use this file; check version and sha256"
fi
chmod 755 "$part"
mv "$part" "$folder/diffkeeper"
echo "$folder" >>"$GITHUB_PATH"
echo "diffkeeper=$folder/diffkeeper" >>"$GITHUB_OUTPUT"
