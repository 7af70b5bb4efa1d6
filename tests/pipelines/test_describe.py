"""What ``describe`` says: a schema that editors can use, and what a run on a source is expected to take."""

import json

import jsonschema
import numpy as np
import pytest
from neurotools.pipelines import costs, describe, yaml_lines
from neurotools.pipelines.contract import pipeline

import neurotools as nt
from neurotools import schema
from neurotools.registry import PIPELINES

from .conftest import TOY, command, write_recording


@pytest.mark.parametrize("name", PIPELINES)
def test_the_schema_takes_the_template_and_refuses_a_slip(name):
    chain = pipeline(name)
    rules = describe.json_schema(chain)
    validator = jsonschema.Draft202012Validator(rules)
    validator.check_schema(rules)
    template, _ = yaml_lines.parse(describe.template(chain))
    validator.validate(template)
    first = next(iter(template))
    with pytest.raises(jsonschema.ValidationError, match="Additional properties"):
        validator.validate({first + "x": template[first]})
    told = rules["properties"]
    assert all(entry.get("description") for entry in told.values()), name


def test_meanings_reach_the_settings_of_models():
    rules = describe.json_schema(pipeline("dynamic-connectome"))
    model = rules["$defs"]["NTF"]["properties"]
    assert model["rank"]["description"] == "Number of components."
    assert "[s]" in rules["properties"]["smooth_s"]["description"]


def test_a_slip_in_a_settings_file_is_told_with_its_line(tmp_path):
    file = tmp_path / "settings.yaml"
    file.write_text("# mine\nstand_uot: 4.0\n")
    done = command("run", "quality", "eegmmidb", tmp_path / "out", "--settings", file)
    assert done.returncode == 2
    assert "line 2" in done.stderr
    assert "Did you mean 'stand_out'?" in done.stderr
    assert not (tmp_path / "out").exists()


# ---- what a run is expected to take ---------------------------------------------------------------------
def expected(name, recording, **settings):
    chain = pipeline(name)
    return costs.estimate(chain, recording, chain.settings(**settings))


def traces(n_rows, n_time):
    values = np.zeros((n_rows, n_time))
    return schema.recording_tree({"fmri/bold": schema.continuous(values, dim="region", sfreq=0.5, units="1")})


@pytest.mark.parametrize("name", costs.COSTS)
def test_more_data_take_more(name):
    if name == "choice-states":
        small, large = (nt.simulate.switching_choices(n_sessions=n, n_trials=50)[0] for n in (2, 20))
    elif name in ("brain-states", "bicluster"):
        small, large = (
            schema.recording_tree(
                {"counts/counts": schema.counts_array(np.zeros((n, 5), dtype=int), bin_width=0.1)}
            )
            for n in (100, 10_000)
        )
    else:
        small, large = traces(5, 100), traces(200, 10_000)
    few, many = (expected(name, recording) for recording in (small, large))
    assert few is not None
    assert many.seconds > few.seconds > 0
    assert many.memory_mb >= few.memory_mb > 100
    assert many.shape.samples > few.shape.samples
    json.dumps(many.as_dict())


def test_settings_change_what_is_expected():
    recording = traces(50, 1000)
    plain = expected("fmri-connectivity", recording)
    windowed = expected("fmri-connectivity", recording, window_s=60.0)
    assert windowed.terms.keys() - plain.terms.keys() == {"windows"}
    binned = nt.load("m1-reaching")
    shapes = [costs.shape_of(binned, pipeline("bicluster").settings(bin_width_s=w)) for w in (0.1, 0.2)]
    assert shapes[0].samples == pytest.approx(2 * shapes[1].samples, abs=1)


def test_no_estimate_is_said_not_made_up(tmp_path):
    assert costs.estimate(pipeline(TOY), traces(2, 10), pipeline(TOY).settings()) is None
    assert expected("encoder-pretrain", traces(2, 1000), encoder="neurogpt-base") is None


def test_a_collection_is_told_by_its_largest_recording(tmp_path):
    folder = tmp_path / "recordings"
    folder.mkdir()
    for name, n_units in (("small", 2), ("large", 200)):
        write_recording(folder / f"{name}.nc", n_units=n_units)
    chain = pipeline("quality")
    told = describe.expected(chain, str(folder), chain.settings(), workers=2)
    assert (told["recordings"], told["largest"]) == (2, "large")
    assert told["estimate"]["shape"]["rows"] == 200
    assert told["all_memory_mb"] == pytest.approx(2 * told["estimate"]["memory_mb"], abs=2)
    said = command("describe", "quality", folder).stdout
    assert "200 rows × 50 samples" in said
    assert "within a factor of 3" in said
