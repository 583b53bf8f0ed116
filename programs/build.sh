#!/bin/sh
# Builds the on-chain program with the tools on PATH and puts it where the Python package ships it from.
#
#   programs/build.sh           build, copy, and record hash, size and compiler
#   programs/build.sh --check   build only; fail where the recorded compiler gives another hash
#
# Uses `cargo build-sbf` where it is installed, else upstream Rust (with its library source) and sbpf-linker.
# The result is programs/target/hypernode_markets.so in any case.
set -eu

here=$(cd "$(dirname "$0")" && pwd -P)
crate=$here/hypernode_markets
artifacts=$here/../hypernode_worker/solana/artifacts
target=$here/target
built=$target/hypernode_markets.so
record=$artifacts/hypernode_markets.json
cargo_home=${CARGO_HOME:-$HOME/.cargo}

fail() { echo "build.sh: $1" >&2; exit 1; }

command -v python3 >/dev/null || fail "python3 is not on PATH: install it, it checks the built program"

# Paths of this machine must not show in the program, or no two machines build the same bytes.
remaps() {
  printf '%s\n' "--remap-path-prefix=$crate=/hypernode_markets" "--remap-path-prefix=$cargo_home=/cargo"
  for sources in "$cargo_home"/registry/src/*; do
    [ ! -d "$sources" ] || printf '%s\n' "--remap-path-prefix=$sources=/crates"
  done
  for library in "$@"; do
    printf '%s\n' "--remap-path-prefix=$library=/rust"
  done
}

build_sbf() {
  compiler=$(cargo build-sbf --version | tr '\n' ' ' | sed 's/ *$//')
  cargo fetch --locked --manifest-path "$crate/Cargo.toml"
  RUSTFLAGS=$(remaps | tr '\n' ' ') CARGO_TARGET_DIR=$target \
    cargo build-sbf --arch v3 --manifest-path "$crate/Cargo.toml" --sbf-out-dir "$target/sbf" -- --locked
  cp "$target/sbf/hypernode_markets.so" "$built"
}

# The first compiler that comes with the source of its library, which is built for the chain.
find_rustc() {
  for rustc in "${RUSTC:-}" "$(command -v rustc || true)" /usr/bin/rustc; do
    [ -n "$rustc" ] && [ -x "$rustc" ] || continue
    library=$("$rustc" --print sysroot)/lib/rustlib/src/rust
    if [ -f "$library/library/Cargo.lock" ]; then
      return 0
    fi
  done
  fail "no Rust compiler with its library source found: install rust-src (rustup) or rust-src (Debian), or cargo build-sbf"
}

build_upstream() {
  command -v sbpf-linker >/dev/null || fail "neither cargo build-sbf nor sbpf-linker is on PATH: install one of them"
  find_rustc
  cargo=$(dirname "$rustc")/cargo
  [ -x "$cargo" ] || cargo=cargo
  compiler=$( { "$rustc" --version; sbpf-linker --version; } | paste -sd" " -)
  cd "$crate"
  RUSTC=$rustc "$cargo" fetch --locked --quiet
  flags=$(remaps "$library" "$(readlink -f "$library")" | sed "s/.*/'&'/" | paste -sd, -)
  RUSTC=$rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$target \
    "$cargo" build --release --locked --target bpfel-unknown-none -Z build-std=core,alloc \
    --config "target.bpfel-unknown-none.rustflags=[$flags]"
  cp "$target/bpfel-unknown-none/release/libhypernode_markets.so" "$built"
}

recorded() { sed -n "s/.*\"$1\": \"\\(.*\\)\".*/\\1/p" "$record"; }

mkdir -p "$target"
command -v sbpf-linker >/dev/null || PATH=$PATH:/opt/sbf/bin
# An empty RUSTFLAGS still hides the flags of .cargo/config.toml.
unset RUSTFLAGS
if cargo build-sbf --version >/dev/null 2>&1; then build_sbf; else build_upstream; fi
python3 "$here/check_stack.py" "$built" || fail "the built program is refused, nothing was changed"
hash=$(sha256sum "$built" | cut -d' ' -f1)
size=$(wc -c <"$built" | tr -d ' ')
echo "built $size bytes, sha256 $hash, with $compiler"

if [ "${1:-}" = --check ]; then
  if [ "$compiler" != "$(recorded compiler)" ]; then
    echo "not compared: the packaged program was built with $(recorded compiler)"
  elif [ "$hash" != "$(recorded sha256)" ]; then
    fail "the packaged program has sha256 $(recorded sha256): its source has changed, run programs/build.sh"
  else
    echo "the same as the packaged program"
  fi
  exit 0
fi
mkdir -p "$artifacts"
cp "$built" "$artifacts/hypernode_markets.so"
printf '{\n  "sha256": "%s",\n  "bytes": %s,\n  "compiler": "%s"\n}\n' "$hash" "$size" "$compiler" >"$record"
