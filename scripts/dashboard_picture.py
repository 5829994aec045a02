"""docs/pictures/dashboard.png: the dashboard on the log of the demo, as a browser shows it.

.venv/bin/python scripts/dashboard_picture.py
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = [sys.executable, "-m", "equipoise"]
_PATIENCE_S = 60.0


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [*PROGRAM, "demo", "--folder", "demo"], cwd=folder, stdout=subprocess.DEVNULL, check=True
        )
        serve = [
            *PROGRAM,
            "serve",
            "--only",
            "dashboard",
            "--dashboard-port",
            "0",
            "--log",
            "demo/equipoise.db",
        ]
        told = Path(folder) / "equipoise-state" / "dashboard.json"
        with subprocess.Popen(serve, cwd=folder) as serving, sync_playwright() as driver:
            until = time.monotonic() + _PATIENCE_S
            while not told.exists():
                assert time.monotonic() < until, "the dashboard has not started"
                time.sleep(0.1)
            browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1100, "height": 900}, device_scale_factor=1.5)
            page.goto(json.loads(told.read_text())["url"])
            page.locator(".experiments a").first.click()
            page.get_by_role("heading", name="Where it stands").wait_for()
            page.screenshot(path=ROOT / "docs" / "pictures" / "dashboard.png")
            browser.close()
            serving.terminate()


if __name__ == "__main__":
    main()
