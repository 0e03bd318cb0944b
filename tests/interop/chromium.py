"""Chromium, which finds this machine and no other."""

import contextlib
import os
import shutil

from playwright.sync_api import expect, sync_playwright

# How long a page may take to show something on a machine that is busy, in milliseconds.
PATIENCE = 60_000
# Whatever else a page may name has no address.
ONLY_THIS_MACHINE = "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"


@contextlib.contextmanager
def chromium():
    """Runs a browser until the end of the block."""
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        options = [f"--host-resolver-rules={ONLY_THIS_MACHINE}"]
        if os.geteuid() == 0:
            options.append("--no-sandbox")
        program = shutil.which("chromium")
        yield playwright.chromium.launch(executable_path=program, args=options)
