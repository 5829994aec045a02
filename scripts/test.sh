#!/usr/bin/env bash
# Everything that is checked: linters, types, contracts, tests. What could not run is listed at the end.
set -uo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin
failed=0

# A browser for the pages. On Debian as root it is installed; elsewhere the tests that need it are skipped.
if ! command -v chromium >/dev/null 2>&1 && ! command -v google-chrome >/dev/null 2>&1; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "== installing Debian's chromium for the tests of the pages"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } \
      >/dev/null 2>&1 || echo "chromium could not be installed; the tests that need it are skipped"
  fi
fi

# Types take a minute of one core, which the tests' starts and waits leave idle.
said=$(mktemp)
trap 'rm -f "$said"' EXIT
scripts/check.sh >"$said" 2>&1 &
checking=$!

# Images of Python forbid it to keep compiled modules; some hundred interpreters are started here.
unset PYTHONDONTWRITEBYTECODE

# The processors are shared out already: several threads in one product of matrices only wait for each other.
export OPENBLAS_NUM_THREADS=1

# In a fresh clone the files of the tests are prepared once, and not by each process for itself.
[ -d tests/unit/__pycache__ ] || "$bin/python" -m pytest -q --collect-only -m "not long" >/dev/null 2>&1

# One process more than there are processors: a quarter of its time a test waits for a clock or for another process.
processes=$(($("$bin/python" -c 'import os; print(os.cpu_count() or 1)') + 1))

echo "== tests"
"$bin/python" -m pytest -q -n "$processes" --dist worksteal -m "not long" || failed=1

wait "$checking" || failed=1
cat "$said"
exit $failed
