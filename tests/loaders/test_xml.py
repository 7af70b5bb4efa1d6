"""XML in recordings: no entity is expanded, no other file is shown, and no parser of ours could do either."""

from __future__ import annotations

import re
import time
from pathlib import Path

import numpy as np
import pytest

import neurotools as nt
from neurotools.errors import FileError
from neurotools.loaders.reading.xml_checks import check_xml

from . import vendor_files as made

ROOT = Path(__file__).resolve().parents[2]
# Ten entities, each ten times the one before: 3 GB of text out of 1 KB.
LAUGHS = "".join(f'<!ENTITY l{i + 1} "{f"&l{i};" * 10}">' for i in range(9))
BOMBS = {
    "billion laughs": f'<!DOCTYPE a [<!ENTITY l0 "lol">{LAUGHS}]>',
    "quadratic blow-up": f'<!DOCTYPE a [<!ENTITY l9 "{"x" * 50_000}">]>',
    "another file": '<!DOCTYPE a [<!ENTITY l9 SYSTEM "file:///etc/passwd">]>',
    "another computer": '<!DOCTYPE a SYSTEM "http://localhost:9/a.dtd">',
    "parameter entities": '<!DOCTYPE a [<!ENTITY % p SYSTEM "file:///etc/passwd"> %p;]>',
}


@pytest.fixture(scope="module")
def mff(tmp_path_factory):
    path = tmp_path_factory.mktemp("mff") / "a.mff"
    made.write_mff(path)
    nt.load(path)  # so that no time below is that of imports
    return path


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("file", ["info.xml", "epochs.xml", "coordinates.xml"])
def test_no_entity_of_an_mff_folder_is_expanded(mff, name, file):
    target = mff / file
    content = target.read_text(encoding="utf-8")
    head, root = re.match(r"(<\?xml[^>]*\?>\s*)(.*)", content, re.DOTALL).groups()
    first = re.match(r"<[^>]+>", root)[0]
    try:
        target.write_text(head + BOMBS[name] + first + "&l9;" + root[len(first) :], encoding="utf-8")
        begun = time.perf_counter()
        with pytest.raises(FileError, match="declares a document type") as caught:
            nt.load(mff)
        assert time.perf_counter() - begun < 5
        assert (caught.value.code, caught.value.path) == ("NT-FILE-007", str(target))
    finally:
        target.write_text(content, encoding="utf-8")
    assert nt.load(mff)["eeg/signal"].sizes["time"] == made.N


@pytest.mark.parametrize("name", BOMBS)
def test_an_nedf_header_has_no_place_for_a_document_type(tmp_path, name):
    """It is told by a root element on the first byte; with anything before that it is no NEDF."""
    path = tmp_path / "a.nedf"
    made.write_nedf(path, before=BOMBS[name])
    with pytest.raises(FileError) as caught:
        nt.load(path)
    assert caught.value.code == "NT-FILE-002"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
def test_a_document_type_is_found_in_every_encoding(tmp_path, encoding):
    declared = "utf-16" if encoding.startswith("utf-16") else "utf-8"
    start = f'<?xml version="1.0" encoding="{declared}"?><!-- a -->'
    bom = b"\xfe\xff" if encoding == "utf-16-be" else b""
    check_xml(bom + f"{start}<a><b/></a>".encode(encoding), tmp_path)
    with pytest.raises(FileError, match="document type"):
        check_xml(bom + f"{start}{BOMBS['billion laughs']}<a>&l9;</a>".encode(encoding), tmp_path)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "NT-FILE-003"),
        (b"<?xml version='1.0'?>", "NT-FILE-003"),
        (b"<?xml version='1.0'?>junk<a/>", "NT-FILE-004"),
        # Encodings that one parser knows and another does not could hide a document type from the check.
        (b'<?xml version="1.0" encoding="UTF-7"?>+ADwAIQ-DOCTYPE a+AD4-<a/>', "NT-FILE-004"),
        (b'<?xml version="1.0" encoding="no-such"?><a/>', "NT-FILE-004"),
    ],
)
def test_what_is_no_xml_is_refused_before_a_lenient_parser_sees_it(tmp_path, content, code):
    with pytest.raises(FileError) as caught:
        check_xml(content, tmp_path / "x.xml")
    assert caught.value.code == code


def test_only_the_check_itself_parses_xml():
    """MFF and NEDF are the formats with XML; a parser that appears elsewhere has to be hardened and named."""
    parsers = re.compile(r"\b(xml\.(etree|dom|sax|parsers)|ElementTree|minidom|lxml|xmltodict)\b")
    found = {
        file.relative_to(ROOT).as_posix()
        for folder in ("neurotools", "pipelines")
        for file in (ROOT / folder).rglob("*.py")
        if parsers.search(file.read_text(encoding="utf-8"))
    }
    assert {Path(name).name for name in found} == {"xml_checks.py"}


def test_mff_values_times_and_positions(mff):
    recording = nt.load(mff)
    x = recording["eeg/signal"]
    assert (x.shape, x.attrs["sfreq"], x.attrs["units"]) == ((33, made.N), 250.0, "V")
    np.testing.assert_allclose(x, made.mff_values() * 1e-6, rtol=1e-6)
    assert np.isfinite(x["x"]).sum() >= 32
    assert float(np.abs(x["x"]).max()) < 0.2  # metres


def test_nedf_values(tmp_path):
    path = tmp_path / "a.nedf"
    counts = made.write_nedf(path)
    x = nt.load(path)["eeg/signal"]
    np.testing.assert_allclose(x, counts * (2.4 / (6.0 * 8388607)), rtol=1e-9)
    assert x["channel"].to_numpy().tolist() == ["P7", "P4", "Cz", "Pz"]
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(FileError, match="damaged or was cut short"):
        nt.load(path)
