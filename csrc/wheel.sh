#!/bin/sh
# Wheels for every Linux with glibc 2.17 (2012) or newer: sh csrc/wheel.sh FOLDER [x86_64|aarch64 ...]; without a
# name, for this machine's processor.  Any of them is built on any Linux: the compiler is zig's, which links against
# the symbols of an old glibc, and auditwheel names the oldest one that the library runs with.  Run from the
# repository's root; PYTHON names an interpreter with ziglang and auditwheel (pip install ziglang auditwheel).
set -eu
out=${1:?FOLDER is missing: sh csrc/wheel.sh FOLDER [x86_64|aarch64 ...]}
shift
[ $# -gt 0 ] || set -- "$(uname -m)"
python=$("${PYTHON:-python3}" -c 'import sys; print(sys.executable)')
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
for processor in "$@"; do
  CC="$python -m ziglang cc -target $processor-linux-gnu.2.17" _PYTHON_HOST_PLATFORM=linux-$processor \
    "$python" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$made/$processor" .
  "$python" -m auditwheel repair --patcher none --wheel-dir "$out" "$made/$processor"/*.whl
done
