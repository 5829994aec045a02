#!/usr/bin/env bash
# The main job. First the support-bot story on a simulated endpoint, then real data, where they lie beside us.
set -uo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin

"$bin/equipoise" demo || exit $?

data=../shared/data
if [ -d "$data/ab_charity_mail" ] && [ -d "$data/arena_alpacaeval" ]; then
  echo
  echo "== Real data: a randomised mail test with 50,083 letters =="
  "$bin/equipoise" analyze examples/real/charity_mail.yaml
  [ $? -le 5 ] || exit 1
  echo
  echo "== Real data: one model under three prompts, judged on 805 instructions =="
  "$bin/equipoise" arena examples/real/alpacaeval.yaml --no-record
  # A prompt that loses to its baseline fails the gate; that is the answer, not an accident.
  case $? in 0|3|4) ;; *) exit 1 ;; esac
else
  echo
  echo "The real data are not beside this repository (../shared/data), so their part is left out."
fi
