#!/usr/bin/env bash
# Compile protos/ into tfs_client/protos/.
#
#   scripts/gen_protos.sh [OUT]           write the compiled schema to OUT (default: tfs_client/protos)
#   scripts/gen_protos.sh --check [OUT]   write nothing; fail and name the files if OUT is not what protos/ gives
#
# PYTHON names an interpreter with grpcio-tools (default: python3).
set -euo pipefail

caller=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-python3}

check=
if [[ ${1-} == --check ]]; then
    check=1
    shift
fi
if [[ $# -gt 1 || ${1-} == -* ]]; then
    echo "usage: scripts/gen_protos.sh [--check] [OUT]" >&2
    exit 2
fi
out=tfs_client/protos
if [[ -n ${1-} ]]; then
    out=$(cd "$caller" && realpath -m -- "$1")
fi

fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT

# The well-known types are compiled too: the private pool needs its own.
files=(google/protobuf/any.proto google/protobuf/wrappers.proto)
while IFS= read -r file; do
    files+=("${file#protos/}")
done < <(find protos -name '*.proto' | LC_ALL=C sort)

"$python" -m grpc_tools.protoc --proto_path=protos --include_imports \
    --descriptor_set_out="$fresh/schema.binpb" --pyi_out="$fresh" "${files[@]}"
"$python" scripts/gen_protos.py modules "$fresh"

if [[ -n $check ]]; then
    "$python" scripts/gen_protos.py check "$fresh" "$out"
else
    "$python" scripts/gen_protos.py install "$fresh" "$out"
fi
