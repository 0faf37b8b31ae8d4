#!/bin/sh
# Fuzz the engine: sh engine/tests/fuzz/run.sh [SECONDS [FOLDER]].  Needs clang with its compiler-rt (Debian:
# apt-get install clang-19 libclang-rt-19-dev).  What it learns goes to FOLDER (build/fuzz), not to the small corpus
# here; a crash is left there and makes this fail.
# SECONDS 0 only replays the corpus.  An input may take 5 seconds of the processor's time (fuzz.c).
set -eu
seconds=${1:-60}
out=${2:-build/fuzz}
here=$(cd "$(dirname "$0")" && pwd)
# clang takes minutes to check each operation of the unrolled kernels: theirs are checked by calls, and for addresses
# alone.  tools/sanitize.sh has GCC check them for undefined behavior too.
kernels='*/x86/avx*'
if [ -z "${CC:-}" ]; then
  CC=clang
  newer=$(clang-19 -print-file-name=libclang_rt.fuzzer-x86_64.a 2> /dev/null || true)
  [ ! -e "$newer" ] || CC=clang-19
fi
mkdir -p "$out/found"
out=$(cd "$out" && pwd)
cd "$here/../.."
from=$(dirname src/format.c)
flags='-std=gnu11 -gline-tables-only -O1 -ffp-contract=off -fno-omit-frame-pointer
  -fno-sanitize-recover=all -DGAN_BUILD -DGAN_DEBUG -Iinclude -Isrc'
ls "$from"/*.c "$from"/kernels/*.c "$from"/kernels/*/*.c "$here"/*.c | xargs -P "$(nproc)" -n 1 sh -c '
  checks=-fsanitize=fuzzer-no-link,address,undefined
  case $5 in $4) checks="-fsanitize=address -fsanitize-address-outline-instrumentation" ;; esac
  "$1" $2 $checks -c "$5" -o "$3/$(echo "$5" | tr -c "a-z0-9_\n" -).o"
' sh "$CC" "$flags" "$out" "$kernels"
"$CC" -fsanitize=fuzzer,address,undefined "$out"/*.o -lm -lpthread -o "$out/fuzz"
cd "$out"
if [ "$seconds" = 0 ]; then
  ./fuzz -timeout=120 -rss_limit_mb=1024 -runs=0 "$here/corpus"
  exit 0
fi
# not by exec: a process's peak of memory, which is what the limit is held to, outlives that
./fuzz -timeout=120 -rss_limit_mb=1024 -max_len=65536 -len_control=50 -max_total_time="$seconds" -print_final_stats=1 found "$here/corpus"
exit 0
