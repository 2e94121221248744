"""Reading params.yaml strictly: every fault is one line that names its key."""

import dataclasses
from typing import Annotated

import pytest
from pydantic import Field

from mggtalk.config import config, field_docs, load_yaml_mapping, plain_values, validate
from mggtalk.errors import ParamsError, RecipeError
from mggtalk.params import load_group, overridden, parse_override, read_group


@config
class InnerConfig:
    """A group within a group."""

    weight: float


@config
class ToyConfig:
    """What a stage might ask for."""

    steps: Annotated[int, Field(ge=1)]
    rate: float
    name: str
    inner: InnerConfig
    sizes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Check two keys against each other."""
        if self.rate > self.steps:
            raise ValueError(f"rate: expected at most steps ({self.steps}), got {self.rate}")


@config
class InnerDefaults:
    """Defaults within a group."""

    weight: float = Field(0.5, ge=0)
    """How heavy."""
    other: float = 1.0


@config
class DefaultsConfig:
    """A group of which nothing need be stated."""

    steps: int = Field(7, ge=1)
    """How many."""
    inner: InnerDefaults = InnerDefaults()
    """More of them."""


GOOD = "toy:\n  steps: 3\n  rate: 1.5\n  name: x\n  inner: {weight: 2}\n"


@pytest.fixture
def params(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(GOOD)
    return path


def fault(path, text=None, group="toy"):
    """The message for `text` in the place of the good one."""
    if text is not None:
        path.write_text(text)
    with pytest.raises(ParamsError) as caught:
        load_group(path, group, ToyConfig)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_a_group_becomes_its_config(params):
    assert load_group(params, "toy", ToyConfig) == ToyConfig(steps=3, rate=1.5, name="x", inner=InnerConfig(weight=2.0))


def test_lists_become_tuples_and_whole_numbers_floats(params):
    params.write_text(GOOD.replace("1.5", "1") + "  sizes: [4, 5]\n")
    loaded = load_group(params, "toy", ToyConfig)
    assert loaded.sizes == (4, 5)
    assert (loaded.rate, type(loaded.rate)) == (1.0, float)


def test_a_config_cannot_be_changed(params):
    loaded = load_group(params, "toy", ToyConfig)
    with pytest.raises(dataclasses.FrozenInstanceError):
        loaded.steps = 4  # type: ignore[misc]
    assert dataclasses.replace(loaded, steps=4).steps == 4


def test_an_unknown_key_is_named(params):
    assert "toy: unknown key 'stesp'" in fault(params, GOOD + "  stesp: 3\n")


def test_an_unknown_key_in_an_inner_group_is_named(params):
    assert "toy: unknown key 'inner.wieght'" in fault(params, GOOD.replace("weight: 2", "weight: 2, wieght: 2"))


def test_a_missing_key_is_named(params):
    assert "toy: missing key 'rate'" in fault(params, GOOD.replace("  rate: 1.5\n", ""))


def test_a_missing_key_of_an_inner_group_is_named(params):
    assert "toy: missing key 'inner.weight'" in fault(params, GOOD.replace("{weight: 2}", "{}"))


@pytest.mark.parametrize(
    ("good", "bad", "key", "got"),
    [
        ("steps: 3", "steps: '3'", "toy.steps", "'3'"),
        ("steps: 3", "steps: 3.5", "toy.steps", "3.5"),
        ("steps: 3", "steps: true", "toy.steps", "True"),
        ("steps: 3", "steps:", "toy.steps", "None"),
        ("rate: 1.5", "rate: fast", "toy.rate", "'fast'"),
        ("name: x", "name: 7", "toy.name", "7"),
        ("name: x", "name: 2020-01-01\n  sizes: no", "toy.sizes", "False"),
        ("{weight: 2}", "{weight: heavy}", "toy.inner.weight", "'heavy'"),
        ("{weight: 2}", "5", "toy.inner", "5"),
    ],
)
def test_a_wrong_type_is_named_with_what_was_got(params, good, bad, key, got):
    message = fault(params, GOOD.replace(good, bad))
    assert f"{key}: " in message
    assert message.endswith(f"got {got}")


def test_a_value_out_of_range_is_named_with_what_was_expected(params):
    message = fault(params, GOOD.replace("steps: 3", "steps: 0"))
    assert "toy.steps: Input should be greater than or equal to 1, got 0" in message


def test_keys_that_do_not_fit_each_other_are_named(params):
    assert "rate: expected at most steps (3), got 9" in fault(params, GOOD.replace("1.5", "9"))


def test_every_fault_is_in_the_one_line(params):
    message = fault(params, GOOD.replace("steps: 3", "stesp: 3").replace("name: x", "name: 7"))
    assert "unknown key 'stesp'" in message
    assert "missing key 'steps'" in message
    assert "toy.name: " in message


def test_a_missing_group_takes_its_defaults_and_names_the_keys_that_have_none(params):
    params.write_text("shards: {}\ntrack: {}\n")
    assert load_group(params, "defaults", DefaultsConfig) == DefaultsConfig(steps=7, inner=InnerDefaults(weight=0.5))
    message = fault(params, group="train")
    for key in ("steps", "rate", "name", "inner"):
        assert f"train: missing key '{key}'" in message


def test_a_missing_key_takes_its_default_at_every_depth(params):
    params.write_text("defaults: {inner: {other: 2}}\n")
    loaded = load_group(params, "defaults", DefaultsConfig)
    assert loaded == DefaultsConfig(steps=7, inner=InnerDefaults(weight=0.5, other=2.0))


def test_content_that_has_to_be_complete_names_the_keys_that_it_leaves_out():
    assert validate({"steps": 1, "inner": {"weight": 1, "other": 2}}, DefaultsConfig, "x", complete=True).steps == 1
    with pytest.raises(ParamsError, match=r"^x: missing key 'steps'; x: missing key 'inner\.other'$"):
        validate({"inner": {"weight": 1}}, DefaultsConfig, "x", complete=True)


def test_the_line_below_a_field_is_its_meaning():
    assert field_docs(DefaultsConfig) == {
        "steps": "How many.",
        "inner": "More of them.",
        "inner.weight": "How heavy.",
        "inner.other": "",
    }
    assert plain_values(DefaultsConfig()) == {"steps": 7, "inner": {"weight": 0.5, "other": 1.0}}


def test_an_unknown_group_is_named(params):
    assert "unknown key 'trian'" in fault(params, GOOD + "trian: {}\n")


def test_a_key_that_stands_twice_is_named(params):
    assert "key 'steps' stands twice" in fault(params, "toy:\n  steps: 3\n  steps: 4\n")


def test_keys_may_be_merged_and_overridden(tmp_path):
    path = tmp_path / "merged.yaml"
    path.write_text("entries:\n  - &first {a: 1, b: 2}\n  - {<<: *first, b: 3}\n  - {<<: *first, b: 4}\n")
    merged = [{"a": 1, "b": 2}, {"a": 1, "b": 3}, {"a": 1, "b": 4}]
    assert load_yaml_mapping(path, ParamsError) == {"entries": merged}


def test_an_anchor_that_holds_itself_is_a_fault(params):
    assert "no plain values" in fault(params, "toy: &toy\n  inner: *toy\n")


@pytest.mark.parametrize("value", [".nan", ".inf"])
def test_a_number_that_is_none_is_a_fault(params, value):
    assert "toy.rate" in fault(params, GOOD.replace("rate: 1.5", f"rate: {value}"))


def test_an_empty_group_is_a_fault(params):
    assert "toy: " in fault(params, "toy:\n")


def test_a_missing_file_is_named(tmp_path):
    assert "nowhere.yaml: no such file" in fault(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("toy: [", "cannot be read as YAML"),
        ("toy: !!python/object:os.system {}", "cannot be read as YAML"),
        ("- toy", "expected a mapping of keys, got list"),
        ("", "expected a mapping of keys, got NoneType"),
    ],
)
def test_a_file_that_is_no_mapping_is_a_fault(params, text, expected):
    assert expected in fault(params, text)


def test_a_folder_and_bytes_that_are_no_text_are_faults(params, tmp_path):
    assert "cannot be read as YAML" in fault(tmp_path)
    params.write_bytes(b"\xff\xfe\x00\xd8")
    assert "cannot be read as YAML" in fault(params)


def test_other_files_raise_the_error_of_their_owner(tmp_path):
    with pytest.raises(RecipeError, match=r"recipe\.yaml: no such file"):
        load_yaml_mapping(tmp_path / "recipe.yaml", RecipeError)
    with pytest.raises(RecipeError, match=r"recipe\.yaml: missing key 'weight'"):
        validate({}, InnerConfig, "recipe.yaml", RecipeError)


def test_keys_that_are_no_text_are_named(params):
    assert "unknown key '2020-01-01'" in fault(params, GOOD + "  2020-01-01: 3\n")
    assert "unknown key '7'" in fault(params, GOOD + "  7: 3\n")


def test_overrides_replace_values_and_leave_the_original_alone():
    content = {"toy": {"steps": 3, "rate": 1.5, "name": "x", "inner": {"weight": 2.0}}}
    changed = overridden(content, dict(map(parse_override, ["toy.steps=9", "toy.inner.weight=0.5", "toy.name='7'"])))
    loaded = read_group(changed, "toy", ToyConfig, "params")
    assert (loaded.steps, loaded.inner.weight, loaded.name) == (9, 0.5, "7")
    assert content["toy"]["steps"] == 3
    assert content["toy"]["inner"] == {"weight": 2.0}


def test_an_override_of_what_the_class_does_not_know_is_named():
    content = {"toy": {"steps": 3, "rate": 1.5, "name": "x", "inner": {"weight": 2.0}}}
    with pytest.raises(ParamsError, match=r"params: toy: unknown key 'inner\.wait'"):
        read_group(overridden(content, {"toy.inner.wait": 1}), "toy", ToyConfig, "params")
    with pytest.raises(ParamsError, match=r"override 'toy\.steps\.deep': no group 'toy\.steps' in the params"):
        overridden(content, {"toy.steps.deep": 1})
    with pytest.raises(ParamsError, match=r"override 'game\.steps': no group 'game' in the params"):
        overridden(content, {"game.steps": 1})


@pytest.mark.parametrize("text", ["toy.steps", "=3", "toy..steps=3", "toy.steps=[1", "toy.steps={a: 1, a: 2}"])
def test_what_is_no_override_is_refused(text):
    with pytest.raises(ParamsError, match="override"):
        parse_override(text)
