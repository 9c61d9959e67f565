#!/usr/bin/env bash
# Puts an nginx into .venv-peers/nginx for the peer tests, when there is none on PATH. Needs apt, but not root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
home=.venv-peers/nginx

if command -v nginx >/dev/null 2>&1 || [ -x "$home/nginx" ]; then
    exit 0
fi
if ! command -v apt-get >/dev/null 2>&1; then
    echo "there is no nginx on PATH, and no apt-get to fetch one: install nginx, or set TFS_NGINX to its folder" >&2
    exit 1
fi

# The package is unpacked rather than installed: nothing is started, and nothing outside this folder changes.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/root"
(cd "$work" && apt-get download --quiet nginx || { apt-get update --quiet && apt-get download --quiet nginx; }) >&2
dpkg -x "$work"/nginx_*.deb "$work/root"
mkdir -p "$home"
cp "$work/root/usr/sbin/nginx" "$home/nginx"
"$home/nginx" -v
