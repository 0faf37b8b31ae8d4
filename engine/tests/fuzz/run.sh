#!/bin/sh
# Fuzz the engine: sh engine/tests/fuzz/run.sh [SECONDS [FOLDER]].  Needs clang with its compiler-rt (Debian:
# apt-get install clang-19 libclang-rt-19-dev).  What it learns goes to FOLDER (build/fuzz), not to the small corpus
# here; a crash is left there and makes this fail.
# SECONDS 0 only replays the corpus.  An input may take 5 seconds of the processor's time (fuzz.c).
set -eu
seconds=${1:-60}
out=${2:-build/fuzz}
here=$(cd "$(dirname "$0")" && pwd)
# clang 14 takes minutes to count the branches of the unrolled kernels, so with it their coverage isn't counted.
plain='*/x86/avx*'
if [ -z "${CC:-}" ]; then
  CC=clang
  newer=$(clang-19 -print-file-name=libclang_rt.fuzzer-x86_64.a 2> /dev/null || true)
  [ ! -e "$newer" ] || CC=clang-19 plain=none
fi
mkdir -p "$out/found"
out=$(cd "$out" && pwd)
cd "$here/../.."
from=$(dirname src/format.c)
flags='-std=gnu11 -gline-tables-only -O1 -ffp-contract=off -fno-omit-frame-pointer
  -fsanitize=address,undefined -fno-sanitize-recover=all -DGAN_BUILD -DGAN_DEBUG -Iinclude -Isrc'
ls "$from"/*.c "$from"/kernels/*.c "$from"/kernels/*/*.c "$here"/*.c | xargs -P "$(nproc)" -n 1 sh -c '
  case $5 in $4) counted= ;; *) counted=-fsanitize=fuzzer-no-link ;; esac
  "$1" $2 $counted -c "$5" -o "$3/$(echo "$5" | tr -c "a-z0-9_\n" -).o"
' sh "$CC" "$flags" "$out" "$plain"
"$CC" -fsanitize=fuzzer,address,undefined "$out"/*.o -lm -lpthread -o "$out/fuzz"
cd "$out"
if [ "$seconds" = 0 ]; then
  ./fuzz -timeout=120 -rss_limit_mb=1024 -runs=0 "$here/corpus"
  exit 0
fi
# not by exec: a process's peak of memory, which is what the limit is held to, outlives that
./fuzz -timeout=120 -rss_limit_mb=1024 -max_len=65536 -len_control=50 -max_total_time="$seconds" -print_final_stats=1 found "$here/corpus"
exit 0
