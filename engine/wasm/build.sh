#!/bin/sh
# The engine as WebAssembly: sh engine/wasm/build.sh FOLDER writes gan.wasm, gan-simd.wasm and gan-relaxed.wasm there.
# The files in gan_export/web/ are what this script makes, byte for byte, with clang and lld 19.1 (Debian:
# apt-get install clang-19 lld-19); CC names another clang.  No other toolchain, no library, nothing imported.
set -eu
out=$(mkdir -p "$1" && cd "$1" && pwd)
cd "$(dirname "$0")/.."
exports='gan_open_memory gan_close gan_describe gan_describe_input gan_output_size gan_context_new gan_context_size
gan_apply_size gan_context_free gan_context_message gan_generate gan_apply
gan_latents gan_labels gan_interpolate gan_status_string gan_version malloc free'

# build NAME FLAGS...: one module.  The stack lies first, so that an overflow traps instead of writing on.
build() {
  file=$out/$1
  shift
  "${CC:-clang-19}" --target=wasm32-unknown-unknown -mcpu=mvp "$@" -std=c11 -O3 -ffreestanding -ffp-contract=off \
    -fno-ident -fvisibility=hidden -Wall -Wextra -Werror -nostdlib -I wasm/include -I include -I src -DGAN_BUILD \
    $(for name in $exports; do printf ' -Wl,--export=%s' "$name"; done) \
    -Wl,--no-entry -Wl,--gc-sections -Wl,-s -Wl,-z,stack-size=262144 -Wl,--stack-first \
    $sources wasm/system.c wasm/libc.c -o "$file"
}

from=$(dirname src/format.c)
sources=$(ls "$from"/*.c "$from"/kernels/*.c "$from"/kernels/*/*.c)
modern='-mbulk-memory -msign-ext -mnontrapping-fptoint -msimd128'
build gan.wasm -fno-builtin
build gan-simd.wasm $modern
build gan-relaxed.wasm $modern -mrelaxed-simd
