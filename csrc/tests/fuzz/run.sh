#!/bin/sh
# Fuzz the engine: sh csrc/tests/fuzz/run.sh [SECONDS [FOLDER]].  Needs clang with its compiler-rt.  What it learns
# goes to FOLDER (build/fuzz), not to the small corpus here; a crash is left there and makes this fail.
# SECONDS 0 only replays the corpus.  An input may take 5 seconds of the processor's time (fuzz.c).
set -eu
seconds=${1:-60}
out=${2:-build/fuzz}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out/found"
out=$(cd "$out" && pwd)
cd "$here/../.."
engine='format.c latents.c schedule.c pack.c plan.c team.c run.c run_direct.c run_toom.c run_fold.c gan.c context.c
  system_posix.c kernels/generic.c kernels/dispatch.c'
flags='-std=gnu11 -gline-tables-only -O1 -ffp-contract=off -fno-omit-frame-pointer -fsanitize=fuzzer,address,undefined
  -fno-sanitize-recover=all -DGAN_BUILD -DGAN_DEBUG -I.'
if [ "$(uname -m)" = x86_64 ]; then
  "${CC:-clang}" $flags -mavx2 -mfma -c kernels/x86/avx2.c -o "$out/avx2.o"
  "${CC:-clang}" $flags -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -c kernels/x86/avx512.c -o "$out/avx512.o"
  flags="$flags -DGAN_HAVE_AVX2 -DGAN_HAVE_AVX512 $out/avx2.o $out/avx512.o"
fi
"${CC:-clang}" $flags $engine "$here/fuzz.c" -lm -lpthread -o "$out/fuzz"
cd "$out"
if [ "$seconds" = 0 ]; then
  ./fuzz -timeout=120 -rss_limit_mb=1024 -runs=0 "$here/corpus"
  exit 0
fi
# not by exec: a process's peak of memory, which is what the limit is held to, outlives that
./fuzz -timeout=120 -rss_limit_mb=1024 -max_len=8192 -max_total_time="$seconds" -print_final_stats=1 found "$here/corpus"
exit 0
