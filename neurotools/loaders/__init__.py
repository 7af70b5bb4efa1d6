"""A file or folder on disk to one labelled recording; one folder per family of formats.

A reader is ``load_x(path, answers) -> xarray.DataTree``. It wraps the field's own library, checks what that
library lets through, and adds names, units and one clock. ``recognise`` tells formats apart by content.

    answers, recognise      what the user says of a file, and what its content says
    eeg, fmri, spikes, nwb  the field's formats
    calcium, behaviour      output of their tools
    described               files of nameless arrays
    saved                   what ``nt.save`` wrote
    reading                 what all readers share
"""
