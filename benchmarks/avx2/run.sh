#!/bin/sh
# run.sh [COMMAND...]: run a command (the suite cpu-wide-avx2, if there is none) as if this processor had no AVX-512.
#
# For Linux on x86-64, as root: hide_avx512.c hides it from the libraries of .venv and from the compiler that
# torch.compile starts, and a private /proc/cpuinfo from those that read this file, gan-bench's records among them.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
build=$root/build/avx2
mkdir -p "$build"
cc -O2 -Wall -Wextra -shared -fPIC "$here/hide_avx512.c" -o "$build/hide_avx512.so"

# the libraries in which a program looks for AVX-512; not those of CUDA, which are large
files() {
    echo "$root/gan_export/libgan.so"
    for program in gcc g++; do readlink -f "$(command -v $program)"; done
    find "$root"/.venv/lib/python3*/site-packages -type f -name '*.so*' | grep -E '/(numpy|ncnn|onnxruntime|openvino|torch)' |
        grep -vE 'cuda|nvshmem|gpu_plugin|npu'
}
list=$build/cpuid
files | while read -r file; do
    if [ -f "$list" ] && [ "$list" -nt "$file" ]; then continue; fi
    rm -f "$list"
    break
done
if [ ! -f "$list" ]; then
    echo "looking for cpuid instructions (minutes)" >&2
    files | while read -r file; do
        LC_ALL=C grep -qaP '\x0f\xa2' "$file" || continue
        objdump -d --no-show-raw-insn "$file" |
            awk -v file="$(basename "$file")" '$2 == "cpuid" { sub(":", "", $1); print file, $1 }'
    done > "$list.new"
    mv "$list.new" "$list"
fi

sed -E '/^flags/s/ (avx512|avx_vnni|amx)[a-z0-9_]*//g' /proc/cpuinfo > "$build/cpuinfo"
[ $# -gt 0 ] || set -- "$root/.venv/bin/gan-bench" --suite "$here/cpu-wide-avx2.toml" --save-dir "$root/benchmarks/results"
export GAN_CPUID_LIST="$list" GAN_AUDIT="$build/hide_avx512.so"
# shellcheck disable=SC2016
exec unshare --mount sh -c 'mount --bind "$0" /proc/cpuinfo && LD_AUDIT=$GAN_AUDIT exec "$@"' "$build/cpuinfo" "$@"
