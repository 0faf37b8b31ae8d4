#!/bin/sh
# Wheels, any of them built on any Linux: sh packaging/wheel.sh FOLDER [x86_64|aarch64|win_amd64|win_arm64|macos_x86_64|
# macos_arm64 ...]; without a name, for this machine's processor.  The compiler is zig's, which links for Windows 10,
# macOS 11 and every Linux with glibc 2.17 (2012), or newer; auditwheel names the oldest glibc that the library runs
# with.  Run from the repository's root; PYTHON names an interpreter with ziglang and auditwheel
# (pip install ziglang auditwheel).
set -eu
out=${1:?FOLDER is missing: sh packaging/wheel.sh FOLDER [x86_64|aarch64|win_amd64|win_arm64|macos_x86_64|macos_arm64 ...]}
shift
[ $# -gt 0 ] || set -- "$(uname -m)"
python=$("${PYTHON:-python3}" -c 'import sys; print(sys.executable)')
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT

# wheel FOLDER ZIG_TARGET PYTHON_PLATFORM [CMAKE_SYSTEM PROCESSOR]
wheel() {
  CC="$python -m ziglang cc -target $2" _PYTHON_HOST_PLATFORM=$3 \
    CMAKE_ARGS=${4:+"-DCMAKE_SYSTEM_NAME=$4 -DCMAKE_SYSTEM_PROCESSOR=$5"} \
    "$python" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$1" .
}

for name in "$@"; do
  case $name in
  x86_64 | aarch64)
    wheel "$made/$name" "$name-linux-gnu.2.17" "linux-$name"
    "$python" -m auditwheel repair --patcher none --wheel-dir "$out" "$made/$name"/*.whl
    ;;
  win_amd64) wheel "$out" x86_64-windows-gnu win-amd64 Windows AMD64 ;;
  win_arm64) wheel "$out" aarch64-windows-gnu win-arm64 Windows ARM64 ;;
  macos_x86_64) wheel "$out" x86_64-macos.11.0 macosx-11.0-x86_64 Darwin x86_64 ;;
  macos_arm64) wheel "$out" aarch64-macos.11.0 macosx-11.0-arm64 Darwin arm64 ;;
  *)
    echo "$name: x86_64, aarch64, win_amd64, win_arm64, macos_x86_64 and macos_arm64 are known" >&2
    exit 2
    ;;
  esac
done
