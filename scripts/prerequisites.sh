# Sourced by ./run and ./test: installs what is missing, on Debian and its relatives.

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# need_package PROGRAM PACKAGE...: installs the packages where the program is missing.
need_package() {
    local program=$1
    shift
    command -v "$program" >/dev/null 2>&1 && return 0
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "please install '$program' (Debian package: $*) and try again" >&2
        return 1
    fi
    echo "installing $*" >&2
    if [ -z "${apt_updated:-}" ]; then
        as_root apt-get update -qq
        apt_updated=1
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

need_build_tools() {
    need_package cc gcc libc6-dev
    need_package c++ g++
    need_package make make
    if ! command -v cargo >/dev/null 2>&1; then
        if [ -x "$HOME/.cargo/bin/cargo" ]; then
            PATH="$HOME/.cargo/bin:$PATH"
        else
            echo "Rust 1.95 or newer is needed: install it from https://rustup.rs and try again" >&2
            return 1
        fi
    fi
}
