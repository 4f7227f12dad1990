"""Checks that the code of a page is the code of the tests, so that what people copy is what runs.

    extracts.py REPOSITORY PAGE...

Each fenced block in ts, python or json must follow a line "`path`:" that names its file, and occur in it word for word. It
prints a line per block, and exits 1 when one doesn't.
"""

import pathlib
import re
import sys

BLOCK = re.compile(r"^```(ts|python|json)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NAMED = re.compile(r"(?:^|\n)`([\w./-]+)`:\n+\Z")


def problem(root: pathlib.Path, before: str, code: str) -> str | None:
    named = NAMED.search(before)
    if not named:
        return "no line before it names its file"
    if not (root / named[1]).is_file():
        return f"there is no {named[1]}"
    if not code.strip():
        return "it is empty"
    # Whole lines: the page may not cut one short.
    if "\n" + code not in "\n" + (root / named[1]).read_text():
        return f"it doesn't occur in {named[1]}"
    return None


def check(root: pathlib.Path, page: str, text: str) -> int:
    failed = 0
    blocks = list(BLOCK.finditer(text))
    for block in blocks:
        where = f"extracts: {page} line {text.count(chr(10), 0, block.start()) + 1}"
        fault = problem(root, text[: block.start()], block[2])
        # The control: with a changed character the same block must not be found.
        if fault is None and problem(root, text[: block.start()], block[2].replace("e", "3", 1)) is None:
            fault = "a changed block is accepted too"
        failed += fault is not None
        print(f"FAIL {where}: {fault}" if fault else f"ok   {where}")
    if not blocks:
        print(f"FAIL extracts: {page} has no code")
    return failed + (not blocks)


if __name__ == "__main__":
    root = pathlib.Path(sys.argv[1])
    sys.exit(sum(check(root, page, (root / page).read_text()) for page in sys.argv[2:]) > 0)
