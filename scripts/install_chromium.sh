#!/usr/bin/env bash
# Installs Chromium for the peer test of reports, if no browser is on PATH. Without apt or root it says what is skipped.
set -euo pipefail

for name in chromium chromium-browser google-chrome google-chrome-stable chrome; do
    if command -v "$name" >/dev/null 2>&1; then
        exit 0
    fi
done
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    apt=(timeout 300 apt-get --quiet -o Acquire::http::Timeout=30)  # without a network it must end soon
    install=("${apt[@]}" install --yes --no-install-recommends chromium)
    if "${install[@]}" >&2 || { "${apt[@]}" update >&2 && "${install[@]}" >&2; }; then
        exit 0
    fi
fi
echo "Chromium is not on PATH and cannot be installed: tests/peers/test_html_report_chromium.py is skipped" >&2
