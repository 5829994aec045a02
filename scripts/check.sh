#!/usr/bin/env bash
# What can be known without running the program.
set -uo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin
failed=0
say() { printf '%s\n' "== $*"; }

say "style"
"$bin/ruff" check src tests bench examples || failed=1
"$bin/ruff" format --check --quiet src tests bench examples || { echo "run: make format"; failed=1; }

say "types"
"$bin/mypy" || failed=1

say "import contracts"
"$bin/lint-imports" --no-logo --no-cache 2>/dev/null || "$bin/lint-imports" --no-cache || failed=1

say "pins name no address"
if grep -n '://' constraints.txt; then
  echo "constraints.txt must hold names and versions only; run: make pins"
  failed=1
fi
exit $failed
