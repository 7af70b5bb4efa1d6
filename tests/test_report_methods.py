from __future__ import annotations

import json
import re

import connectome_cases as cases
import pytest

from neurotools.errors import SchemaError
from neurotools.report import methods_text
from neurotools.report.methods import methods


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"smooth_s": 0.25}, "Gaussian of standard deviation 0.25 s"),
        ({"smooth_s": None}, "taken by finite differences"),
        ({}, "not recorded in the fit"),
        ({"smooth_s": 0.25, "normalise": "percentile99"}, "99th percentile"),
        ({"smooth_s": 0.25, "floor": 0.1}, "below 0.1 count as none"),
        ({"bin_width_s": 0.05}, "counted in bins of 0.05 s"),
        ({"band": (8.0, 12.0)}, "power between 8 and 12 Hz"),
        ({"threshold": 0.4}, "lies above 0.4 of its largest value"),
        ({"threshold": None}, "best (Otsu, 1979), one per motif"),
    ],
)  # fmt: skip
def test_methods_follow_the_settings(settings, said):
    fit, communities, connectome = cases.results()
    assert said in methods_text(fit, communities, connectome, settings=settings)


@pytest.mark.parametrize(
    ("kernel", "said", "cited"),
    [
        ("geomean", "geometric mean", False),
        ("product", "product of their sizes", True),
        ("min", "smaller of their sizes", False),
        ("ratio", "ratio of the smaller to the larger", False),
        ("corr_window", "Pearson correlation", False),
    ],
)
def test_methods_follow_the_kernel(kernel, said, cited):
    fit, _, _ = cases.results(kernel=kernel)
    text = methods_text(fit, settings={"smooth_s": 1.0})
    assert said in text
    assert ("Shine" in text) == cited
    assert ("exact kernel of the published work is not confirmed" in text) == (kernel != "corr_window")


@pytest.mark.parametrize("layout", ["pair", "symcp"])
@pytest.mark.parametrize("subjects", [0, 3])
def test_methods_follow_the_model(layout, subjects):
    fit, communities, connectome = cases.results(layout=layout, subjects=subjects)
    text = methods_text(fit, communities, connectome)
    assert ("non-negative matrix factorisation" in text) == (layout == "pair" and not subjects)
    assert ("Donoho" in text) == (layout == "pair" and not subjects)
    assert ("outer product" in text) == (layout == "symcp")
    assert ("subjects x time" in text) == bool(subjects)
    for number in ("3 non-negative components", "4 random starts (seed 7)", "at most 50 sweeps", "1e-05",
                   "20 sweeps",
                   "0.5000", "float64 on cpu", "(seed 3)"):  # fmt: skip
        assert number in text, number


@pytest.mark.parametrize(
    ("chosen", "there", "absent"),
    [
        ({"degree_corrected": "auto"}, "fitted without and with degree correction", "hierarchy"),
        ({"degree_corrected": True}, "with degree correction (Karrer", "the variant with the shorter"),
        ({"degree_corrected": False}, "without degree correction", "Karrer"),
        ({"nested": True}, "hierarchy of levels (Peixoto, 2014)", "nothing"),
        ({"weights": "normal"}, "with normal weights", "exponential"),
    ],
)
def test_methods_follow_the_block_model(chosen, there, absent):
    fit, communities, _ = cases.results()
    settings = {**json.loads(communities.attrs["settings"]), **chosen}
    text = methods_text(fit, communities.assign_attrs(settings=json.dumps(settings)))
    assert there in text
    assert absent not in text


def test_every_reference_is_cited_and_every_citation_listed():
    fit, communities, connectome = cases.results()
    written = methods(fit, communities, connectome, recording=cases.recording())
    body = " ".join(written.paragraphs)
    cited = set(re.findall(r"([A-Z][a-z]+)(?: et al\.| and [A-Z][a-z]+)?, (\d{4})", body))
    listed = {
        (re.match(r"\w+", text).group(), re.search(r"\d{4}", text).group()) for text, _ in written.references
    }
    assert cited <= listed
    assert listed <= cited | {("Bird", "2019")}
    assert all(doi.startswith("10.") for _, doi in written.references if doi)


def test_software_is_what_computed_not_all_that_is_installed():
    fit, _, _ = cases.results()
    text = methods_text(fit, versions={"neurotools": "9.9", "numpy": "2.4.6", "torch": "2.13.0"})
    assert "Software: neurotools 9.9 with numpy 2.4.6." in text


def test_a_recording_of_two_papers_lists_both_with_their_links():
    fit, _, _ = cases.results()
    cited = "First A (2000). One.\nJournal 1. doi:10.1000/a(1)b\n\nSecond B (2001). Two. Journal 2."
    written = methods(fit, recording=cases.recording(citation=cited))
    assert written.references[:2] == (
        ("First A (2000). One. Journal 1.", "10.1000/a(1)b"),
        ("Second B (2001). Two. Journal 2.", ""),
    )
    assert "Cite the first 2 references for the recording." in written.paragraphs[0]


def test_methods_of_what_is_no_fit_are_an_error():
    fit, _, _ = cases.results()
    del fit.attrs["settings"]
    with pytest.raises(SchemaError, match="carries none"):
        methods_text(fit)
