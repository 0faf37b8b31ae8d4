#!/bin/sh
# run.sh [COMMAND...]: run a command (the suite cpu-wide-avx2, if there is none) as if this processor had no AVX-512.
#
# It needs Linux on x86-64, root, objdump and .venv.  hide_avx512.c hides AVX-512 from the libraries in .venv and from the
# compiler that torch.compile starts.  gan-bench reads the features in its records from /proc/cpuinfo, so the command sees
# a copy of that file without AVX-512.
set -eu
if [ "$(id -u)" != 0 ]; then
    echo "run.sh: replacing /proc/cpuinfo needs root; run it with sudo" >&2
    exit 2
fi
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
if [ ! -f "$list" ] || files | tr '\n' '\0' | xargs -0 -I{} find {} -newer "$list" | grep -q .; then
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
