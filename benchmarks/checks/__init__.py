"""The table of checks; one line here, one function in a file beside, one row or more on the page."""

from benchmarks.checks import start_up
from benchmarks.record import Check

CHECKS = {
    check.name: check
    for check in (
        Check(
            name="start_up",
            title="Import and command line start quickly",
            run=start_up.start_up,
            code=("neurotools/__init__.py", "neurotools/__init__.pyi", "pipelines/command_line.py"),
            kind="speed",
        ),
    )
}
