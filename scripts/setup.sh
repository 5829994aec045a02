#!/usr/bin/env bash
# Creates .venv and installs the pinned dependencies into it. Run by `make`; safe to run again.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=.venv

is_debian_root() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; }

python=${PYTHON:-}
if [ -z "$python" ]; then
  for candidate in python3 python3.13 python3.12 python3.11 python3.14; do
    if command -v "$candidate" >/dev/null 2>&1 &&
       "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      python=$candidate
      break
    fi
  done
fi
if [ -z "$python" ]; then
  echo "setup: no Python 3.11 or newer on the path. Install one, or name it: make PYTHON=/path/to/python3 demo" >&2
  exit 2
fi

if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
  rm -rf "$venv"
  if ! "$python" -m venv "$venv" >/dev/null 2>&1; then
    # Debian ships venv apart from Python itself.
    rm -rf "$venv"
    if is_debian_root; then
      echo "setup: installing Debian's python3-venv" >&2
      apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null
    else
      echo "setup: this Python cannot create virtual environments. On Debian: sudo apt-get install python3-venv" >&2
      exit 2
    fi
    "$python" -m venv "$venv"
  fi
fi

echo "setup: installing the pinned dependencies into $venv" >&2
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile \
  -c constraints.txt -e '.[all,dev]'
# What pip does on one processor; what some libraries bring for other versions of Python does not compile.
"$venv/bin/python" -m compileall -qq -j 0 "$venv/lib" || true
touch "$venv/.ready"
