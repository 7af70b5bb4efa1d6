"""Settings are read strictly, and what is wrong is named with its place and the nearest known name."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

import pytest
from neurotools.pipelines import settings as reading
from neurotools.pipelines import yaml_lines

from neurotools.errors import FileError, SettingsError


@dataclass(frozen=True, kw_only=True)
class Model:
    rank: int
    layout: Literal["pair", "symcp"] = "pair"
    tol: float = 1e-6
    seed: int = 0

    def __post_init__(self):
        if self.rank < 1:
            raise SettingsError("rank must be at least 1", found=self.rank)


@dataclass(frozen=True, kw_only=True)
class Other:
    k: int = 2
    seed: int = 1


@dataclass(frozen=True, kw_only=True)
class Settings:
    smooth_s: float | None = None
    ranks: tuple[int, ...] | None = None
    band: tuple[float, float] | None = None
    name: str = "a"
    model: Model = Model(rank=8, tol=1e-4)
    partner: Model | Other = Other()


@pytest.fixture
def gather(tmp_path):
    def read(text: str = "", *overrides: str):
        file = tmp_path / "settings.yaml"
        file.write_text(text)
        return reading.gather(Settings, file, overrides)

    return read


def test_defaults_hold_where_nothing_is_said(gather):
    assert gather() == Settings()


def test_nested_values_keep_the_pipelines_own_defaults(gather):
    got = gather("model:\n  layout: symcp\nband: [8, 12]\nranks: [2, 4]\n")
    assert got == Settings(model=Model(rank=8, tol=1e-4, layout="symcp"), band=(8.0, 12.0), ranks=(2, 4))
    assert isinstance(got.band[0], float)


def test_another_type_of_model_starts_from_its_own_defaults(gather):
    assert gather("partner: {type: Model, rank: 3}").partner == Model(rank=3)
    with pytest.raises(SettingsError, match=r"partner\.type must be one of 'Model', 'Other'; got 'Modle'"):
        gather("partner: {type: Modle}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model:\n  seed: true\n", "model.seed must be a whole number; got true"),
        ("model:\n  rank: '8'\n", "model.rank must be a whole number; got the text '8'"),
        ("model:\n  rank: 8.0\n", "model.rank must be a whole number; got 8.0"),
        ("model:\n  tol: small\n", "model.tol must be a number; got the text 'small'"),
        (
            "model:\n  layout: pairs\n",
            "model.layout must be one of pair, symcp; got the text 'pairs'. Did",
        ),
        ("model: 3\n", "model must hold settings of its own"),
        ("\nname: 12\n", "name must be text; got 12"),
        ("\nband: [8]\n", "band has too few entries; got [8]"),
        ("\nranks: [2, 2.5]\n", "ranks.1 must be a whole number; got 2.5"),
        ("model:\n  rank: 0\n", "rank must be at least 1"),
    ],
)
def test_a_wrong_value_is_refused_with_its_line(gather, text, said):
    with pytest.raises(SettingsError) as caught:
        gather(text)
    assert said in caught.value.problem
    assert caught.value.where == ("line 1" if text.startswith("model: 3") else "line 2")
    assert caught.value.path.endswith("settings.yaml")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("smoth_s: 1\n", "smooth_s"),
        ("model: {rnk: 3}\n", "model.rank"),
        ("rnak: 3\n", "model.rank"),
        ("rank: 3\n", "model.rank"),
    ],
)
def test_an_unknown_key_gets_its_line_and_a_hint(gather, text, meant):
    with pytest.raises(SettingsError, match=f"there is no setting .* Did you mean '{meant}'") as caught:
        gather(text)
    assert caught.value.where == "line 1"
    assert caught.value.code == "NT-SET-001"


def test_all_faults_are_named_at_once_in_order_of_lines(gather):
    with pytest.raises(SettingsError) as caught:
        gather("name: 1\nmodel:\n  seed: true\n  tl: 1\n")
    places = [line.split(":")[0].strip() for line in caught.value.problem.splitlines()[1:]]
    assert caught.value.problem.startswith("3 settings are wrong")
    assert places == ["line 1", "line 3", "line 4"]


def test_overrides_win_and_short_names_work_where_they_are_clear(gather):
    got = gather("model: {rank: 4}", "rank=6", "model.tol=1e-9", "ranks=[2,3]", "smooth_s=2")
    assert got.model == Model(rank=6, tol=1e-9)
    assert got.ranks == (2, 3)
    assert got.smooth_s == 2.0


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("seed=1", r"several settings are named 'seed'"),
        ("rnak=1", r"no setting 'rnak'. Did you mean 'model.rank'"),
        ("rank", r"--set takes key=value"),
        ("rank=six", r"model.rank must be a whole number; got the text 'six'"),
        ("rank=[1", r"the value is not YAML"),
    ],
)
def test_a_wrong_override_says_so(gather, override, said):
    with pytest.raises(SettingsError, match=said):
        gather("", override)


def test_yaml_guesses_nothing():
    meant = {"1e-6": 1e-6, "12:30": "12:30", "010": "010", "no": "no", "2026-01-02": "2026-01-02",
             "-.5": -0.5, "1.": 1.0, "~": None, "false": False, "7": 7, "-.inf": float("-inf"), "1_0": "1_0",
             "[1, a]": [1, "a"]}  # fmt: skip
    for text, value in meant.items():
        got = yaml_lines.value(text)
        assert (type(got), got) == (type(value), value), text


@pytest.mark.parametrize(
    ("text", "said"),
    [("a: 1\na: 2\n", "stands twice"), ("a: [1\n", "is not YAML"), ("- 1\n", "'key: value' lines"),
     ("1: 2\n", "is not text"), ("a: !!python/object/apply:os.system [x]\n", "is not YAML")],
)  # fmt: skip
def test_a_file_that_is_not_settings_is_refused(gather, text, said):
    with pytest.raises(SettingsError, match=said):
        gather(text)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileError, match="no such settings file") as caught:
        reading.gather(Settings, tmp_path / "absent.yaml")
    assert caught.value.code == "NT-FILE-001"


def test_yaml_written_is_read_back_to_the_same_settings(gather):
    made = Settings(smooth_s=2 / 30, ranks=(1, 2), model=Model(rank=2, tol=1e-12), partner=Model(rank=1))
    assert gather(reading.to_yaml(made)) == made


def test_seeds_come_from_one_root_and_the_name_alone():
    first, used = reading.seeded(Settings(), 3, "anna")
    again, _ = reading.seeded(Settings(), 3, "anna")
    other, _ = reading.seeded(Settings(), 3, "berta")
    assert first == again
    assert used == {"model.seed": first.model.seed, "partner.seed": first.partner.seed}
    assert len({first.model.seed, first.partner.seed, other.model.seed, other.partner.seed}) == 4
    kept, used = reading.seeded(Settings(), None, "anna")
    assert kept == Settings()
    assert used == {"model.seed": 0, "partner.seed": 1}


def test_the_schema_accepts_what_is_accepted_and_names_every_setting():
    schema = reading.json_schema(Settings)
    assert set(schema["properties"]) == {"smooth_s", "ranks", "band", "name", "model", "partner"}
    assert schema["additionalProperties"] is False
    assert schema["$defs"]["Model"]["properties"]["layout"]["enum"] == ["pair", "symcp"]
    json.dumps(schema)
