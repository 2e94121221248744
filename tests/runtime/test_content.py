import importlib
import math
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mggtalk
from mggtalk.records import Rejected, RejectReason, Split
from mggtalk.runtime.content import code_digest, content_key, import_closure

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), PLAIN))
def test_the_key_does_not_depend_on_the_order_of_mapping_keys(mapping):
    backwards = dict(reversed(mapping.items()))
    assert content_key(value=mapping) == content_key(value=backwards)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"fps": 25.0}, {"fps": 25.5}),
        ({"a": 1, "b": 2}, {"a": 2, "b": 1}),
        ({"names": ["a", "bc"]}, {"names": ["ab", "c"]}),
        ({"end_s": math.inf}, {"end_s": None}),
        ({"value": "1"}, {"value": 1}),
        ({"record": Rejected("a", RejectReason.NO_FACE)}, {"record": Rejected("a", RejectReason.TOO_SHORT)}),
    ],
)
def test_different_parts_have_different_keys(one, other):
    assert content_key(**one) != content_key(**other)


def test_the_key_is_the_same_on_every_machine_and_in_every_run():
    rejected = Rejected("clip", RejectReason.NO_FACE, "détail")
    key = content_key(record=rejected, split=Split.TRAIN, path=Path("a") / "b")
    assert key == "eb4af64e903be5ab91f0b10e6c4400f3547f88347dd02f6256de524483cb41c5"
    assert content_key(path=Path("a/b"), split=Split.TRAIN, record=replace(rejected)) == key


def test_what_has_no_canonical_form_is_refused():
    with pytest.raises(TypeError, match="set has no canonical form"):
        content_key(values={1, 2})


def test_the_closure_holds_what_is_imported_and_nothing_above_it():
    closure = import_closure("mggtalk.stages.track")
    assert {"mggtalk", "mggtalk.stages", "mggtalk.geometry.head_pose", "mggtalk.errors"} <= closure
    assert not any(module.startswith(("mggtalk.runtime", "pipelines")) for module in closure)
    with pytest.raises(ValueError, match="no such module"):
        import_closure("mggtalk.nothing")


@pytest.fixture
def project_copy(tmp_path, monkeypatch):
    """A copy of the package's sources, from which digests are taken."""
    shutil.copytree(Path(mggtalk.__file__).parent, tmp_path / "mggtalk", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(mggtalk, "__file__", str(tmp_path / "mggtalk" / "__init__.py"))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "mggtalk")
    importlib.invalidate_caches()
    return tmp_path / "mggtalk"


def test_the_digest_follows_the_code_and_data_that_a_module_runs_and_no_other(project_copy):
    def digest() -> str:
        code_digest.cache_clear()
        return code_digest("mggtalk.stages.track")

    before = digest()
    assert before == digest()
    for unrelated in ("rendering/reference.py", "stages/shards.py"):
        (project_copy / unrelated).write_text("changed = True\n")
        assert digest() == before, unrelated
    for related in ("geometry/head_pose.py", "geometry/mediapipe_478.json"):
        path = project_copy / related
        path.write_text(path.read_text() + "\n")
        after = digest()
        assert after != before, related
        before = after
