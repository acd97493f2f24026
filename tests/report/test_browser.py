"""The page in a real browser: nothing overflows on a phone or a wide screen, and the console stays silent."""

import json
import re
import shutil
import subprocess

import pytest
from report.made import whole

from tipsai.report import html
from tipsai.report.page import POLICY

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium")
# A window narrower than some 500 pixels is not given; a frame is, and media queries follow it.
FRAME = '<!DOCTYPE html><html><body style="margin:0"><iframe src="{name}" style="border:0;width:{width}px;height:3000px"></iframe>'
MEASURE = """<script>addEventListener("load", () => {
  const root = document.documentElement, wide = root.clientWidth;
  const out = [...document.querySelectorAll("body *")].filter(e => {
    const box = e.getBoundingClientRect();
    return box.right > wide + 1 && !e.closest(".scroll") && !e.closest("svg");
  }).map(e => e.tagName + "." + e.className);
  const small = [...document.querySelectorAll("svg text")].map(t => t.getBoundingClientRect().height).filter(h => h > 0);
  const told = {width: wide, scroll: root.scrollWidth, out, text: Math.min(...small)};
  parent.document.title = JSON.stringify(told);
  const mark = parent.document.createElement("p");
  mark.id = "told"; mark.textContent = JSON.stringify(told);
  parent.document.body.append(mark);
});</script>"""


def run(folder, *arguments):
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--allow-file-access-from-files",
        "--virtual-time-budget=3000",
        f"--user-data-dir={folder / 'profile'}",
        *arguments,
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


@needs_a_browser
@pytest.mark.parametrize("width", [360, 1400])
def test_nothing_overflows(width, tmp_path):
    """The measuring script is the test's; the page's own policy would not let it run, and is taken out for it."""
    page = html(whole())
    assert page.count(POLICY) == 1
    page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    (tmp_path / "page.html").write_text(page.replace("</body>", f"{MEASURE}</body>"), encoding="utf-8")
    (tmp_path / "frame.html").write_text(FRAME.format(name="page.html", width=width))
    done = run(tmp_path, "--window-size=1500,1000", "--dump-dom", f"file://{tmp_path}/frame.html")
    (told,) = re.findall(r'<p id="told">(.*?)</p>', done.stdout)
    found = json.loads(told.replace("&quot;", '"').replace("&gt;", ">"))
    assert width - 20 <= found["width"] <= width and found["scroll"] <= found["width"], found
    assert found["out"] == [] and found["text"] >= 9.5, found


@needs_a_browser
def test_the_console_is_silent(tmp_path):
    (tmp_path / "page.html").write_text(html(whole()), encoding="utf-8")
    done = run(tmp_path, "--enable-logging=stderr", "--v=0", "--dump-dom", f"file://{tmp_path}/page.html")
    assert "How to reproduce" in done.stdout
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert said == [], said
    (tmp_path / "bad.html").write_text("<script>console.error('heard')</script>")
    done = run(tmp_path, "--enable-logging=stderr", "--v=0", "--dump-dom", f"file://{tmp_path}/bad.html")
    assert any("CONSOLE" in line and "heard" in line for line in done.stderr.splitlines()), "the test hears errors"
