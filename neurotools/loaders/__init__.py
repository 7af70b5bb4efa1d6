"""A file or folder on disk to one labelled recording; one module per family of formats.

A reader is ``load_x(path, answers) -> xarray.DataTree``. It wraps the field's own library, checks what that
library lets through, and adds names, units and one clock. ``recognise`` tells formats apart by content.
"""
