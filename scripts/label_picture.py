"""docs/pictures/labels.png: the label page on an example of this repository, as a browser shows it.

.venv/bin/python scripts/label_picture.py
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = [sys.executable, "-m", "equipoise"]


def main() -> None:
    definition = str(ROOT / "examples" / "prompt" / "experiment.yaml")
    with tempfile.TemporaryDirectory() as folder:
        ran = subprocess.run(
            [*PROGRAM, "arena", definition, "--no-record"], cwd=folder, stdout=subprocess.DEVNULL, check=False
        )
        assert ran.returncode in (0, 3, 4), ran.returncode
        label = [*PROGRAM, "label", definition, "--rater", "Jo", "--port", "0", "--json"]
        with (
            subprocess.Popen(label, cwd=folder, stdout=subprocess.PIPE, text=True) as serving,
            sync_playwright() as driver,
        ):
            assert serving.stdout is not None
            url = json.loads(serving.stdout.readline())["url"]
            browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1100, "height": 560}, device_scale_factor=1.5)
            page.goto(url)
            for key, answered in (("1", "1 answered"), ("0", "2 answered"), ("2", "3 answered")):
                page.keyboard.press(key)
                page.get_by_text(answered).wait_for()
            page.screenshot(path=ROOT / "docs" / "pictures" / "labels.png")
            browser.close()
            serving.terminate()


if __name__ == "__main__":
    main()
