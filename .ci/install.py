"""Runs `pip install` with one line of progress: how many packages, which one, and for how long.

On a terminal the line changes in place; otherwise it is printed every ten seconds, and in CI only at the end. What pip
itself says is shown only when it fails. Usage: python install.py TITLE ARGUMENTS-OF-PIP-INSTALL...
"""

import os
import re
import subprocess
import sys
import threading
import time

EVERY_S = 10.0
DRAW_EVERY_S = 0.2


def main(title: str, arguments: list[str]) -> int:
    """Install; returns pip's exit code."""
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-compile", "--progress-bar", "off", *arguments]
    pip = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    state, lines = State(title), list[str]()
    drawing = threading.Thread(target=state.draw, daemon=True)
    drawing.start()
    assert pip.stdout is not None
    for line in pip.stdout:
        lines.append(line)
        state.see(line)
    status = pip.wait()
    state.ended.set()
    drawing.join()
    if status:
        sys.stdout.writelines(lines[-40:])
        print(f"{title}: pip failed, see above")
    else:
        noun = "package" if state.packages == 1 else "packages"
        print(f"{title}: {state.packages} {noun} in {time.monotonic() - state.started:.0f} s", flush=True)
    return status


class State:
    """What pip is doing."""

    def __init__(self, title: str) -> None:
        self.title, self.doing, self.packages = title, "starting", 0
        self.started = time.monotonic()
        self.ended = threading.Event()

    def see(self, line: str) -> None:
        """Follow one line of pip's output."""
        if found := re.match(r"\s*(?:Collecting|Requirement already satisfied:|Obtaining|Processing) ([^=<>; (]+)", line):
            self.packages += 1
            self.doing = f"package {self.packages}: {found[1]}"
        elif line.startswith("Installing collected packages"):
            self.doing = f"unpacking {self.packages} packages"

    def draw(self) -> None:
        """Show the line until pip has ended."""
        terminal = sys.stdout.isatty()
        shown_at = self.started
        while not self.ended.wait(DRAW_EVERY_S):
            now = time.monotonic()
            text = f"{self.title}: {self.doing}, {now - self.started:.0f} s"
            if terminal:
                print(f"\r\033[K{text}", end="", flush=True)
            elif now - shown_at >= EVERY_S and not os.environ.get("CI"):
                shown_at = now
                print(text, flush=True)
        if terminal:
            print("\r\033[K", end="", flush=True)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], sys.argv[2:]))
