"""The page of errors lists exactly the codes that a client or an operator can get.

A code is a word of the sources: in Rust an upper case string with an underscore, or what a `code` function gives; in
Python what `code=` and `default_code` are set to, and what http.py and sse.py answer with.
"""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]

WORD = r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*"
NO_CODES = re.compile(
    r"PG[A-Z_]+|CARGO_PKG_VERSION|IDENTIFY_SYSTEM|NOEXPORT_SNAPSHOT|SCREAMING_SNAKE_CASE|USER_ID"
    # Only in log lines and metrics: clients get close code 4400 with the text.
    r"|BINARY_FRAME|MESSAGE_[A-Z_]+|OPERATION_ID_TOO_LONG|PUBLISH_(NOT_UTF8|MALFORMED)"
    # Encodings.
    r"|SQL_ASCII|MULE_INTERNAL"
    # An operation, and the kind of a type.
    r"|SNAPSHOT_END|INPUT_OBJECT"
    # Reported as TENANT_INVALID; the root of the tree and the class of refused requests always have their own code.
    r"|BAD_TENANT|ROWCAST_ERROR|REQUEST_REFUSED"
)


def told() -> set[str]:
    """The codes of the sources."""
    found: set[str] = set()
    for path in (ROOT / "src").rglob("*.rs"):
        if "tests" in {*path.parts, path.stem}:
            continue
        text = path.read_text().partition("#[cfg(test)]")[0]
        found.update(word for word in re.findall(rf'"({WORD})"', text) if "_" in word)
        found.update(re.findall(rf'(?:code: |Failure::new\(\s*|\.fail\(|\(\()"({WORD})"', text))
        for body in text.split("fn code(")[1:]:
            found.update(re.findall(rf'=> "({WORD})"', body.partition("\n    }\n")[0]))
    for path in (ROOT / "python" / "rowcast").rglob("*.py"):
        text = path.read_text()
        found.update(re.findall(rf'code(?:: ClassVar\[str\])? ?= ?"({WORD})"', text))
        found.update(re.findall(rf'refusal\([^)]*?"({WORD})"', text))
        found.update(re.findall(rf'fail\([^)]*?"({WORD})"\)', text))
    return {code for code in found if not NO_CODES.fullmatch(code)}


def documented() -> set[str]:
    """The first cells of the tables about codes; a `*` stands for the rest of a family."""
    page = (ROOT / "docs" / "reference" / "errors.md").read_text()
    cells = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    return {code for cell in cells for code in re.findall(rf"`({WORD}(?:_\*)?)`", cell)}


def test_every_code_is_documented():
    families = tuple(code.removesuffix("*") for code in documented() if code.endswith("*"))
    missing = {code for code in told() - documented() if not code.startswith(families)}
    assert missing == set()


def test_every_documented_code_exists():
    known = told()
    stale = {
        code
        for code in documented()
        if code not in known and not (code.endswith("*") and any(each.startswith(code[:-1]) for each in known))
    }
    assert stale == set()
