"""The checker of annotations and shapes that the test run switches on; a whole number is a valid float."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
