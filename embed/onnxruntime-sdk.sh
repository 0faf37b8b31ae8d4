#!/bin/sh
# ONNX Runtime for C and C++ programs: sh onnxruntime-sdk.sh DIR lays out DIR/include and DIR/lib.
# The library is that of the Python package (pip install onnxruntime).  The headers are the system's, or those of
# Debian's package from its next release where this one has none: they only declare, so that a program compiled with
# them runs on every later library.  Nothing is installed.
set -eu
[ $# = 1 ] || { echo "usage: sh onnxruntime-sdk.sh DIR" >&2; exit 2; }
say() { echo "onnxruntime-sdk: $1" >&2; exit 2; }
package=libonnxruntime-dev release=trixie

library=$(python3 - <<'END'
import glob, importlib.util
spec = importlib.util.find_spec("onnxruntime")
print(*(glob.glob(f"{spec.submodule_search_locations[0]}/capi/libonnxruntime.so.*") if spec else []), sep="\n")
END
)
[ -f "$library" ] || say "python3 has no ONNX Runtime; pip install onnxruntime"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
headers=/usr/include/onnxruntime
if [ ! -f $headers/onnxruntime_c_api.h ]; then
  [ "$(command -v apt-get)" ] || say "no headers in $headers; install ONNX Runtime's development package"
  # shellcheck disable=SC2016 # apt's own variable
  mirror=$(apt-get indextargets --format '$(REPO_URI)' "Codename: $(. /etc/os-release && echo "$VERSION_CODENAME")" \
    "Component: main" "Created-By: Packages" | head -n 1)
  [ "$mirror" ] || say "no headers in $headers, and apt knows no mirror; run apt-get update, or install $package"
  mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
  echo "deb $mirror $release main" > "$work/sources"
  apt() {
    apt-get -qq -o Dir::Etc::sourcelist="$work/sources" -o Dir::Etc::sourceparts=/dev/null -o APT::Sandbox::User=root \
      -o Dir::State::lists="$work/lists" -o Dir::Cache="$work/cache" -o Debug::NoLocking=1 \
      -o Acquire::http::Timeout=30 -o Acquire::https::Timeout=30 "$@" > "$work/log" 2>&1
  }
  (cd "$work" && apt update && apt download $package && dpkg-deb -x ./$package*.deb root) ||
    say "no headers in $headers, and Debian's $release gives none: $(tail -n 1 "$work/log")"
  headers=$work/root$headers
fi

mkdir -p "$1/include" "$1/lib"
cp "$headers"/*.h "$1/include/"
ln -sf "$library" "$1/lib/libonnxruntime.so.1"
