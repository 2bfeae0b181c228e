#!/usr/bin/env bash
# Runs one fuzz target after another, and leaves each one's last words in target/reports/ for `xtask fuzz-report`.
# Usage: run.sh RUNS [TARGET...]
set -euo pipefail
cd "$(dirname "$0")"
runs=$1
shift
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(cargo +nightly fuzz list --fuzz-dir .)
mkdir -p target/reports
for target in "${targets[@]}"; do
  echo "==> $target, $runs executions"
  mkdir -p "corpus/$target"
  # An archive is made of blocks of 512 bytes.
  case $target in
    layer) length=4097 ;;
    *) length=512 ;;
  esac
  # The code has no unsafe block, so the address sanitizer would only cost time. Debug assertions and overflow checks are on.
  nice -n 19 cargo +nightly fuzz run --fuzz-dir . --sanitizer none "$target" "corpus/$target" "seeds/$target" -- \
    -runs="$runs" -max_len="$length" -timeout=10 -rss_limit_mb=512 -print_final_stats=1 >"target/reports/$target.log" 2>&1 \
    || { tail -n 40 "target/reports/$target.log"; exit 1; }
done
