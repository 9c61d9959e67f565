"""Run what `make demo` runs, and draw it: the commands, their output, and the pictures.

    python scripts/draw_demo.py           # writes docs/demo.svg; needs Chromium, which draws the report

The times in the output are those of this machine.
"""

from __future__ import annotations

import base64
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
from html import escape
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "demo.svg"

WIDTH, LINE, MARGIN = 960, 18, 20
CHARACTER = 7.9  # pixels
HEIGHT, MOST = 150, 270  # pixels of a picture: as it was sent, and of one that a run made; stored with twice as many
REPORT = (1100, 760)  # pixels of the report that are shown

STYLE = """
    text { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; white-space: pre; fill: #d6dde4 }
    .command { fill: #8fd18f } .frame { fill: #1d242b }
"""


def runs() -> list[list[str]]:
    """The arguments of each run of tfs-predict in the Makefile."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    return [line.split() for line in re.findall(r"\$\(BIN\)/tfs-predict (.*)", text)]


def output(arguments: list[str], directory: str) -> list[str]:
    """What tfs-predict prints, run in a directory that has the examples."""
    command = [sys.executable, "-m", "tfs_client.cli.predict", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    run = subprocess.run(
        command,
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=True,
    )
    return run.stdout.splitlines()


def command_lines(arguments: list[str], columns: int) -> list[str]:
    """The command as one types it, in lines that fit beside the picture."""
    lines = ["$ tfs-predict"]
    for option in re.findall(r"--\S+(?: (?!--)\S+)*", " ".join(arguments)):
        if len(lines[-1]) + len(option) > columns - 3:
            lines[-1] += " \\"
            lines.append("   ")
        lines[-1] += f" {option}"
    return lines


def result(arguments: list[str], directory: Path) -> Image.Image:
    """The picture that a run drew, the top of its report, or else the picture that was sent."""
    if "--html" in arguments:
        return report(directory / arguments[arguments.index("--html") + 1])
    option = "--draw" if "--draw" in arguments else "--image"
    return Image.open(directory / arguments[arguments.index(option) + 1]).convert("RGB")


def height_of(arguments: list[str], lines: int) -> int:
    """The height of a run's picture: a drawing is as high as the text beside it."""
    if "--html" in arguments:
        return MOST
    return min((lines + 2) * LINE, MOST) if "--draw" in arguments else HEIGHT


def report(page: Path) -> Image.Image:
    """The top of a page, as Chromium shows it."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("draw_demo.py: Chromium is not installed, and it draws the report: install it")
    shot = page.with_suffix(".png")
    flags = ["--headless", "--no-sandbox", f"--window-size={REPORT[0]},{REPORT[1]}", "--hide-scrollbars"]
    profile = f"--user-data-dir={page.parent / 'chromium'}"
    subprocess.run([chromium, *flags, profile, f"--screenshot={shot}", page.as_uri()], check=True, capture_output=True)
    return Image.open(shot).convert("RGB")


def element(image: Image.Image, y: int, width: int, height: int) -> str:
    """An image element at the right."""
    image.thumbnail((2 * width, 2 * height), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    image.save(data, "JPEG", quality=80)
    source = "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode()
    return f'<image x="{WIDTH - MARGIN - width}" y="{y}" width="{width}" height="{height}" href="{source}"/>'


def main() -> None:
    elements, top = [], MARGIN
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        (directory / "examples").symlink_to(ROOT / "examples")
        (directory / "demo-output").mkdir()
        for arguments in runs():
            printed = output(arguments, folder)
            image = result(arguments, directory)
            height = height_of(arguments, len(printed))
            width = height * image.width // image.height
            columns = int((WIDTH - width - 3 * MARGIN) / CHARACTER)
            commands = command_lines(arguments, columns)
            lines = commands + [
                part
                for line in printed
                for part in textwrap.wrap(line, columns, subsequent_indent="    ", break_on_hyphens=False) or [""]
            ]
            for number, line in enumerate(lines):
                kind = ' class="command"' if number < len(commands) else ""
                elements.append(f'<text x="{MARGIN}" y="{top + 13 + number * LINE}"{kind}>{escape(line)}</text>')
            elements.append(element(image, top, width, height))
            top += max(len(lines) * LINE, height) + MARGIN
    frame = f'<rect class="frame" width="{WIDTH}" height="{top}" rx="8"/>'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" height="{top}">'
    TARGET.write_text("\n".join([head, f"<style>{STYLE}</style>", frame, *elements, "</svg>"]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
