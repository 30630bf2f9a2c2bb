"""A headless browser for the page's tests: it opens a page, runs one more script in it, and reads what that says."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gpunet.demo.page import content_hash

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PATIENCE = 60  # seconds until a browser that does not answer is ended
# The page's clock, in milliseconds: it jumps from timer to timer. Decoding an image takes real time on another thread,
# which the clock knows nothing of, so that a timer has to tick until the script is done.
BUDGET = 10_000_000
TICK = 20


def run_in_page(page: str, script: str, folder: Path) -> Any:
    """Open a demo page and return the JSON value that the body of an asynchronous function makes in it.

    Its last words must be `return value;`. An error that is thrown anywhere in the page fails the test.
    """
    browser = next(filter(None, map(shutil.which, NAMES)), None)
    if browser is None:
        pytest.skip("no Chromium or Chrome is installed")
    path = folder / "page.html"
    path.write_text(_with_script(page, script), encoding="utf-8")
    # Without its sandbox, which containers seldom allow: it opens this one page.
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--virtual-time-budget={BUDGET}", "--dump-dom"]
    command = [browser, *options, f"--user-data-dir={folder / 'profile'}", path.as_uri()]
    found = subprocess.run(command, capture_output=True, timeout=PATIENCE)
    outcome = re.search(r'<pre id="outcome">(.*?)</pre>', found.stdout.decode(), re.DOTALL)
    assert outcome, f"the script has not come to its end: {found.stderr.decode()[-500:]}"
    answer = json.loads(html.unescape(outcome[1]))
    assert answer["errors"] == []
    return answer["value"]


def _with_script(page: str, script: str) -> str:
    """The page with one more script, which its content security policy is told of, and with a listener for errors."""
    listener = "const errors = []; addEventListener('error', (event) => errors.push(event.message));"
    listener += "addEventListener('securitypolicyviolation', (event) => errors.push(event.blockedURI));"
    script = f"""
        const ticking = setInterval(() => {{}}, {TICK});
        (async () => {{ {script} }})().catch((error) => {{ errors.push(String(error)); }}).then((value) => {{
            const outcome = document.createElement("pre");
            outcome.id = "outcome";
            outcome.textContent = JSON.stringify({{ value, errors }});
            document.body.append(outcome);
            clearInterval(ticking);
        }});"""
    allowed = " ".join(map(content_hash, (listener, script)))
    page = page.replace("script-src ", f"script-src {allowed} ", 1)
    page = page.replace("<style>", f"<script>{listener}</script><style>", 1)
    return page.replace("</body>\n</html>", f"<script>{script}</script></body>\n</html>", 1)
