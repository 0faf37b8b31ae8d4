#!/bin/sh
# Fuzz the engine: sh engine/tests/fuzz/run.sh [SECONDS [FOLDER]].  Needs clang with its compiler-rt.  What it learns
# goes to FOLDER (build/fuzz), not to the small corpus here; a crash is left there and makes this fail.
# SECONDS 0 only replays the corpus.  An input may take 5 seconds of the processor's time (fuzz.c).
set -eu
seconds=${1:-60}
out=${2:-build/fuzz}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out/found"
out=$(cd "$out" && pwd)
cd "$here/../.."
from=$(dirname src/format.c)
flags='-std=gnu11 -gline-tables-only -O1 -ffp-contract=off -fno-omit-frame-pointer -fsanitize=address,undefined
  -fno-sanitize-recover=all -DGAN_BUILD -DGAN_DEBUG -Iinclude -Isrc'
# The unrolled kernels have no branches that an input could find: counting theirs would take minutes to compile.
ls "$from"/*.c "$from"/kernels/*.c "$from"/kernels/*/*.c "$here/fuzz.c" | xargs -P "$(nproc)" -n 1 sh -c '
  cc=$1 flags=$2 out=$3 source=$4
  case $source in */x86/avx*) ;; *) flags="$flags -fsanitize=fuzzer-no-link" ;; esac
  "$cc" $flags -c "$source" -o "$out/$(echo "$source" | tr -c "a-z0-9_\n" -).o"
' sh "${CC:-clang}" "$flags" "$out"
"${CC:-clang}" -fsanitize=fuzzer,address,undefined "$out"/*.o -lm -lpthread -o "$out/fuzz"
cd "$out"
if [ "$seconds" = 0 ]; then
  ./fuzz -timeout=120 -rss_limit_mb=1024 -runs=0 "$here/corpus"
  exit 0
fi
# not by exec: a process's peak of memory, which is what the limit is held to, outlives that
./fuzz -timeout=120 -rss_limit_mb=1024 -max_len=65536 -len_control=50 -max_total_time="$seconds" -print_final_stats=1 found "$here/corpus"
exit 0
