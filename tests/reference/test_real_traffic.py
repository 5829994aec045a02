"""Real traffic through the gateway: the record agrees with what the upstream saw, request by request."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data" / "traffic_azure_conv"


@pytest.mark.skipif(not DATA.is_dir(), reason="the traffic is not beside the repository (../shared/data)")
@pytest.mark.parametrize("requests", [300, pytest.param(19_366, marks=pytest.mark.long)])
def test_tokens_costs_arms_and_first_tokens_are_those_of_the_upstream(requests):
    """Through the real client: every request has one exposure and one turn, none of which differs.

    The split holds a test at 1 in 10,000. A recorded time to the first token includes the upstream's own wait.
    """
    done = subprocess.run(
        [sys.executable, "bench/traffic.py", "--requests", str(requests), "--speed", "60" if requests < 1000 else "20"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["answered"] == found["requests"] == found["exposures"] == requests
    assert found["wrong"] == {"tokens": 0, "cost": 0, "arm": 0, "missing": 0, "ttft_before_upstream": 0}
    control, treatment = found["split"]["control"], found["split"]["treatment"]
    assert control + treatment == requests
    # 3.89 standard deviations of a fair split: which conversation falls where is fixed, so this never flickers.
    assert abs(control - treatment) < 3.89 * requests**0.5
