"""The table of checks; one line here, one function in a file beside, one row or more on the page."""

from benchmarks.checks import songbird, start_up, worms
from benchmarks.record import Check

FACTORISATION = (
    "neurotools/numerics/affinity.py",
    "neurotools/numerics/ntf.py",
    "neurotools/numerics/tensor.py",
    "neurotools/signals/affinity.py",
    "neurotools/models/ntf.py",
)

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
        Check(
            name="songbird_errors",
            title="Songbird: affinities and errors of the factorisation equal the reference",
            run=songbird.errors,
            code=FACTORISATION,
        ),
        Check(
            name="songbird_sequences",
            title="Songbird: units of the motifs peak in one order after each syllable",
            run=songbird.sequences,
            code=(*FACTORISATION, "neurotools/evaluate/nulls.py", "neurotools/numerics/sequences.py"),
            kind="science",
        ),
        Check(
            name="worm_behaviour",
            title="Worms: motifs follow velocity and reversals",
            run=worms.behaviour,
            code=(*FACTORISATION, "neurotools/evaluate/nulls.py", "neurotools/loaders/calcium.py"),
            kind="science",
        ),
    )
}
