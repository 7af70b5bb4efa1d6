from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

import connectome_cases as cases
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure as Picture

from neurotools.errors import SettingsError
from neurotools.report import (
    Cards,
    Code,
    Facts,
    Figure,
    Note,
    References,
    Section,
    Table,
    Text,
    build_report,
    connectome_report,
)

VOID = {"meta", "link", "img", "br", "hr", "input"}
EVIL = "<script>alert('x')</script>\" onload=\"x & y"


class Page(HTMLParser):
    """A page taken apart: whether its tags match, its links, pictures, tables and text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.faults: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(text)
        self.close()
        self.faults += [f"<{tag}> is not closed" for tag in self.open]

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> closes nothing")

    def handle_data(self, data):
        if "style" not in self.open and "script" not in self.open:
            self.text.append(data)
        if self.open and {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]

    @property
    def words(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.text))


def picture() -> Picture:
    figure = Picture(figsize=(2, 1))
    figure.add_subplot().plot([0, 1])
    return figure


PROVENANCE = {
    "pipeline": "dynamic-connectome", "recording": "test-bird", "source": "test bird.nwb",
    "created": "2026-11-21T12:00:00+00:00", "content_hash": "ab" * 32, "seeds": {"root": 4, "model": 11},
    "inputs": {"test bird.nwb": {"bytes": 3, "sha256": "cd" * 32}},
    "versions": {"neurotools": "0.1.0", "numpy": "2.4.6"},
    "threads": {"asked": 2}, "wall_time_s": 12.5, "peak_memory_mb": 321.0, "warnings": ["a warning <b>"],
}  # fmt: skip
SETTINGS = {"kernel": "geomean", "smooth_s": 0.25, "normalise": "max", "floor": 0.0, "model": {"rank": 3}}


def words_of(*results, recording=None) -> str:
    """The text of a page, made without pictures but one."""
    return Page(connectome_report(recording, *results, figures={"time_loadings": picture()})).words


@pytest.fixture(scope="module")
def made() -> str:
    fit, communities, connectome = cases.results(subjects=3)
    return connectome_report(
        cases.recording(), fit, communities, connectome, settings=SETTINGS, provenance=PROVENANCE
    )


@pytest.fixture(scope="module")
def page(made) -> Page:
    return Page(made)


# ---- a page that stands alone -------------------------------------------------------------------------
def test_tags_match_and_names_are_unique(page):
    assert page.faults == []
    names = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(names) == len(set(names))
    assert {attrs["href"] for attrs in page.all("a") if attrs["href"].startswith("#")} <= {
        f"#{n}" for n in names
    }


def test_nothing_is_fetched(page, made):
    for tag, attrs in page.tags:
        for name in ("src", "href", "srcset", "data", "action", "poster"):
            value = attrs.get(name) or ""
            allowed = value.startswith(("#", "data:")) or (
                tag == "a" and value.startswith("https://doi.org/")
            )
            assert not value or allowed, (tag, value)
    assert not re.search(r"@import|url\(", made)
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert made.startswith("<!DOCTYPE html>")


def test_every_picture_is_embedded_with_a_text(page):
    pictures = page.all("img")
    assert len(pictures) == 11
    for attrs in pictures:
        assert len(attrs["alt"]) > 20
        data = base64.b64decode(attrs["src"].removeprefix("data:image/png;base64,"))
        width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
        assert abs(width - 2 * int(attrs["width"])) <= 2  # two dots per CSS pixel
        assert abs(height - 2 * int(attrs["height"])) <= 2


def test_page_is_for_phones_dark_rooms_and_paper(made, page):
    assert any(attrs.get("name") == "viewport" for attrs in page.all("meta"))
    assert "prefers-color-scheme: dark" in made
    assert "@media print" in made
    assert page.all("html")[0]["lang"] == "en"


def test_same_input_gives_the_same_page(made):
    fit, communities, connectome = cases.results(subjects=3)
    again = connectome_report(
        cases.recording(), fit, communities, connectome, settings=SETTINGS, provenance=PROVENANCE
    )
    assert again == made


# ---- what callers write is text -----------------------------------------------------------------------
def test_everything_a_caller_passes_is_escaped():
    blocks = [
        Text(EVIL), Note([EVIL], warn=True), Figure(picture(), EVIL, EVIL, EVIL), Cards([(EVIL, EVIL, EVIL)]),
        Table(pd.DataFrame({EVIL: [EVIL]}), EVIL, EVIL, EVIL), Facts({EVIL: EVIL}, EVIL, folded=True),
        Code(EVIL, EVIL, folded=True), References([(EVIL, EVIL)]),
    ]  # fmt: skip
    html = build_report(
        EVIL, [Section(EVIL, blocks, EVIL)], subtitle=EVIL, eyebrow=EVIL, cards=[(EVIL, EVIL, EVIL)]
    )
    page = Page(html)
    assert page.faults == []
    assert "<script>alert" not in html
    assert len(page.all("script")) == 1
    assert not any("onload" in attrs for _, attrs in page.tags)
    assert page.words.count("alert('x')") > 12


def test_labels_and_attributes_of_data_are_escaped():
    names = [f"<i>{k}</i>" for k in range(12)]
    fit, communities, connectome = cases.results(names=names)
    html = connectome_report(cases.recording(title=EVIL, citation=EVIL), fit, communities, connectome)
    assert "<i>" not in html
    assert "<script>alert" not in html
    assert Page(html).faults == []


# ---- what the page says is what was found -------------------------------------------------------------
def table_under(page: Page, first: str) -> pd.DataFrame:
    at = next(k for k, row in enumerate(page.rows) if row and row[0].startswith(first))
    head = page.rows[at]
    body = []
    for row in page.rows[at + 1 :]:
        if len(row) != len(head) or not re.fullmatch(r"[\d.,]+", row[0]):
            break
        body.append(row)
    return pd.DataFrame(body, columns=head)


def test_table_of_motifs_is_the_fit(page):
    fit, communities, connectome = cases.results(subjects=3)
    table = table_under(page, "motif")
    np.testing.assert_allclose(table["weight (a.u.)"].astype(float), fit["weight"], rtol=1e-3)
    peak = fit["time"].to_numpy()[fit["time_loading"].to_numpy().argmax(axis=1)]
    np.testing.assert_allclose(table["peak at (s)"].astype(float), peak, rtol=1e-3)
    active = connectome["active"].sum("time").to_numpy() * 0.1
    np.testing.assert_allclose(table["active (s)"].astype(float), active, rtol=1e-3)
    owner = connectome["interval_component"].to_numpy()
    assert [int(n) for n in table["intervals"]] == [int((owner == k).sum()) for k in range(3)]
    saved = communities["null_description_length"] - communities["description_length"].min("variant")
    np.testing.assert_allclose(table["saved over one block (nats)"].astype(float), saved, rtol=1e-3)


def test_table_of_intervals_is_the_connectome(page):
    _, _, connectome = cases.results(subjects=3)
    table = table_under(page, "start (s)").astype(float)
    assert len(table) == connectome.sizes["interval"]
    order = np.lexsort((connectome["interval_component"], connectome["interval_start"]))
    for column, name in (("start (s)", "start"), ("stop (s)", "stop"), ("motif", "component")):
        np.testing.assert_allclose(table[column], connectome[f"interval_{name}"][order], atol=1e-3)


def test_members_of_communities_are_all_there_once_per_motif(page):
    fit, communities, _ = cases.results(subjects=3)
    rows = [row for row in page.rows if len(row) == 5 and row[0] in {"0", "1", "2"} and "," in row[4]]
    for component in range(3):
        mine = [row for row in rows if row[0] == str(component)]
        for _, community, size, _, members in mine:
            units = [int(name) for name in members.split(", ")]
            assert len(units) == int(size)
            label = communities["label"].sel(component=component, unit=units)
            assert (label == int(community)).all()
        np.testing.assert_allclose(sum(float(row[3]) for row in mine), 100, atol=0.1)
        assert sum(int(row[2]) for row in mine) == fit.sizes["unit"]


def test_key_numbers_and_provenance_are_shown(page):
    fit, _, connectome = cases.results(subjects=3)
    similarity = np.median(fit["restart_similarity"].to_numpy()[np.triu_indices(4, 1)])
    shown = (
        "units 12", "subjects 3", "analysed 4 s", "sampling rate 10 Hz", "relative error 0.5000",
        "explained 75 %",
        f"median similarity of 4 restarts {similarity:.2f} of 1", "to compute 12.5 s",
        f"intervals of activity {connectome.sizes['interval']}", "ab" * 32, "cd" * 32,
        "root 4, model 11", "numpy 2.4.6", "a warning <b>",
    )  # fmt: skip
    for text in shown:
        assert text in page.words, text


def test_quality_of_the_recording_is_shown(page):
    for text in (
        "A test bird",
        "Bird et al. 2019",
        "12 unit x 40 time",
        "rows never change",
        "1 of 12",
        "stimulus/song",
    ):
        assert text in page.words, text


def test_how_to_do_it_again_is_true(page):
    code = [row for row in page.text if "neurotools run" in row or "nt.load" in row]
    assert code[0].strip() == (
        "neurotools run dynamic-connectome 'test bird.nwb' --out results --settings settings.yaml --seed 4"
    )
    assert "kernel='geomean', smooth_s=0.25, normalise='max', floor=0.0" in code[1]
    assert "nt.NTF(rank=3, layout='pair', loss='l2', n_restarts=4, max_iter=50, tol=1e-05, seed=7" in code[1]
    compile(code[1], "report", "exec")


# ---- what the numbers are not -------------------------------------------------------------------------
def test_limits_are_said_plainly():
    fit, communities, connectome = cases.results()
    words = words_of(fit, communities, connectome)
    for text in ("exact formula there is not confirmed", "not a reproduction", "more than one solution",
                 "account for 75 %", "neither a synapse nor a cause",
                 "community 1 of one motif is not"):  # fmt: skip
        assert text in words, text
    assert "had not converged" not in words


def test_several_subjects_are_not_called_a_matrix_factorisation(page):
    assert "more than one solution" not in page.words
    assert "Donoho" not in page.words


def test_no_convergence_and_unstable_motifs_are_said_first():
    fit, communities, connectome = cases.results(converged=0)
    fit["restart_similarity"] = fit["restart_similarity"] * 0.5
    words = words_of(fit, communities, connectome)
    assert words.index("had not converged") < words.index("When each motif is engaged")
    assert words.index("Different random starts give different motifs") < words.index(
        "When each motif is engaged"
    )
    assert "NOT converged" in words


def test_motifs_without_communities_are_named():
    fit, communities, connectome = cases.results()
    communities["null_description_length"][1] = -500.0
    words = words_of(fit, communities, connectome)
    assert "For motif 1 one block describes the data as well" in words


def test_silent_units_are_counted():
    fit, communities, connectome = cases.results()
    fit["motif"][:, 2], fit["motif"][:, :, 2] = 0.0, 0.0
    assert "1 of 12 units take part in no motif" in words_of(fit, communities, connectome)


# ---- pieces -------------------------------------------------------------------------------------------
def test_long_tables_are_folded_and_very_long_ones_say_so():
    frame = pd.DataFrame({"a": np.arange(2500)})
    html = build_report(
        "t", [Section("s", [Table(frame, "Many", more="See the folder."), Table(frame[:3], "Few")])]
    )
    page = Page(html)
    assert len(page.all("details")) == 1
    assert "(2,500 rows)" in page.words
    assert "The first 2000 of 2,500 rows. See the folder." in page.words.replace("2,000", "2000")
    assert page.rows.count(["1,999"]) == 1
    assert not any(row == ["2,000"] for row in page.rows)


def test_cells_keep_numbers_to_sort_by():
    frame = pd.DataFrame(
        {"x (s)": [0.123456, 12.0, np.nan], "name": ["b", "a", "c"], "on": [True, False, True]}
    )
    page = Page(build_report("t", [Section("s", [Table(frame, "T")])]))
    assert [a["data-value"] for a in page.all("td") if "data-value" in a] == ["0.123456", "12.0", "NaN"]
    assert page.rows[1:] == [["0.12", "b", "True"], ["12.00", "a", "False"], ["–", "c", "True"]]


def test_a_picture_without_words_is_refused():
    with pytest.raises(SettingsError, match="alternative text"):
        build_report("t", [Section("s", [Figure(picture(), "caption", " ", "Fig")])])
    with pytest.raises(SettingsError, match="must be a PNG"):
        build_report("t", [Section("s", [Figure(b"GIF89a" + bytes(30), "caption", "words")])])


def test_two_sections_of_one_name_are_refused():
    with pytest.raises(SettingsError, match="its own title"):
        build_report("t", [Section("One"), Section("one")])


def test_unknown_figures_still_come_with_a_text():
    fit, communities, connectome = cases.results()
    html = connectome_report(None, fit, communities, connectome, figures={"my_panel": picture()})
    page = Page(html)
    assert [attrs["alt"] for attrs in page.all("img")] == ["Figure of this analysis: my panel."]
    assert "More figures" in page.words


def test_a_fit_alone_makes_a_page():
    fit, _, _ = cases.results(layout="symcp", dim="region")
    page = Page(connectome_report(None, fit))
    assert page.faults == []
    assert "12 regions" in page.words
