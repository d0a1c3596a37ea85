"""The pictures of README: the live view and the report of the demo, as they come out.

python -m tests.docs.pictures        makes docs/images anew (it needs the extra [local], and Debian's Chromium)
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
from rich.console import Console

from batch.cli.display.progress_view import view
from batch.telemetry.progress import Progress
from tests.support.browser import browser
from tests.support.places import ROOT

IMAGES = ROOT / "docs" / "images"
_COLUMNS = 92


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("ASSEMBLYAI_", "DIARIST_"))}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "batch", "run", "configs/demo/manifest.csv", "--out", f"{folder}/results"]
        done = subprocess.run(
            [*command, "--progress", "json"], cwd=ROOT, env=environ, capture_output=True, text=True, check=True
        )
        told = [line for line in map(json.loads, done.stderr.splitlines()) if line["event"] == "progress"]
        _live(msgspec.convert(max(told, key=lambda line: (0 < line["collected"] < 4, line["collected"])), Progress))
        subprocess.run([sys.executable, "-m", "batch", "report", f"{folder}/results"], cwd=ROOT, check=True)
        _report(Path(folder))


def _live(progress: Progress) -> None:
    stage = msgspec.structs.replace(progress.stage, out="results", manifests=("configs/demo/manifest.csv",))
    console = Console(record=True, width=_COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print("$ diarist run configs/demo/manifest.csv", highlight=False)
    console.print(view(msgspec.structs.replace(progress, stage=stage)))
    drawn = re.sub(
        r"@font-face \{.*?\}\s*", "", console.export_svg(title="diarist run"), flags=re.DOTALL
    )  # no network
    (IMAGES / "live.svg").write_text(drawn, "utf-8")


def _report(folder: Path) -> None:
    with browser(folder / "profile") as seen:
        seen.resize(1180)
        seen.open(folder / "results" / "report.html", "planning-meeting")
        seen.driver.find_element("css selector", ".turns li:nth-child(2) .at").click()
        seen.until("return document.querySelector('audio').currentTime > 8")
        seen.run("document.querySelector('audio').pause()")
        seen.run("document.querySelector('.timeline').scrollIntoView({block: 'center'})")
        seen.driver.save_screenshot(str(IMAGES / "report.png"))


if __name__ == "__main__":
    main()
