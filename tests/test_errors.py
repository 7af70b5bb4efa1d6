"""Messages of errors: what was wanted, what came, what to do."""

import pytest

from neurotools.errors import CODES, FileError, MissingExtraError, SettingsError, did_you_mean, lookup, need


def test_an_error_reads_as_sentence_then_facts():
    error = FileError(
        "the file is short", code="NT-FILE-003", path="a.edf", found=1400, expected=3000, fix="x"
    )
    assert str(error).splitlines() == [
        "the file is short [NT-FILE-003]",
        "  path: a.edf",
        "  found: 1400",
        "  expected: 3000",
        "  fix: x",
    ]
    assert error.as_dict()["code"] == "NT-FILE-003"
    assert isinstance(error, ValueError)


def test_a_code_that_is_not_documented_cannot_be_raised():
    with pytest.raises(KeyError):
        FileError("?", code="NT-FILE-999")
    assert all(meaning and not meaning.endswith(".") for meaning in CODES.values())


def test_lookup_lists_what_there_is_and_guesses():
    with pytest.raises(SettingsError, match=r"no kernel named 'geomaen'. Did you mean 'geomean'\?") as caught:
        lookup("kernel", "geomaen", {"geomean": 1, "product": 2})
    assert caught.value.expected == "one of geomean, product"
    assert lookup("kernel", "product", {"product": 2}) == 2


def test_need_names_the_extra():
    with pytest.raises(MissingExtraError, match=r"pip install 'neurotools-xr\[eeg\]'") as caught:
        need("no_such_package_at_all", extra="eeg", to="read EEG files")
    assert isinstance(caught.value, ImportError)
    assert "to read EEG files" in str(caught.value)
    assert need("json", extra="eeg").loads("1") == 1


def test_no_guess_is_better_than_a_far_one():
    assert did_you_mean("zzz", ["geomean"]) == ""
