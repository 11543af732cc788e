#!/usr/bin/env bash
# What some tests need beside Python: a Korean font (PDF, figures) and a browser (dashboard).
# Installs what is missing where it may; elsewhere those tests are skipped and say why.
set -euo pipefail

missing=()
fc-list :lang=ko 2>/dev/null | grep -q . || missing+=(fontconfig fonts-nanum)
command -v chromium >/dev/null || missing+=(chromium)
command -v chromedriver >/dev/null || missing+=(chromium-driver)
if [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -q
        DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
    else
        echo "Not installed: ${missing[*]}. The tests that need them are skipped."
    fi
fi
