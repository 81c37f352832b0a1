#!/usr/bin/env bash
# Installs the third-party ETSI GS QKD 014 clients that the tests of crates/kme run, under target/etsi-clients,
# and prints that folder. Does nothing where they are there.
set -euo pipefail
cd "$(dirname "$0")/.."
. ./scripts/prerequisites.sh
folder="${CARGO_TARGET_DIR:-$PWD/target}/etsi-clients"
{
    need_build_tools
    need_package curl curl
    need_package pkg-config pkg-config
    pkg-config --exists libsodium || as_root apt-get install -y -qq --no-install-recommends libsodium-dev
    pkg-config --exists openssl || as_root apt-get install -y -qq --no-install-recommends libssl-dev
    # The client of one crate writes its C header into its own sources unless told not to.
    E14_NO_BINDINGS=1 cargo build --locked --quiet --manifest-path crates/kme/tests/clients/Cargo.toml --target-dir "$folder"
    if ! [ -x "$folder/python/bin/python" ] || ! "$folder/python/bin/python" -c 'import etsi_qkd_014_client' 2>/dev/null; then
        need_package python3 python3 python3-venv
        python3 -m venv --help >/dev/null 2>&1 || as_root apt-get install -y -qq python3-venv
        python3 -m venv "$folder/python"
        "$folder/python/bin/pip" install --quiet 'etsi-qkd-014-client==0.9.0'
    fi
} >&2
echo "$folder"
