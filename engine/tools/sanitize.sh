#!/bin/sh
# The engine under ASan with UBSan, under TSan and under valgrind: its own suite, and from Python, with the sanitizer
# preloaded: the Python suite's engine part under ASan, and tests/engine/threads.py, without pytest and torch, whose
# own threads and memory would be watched too, under the other two.  sh engine/tools/sanitize.sh [asan|tsan|valgrind ...],
# all by default; run from the repository's root.  PYTHON names the interpreter.  What a machine lacks is left out with
# a line that says so.
set -eu
[ $# -gt 0 ] || set -- asan tsan valgrind
export OPENBLAS_NUM_THREADS=1 # NumPy's own
python=${PYTHON:-python3}
build=${GAN_SANITIZE_FOLDER:-build/sanitize}
build=$(mkdir -p "$build" && cd "$build" && pwd)

# make NAME SANITIZERS
make_suite() {
  cmake -S engine -B "$build/$1" -DCMAKE_BUILD_TYPE=Debug "-DGAN_SANITIZE=$2" > /dev/null
  cmake --build "$build/$1" -j 2 > /dev/null
}

# python_part LIBRARY TESTS...: GCC's library first, so that all of the process's memory is watched
python_part() {
  library=$(gcc "-print-file-name=$1")
  shift
  LD_PRELOAD=$library GAN_TEST_LIBRARY=$suite/libgan.so "$python" -m pytest -q -p no:cacheprovider \
    -m 'not long' --timeout 600 "$@"
}

for tool in "$@"; do
  suite=$build/$tool
  echo "== $tool"
  case $tool in
  asan)
    make_suite asan address,undefined
    ctest --test-dir "$suite" --output-on-failure
    # CPython keeps what it allocates to its end, so leaks are looked for in the C suite alone
    # (and the mutated files run in a process of their own, which measures its memory).  A forked child can hang
    # in GCC 12's ASan, whose allocator is forked with the lock that a starting thread holds; check_model forks too.
    ASAN_OPTIONS=detect_leaks=0:verify_asan_link_order=0 python_part libasan.so -k 'not mutated and not forked' \
      tests/engine/test_hostile.py tests/engine/test_compatibility.py
    ;;
  tsan)
    make_suite tsan thread
    for test in check_model check_faults; do "$suite/$test"; done
    LD_PRELOAD=$(gcc -print-file-name=libtsan.so) GAN_TEST_LIBRARY=$suite/libgan.so "$python" -m tests.engine.threads 40
    ;;
  valgrind)
    command -v valgrind > /dev/null || { echo 'valgrind is not installed'; continue; }
    make_suite valgrind ''
    for test in check_vectors check_faults; do
      valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite --soname-synonyms=somalloc=none \
        "$suite/$test"
    done
    # Each of Python's objects a block of its own; kernels that valgrind can run.
    GAN_TEST_LIBRARY=$suite/libgan.so GAN_CPU=avx2 PYTHONMALLOC=malloc valgrind -q --error-exitcode=9 \
      --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite \
      --suppressions=packaging/python.supp "$python" -m tests.engine.threads 2
    ;;
  esac
done
echo 'nothing found'
