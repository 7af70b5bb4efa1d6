"""Names, order and units of dimensions, for each kind of recording, and the checks that keep them true.

A recording is an ``xarray.DataTree``: one node per modality or table, each with its own clock, and a root
that holds attributes only. ``ask`` states what a function needs, ``build`` makes the pieces, ``judge`` puts
them together and reports every fault of the whole.
"""

from neurotools.schema.ask import (
    DESIGN,
    KINDS,
    MAIN_ARRAYS,
    SIGNAL,
    SPACE_DIMS,
    SPIKE_COUNTS,
    Schema,
    check_counts,
    check_time,
    sampling_rate,
    signal,
    space_dim,
    unknown_kind,
)
from neurotools.schema.build import (
    continuous,
    counts_array,
    events_table,
    plain_attrs,
    spike_table,
    spike_trains,
    time_axis,
    trials_table,
)
from neurotools.schema.judge import Finding, recording_tree, validate

__all__ = [
    "DESIGN",
    "KINDS",
    "MAIN_ARRAYS",
    "SIGNAL",
    "SPACE_DIMS",
    "SPIKE_COUNTS",
    "Finding",
    "Schema",
    "check_counts",
    "check_time",
    "continuous",
    "counts_array",
    "events_table",
    "plain_attrs",
    "recording_tree",
    "sampling_rate",
    "signal",
    "space_dim",
    "spike_table",
    "spike_trains",
    "time_axis",
    "trials_table",
    "unknown_kind",
    "validate",
]
