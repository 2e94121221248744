import ast
import math
import tempfile
import textwrap
from dataclasses import replace
from pathlib import Path

import grimp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mggtalk.fingerprint import PROJECT_PACKAGES, PROJECT_ROOT, code_digest, content_key, data_files, import_closure
from mggtalk.records import Rejected, RejectReason, Split

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
    closure = import_closure("mggtalk.stages.track.stage")
    assert {"mggtalk", "mggtalk.stages", "mggtalk.geometry.head.head_pose", "mggtalk.errors"} <= closure
    assert not any(module.startswith(("mggtalk.runtime", "pipelines")) for module in closure)
    with pytest.raises(ValueError, match="no such module"):
        import_closure("mggtalk.nothing")


def test_the_closure_is_the_one_that_import_linter_sees():
    graph = grimp.build_graph(*PROJECT_PACKAGES, cache_dir=None, exclude_type_checking_imports=True)
    modules = {"pipelines.evaluate", *graph.find_upstream_modules("pipelines.evaluate")}
    parents = {name.rsplit(".", depth)[0] for name in modules for depth in range(1, name.count(".") + 1)}
    assert import_closure("pipelines.evaluate") == modules | parents


def test_every_data_file_of_the_project_counts_for_a_module():
    there = {
        path
        for package in PROJECT_PACKAGES
        for path in (PROJECT_ROOT / package).rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc"}
    }
    sources = (path for package in PROJECT_PACKAGES for path in (PROJECT_ROOT / package).rglob("*.py"))
    modules = (".".join(path.relative_to(PROJECT_ROOT).with_suffix("").parts) for path in sources)
    assert {file for module in modules for file in data_files(module.removesuffix(".__init__"))} == there


def test_packages_only_import_and_name_things_so_the_modules_below_them_need_not_count_them():
    for package in PROJECT_PACKAGES:
        for path in (PROJECT_ROOT / package).rglob("__init__.py"):
            statements = ast.parse(path.read_text()).body
            allowed = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.FunctionDef, ast.If, ast.Expr)
            assert all(isinstance(statement, allowed) for statement in statements), path
            calls = [node for node in statements if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)]
            allowed_calls = ["os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')"]  # changes speed, no result
            assert [ast.unparse(call) for call in calls] == (allowed_calls if path.parent.name == "mggtalk" else []), (
                path
            )


PROJECT = {
    "mggtalk/__init__.py": "",
    "mggtalk/stage.py": """
        import numpy as np
        from mggtalk.shapes import area, corner
        from mggtalk import units

        def stage(size: float = 2.0) -> float:
            return area(size, 3.0) * units.CM + corner()
        """,
    "mggtalk/shapes.py": """
        from pathlib import Path

        def area(width: float, height: float) -> float:
            return width * height

        def corner() -> int:
            return int(Path(__file__).with_name("corners.json").read_text())
        """,
    "mggtalk/corners.json": "4",
    "mggtalk/other.json": "5",
    "mggtalk/units.py": "CM = 0.01",
    "mggtalk/circles.py": "def area(width: float, height: float) -> float:\n    return 3 * width * height",
    "mggtalk/unrelated.py": "x = 1",
}


def _digest(folder: Path, files: dict[str, str], module: str = "mggtalk.stage") -> str:
    root = Path(tempfile.mkdtemp(dir=folder))
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return code_digest(module, root)


def _edited(name: str, old: str, new: str) -> dict[str, str]:
    assert old in PROJECT[name]
    return {**PROJECT, name: PROJECT[name].replace(old, new)}


@pytest.mark.parametrize(
    "files",
    [
        _edited("mggtalk/shapes.py", "def area", "# A comment.\n\n        def area"),
        _edited("mggtalk/shapes.py", "    return width", "    '''Say what it does.'''\n            return width"),
        _edited("mggtalk/stage.py", "return area(size, 3.0)", "return area(\n                size, 3.0\n            )"),
        _edited("mggtalk/stage.py", "area, corner", "corner, area"),
        _edited(
            "mggtalk/stage.py",
            "import numpy as np\n",
            "from typing import TYPE_CHECKING\n"
            "        if TYPE_CHECKING:\n            from mggtalk.unrelated import x\n        import numpy as np\n",
        ),
        _edited("mggtalk/unrelated.py", "1", "2"),
        _edited("mggtalk/other.json", "5", "6"),
    ],
    ids=["comment", "docstring", "format", "order of imports", "types", "unrelated module", "unrelated data"],
)
def test_what_changes_no_result_leaves_the_digest(files, tmp_path):
    if "TYPE_CHECKING" in files["mggtalk/stage.py"]:  # the import from typing itself is a change of code
        with_types = _edited(
            "mggtalk/stage.py", "import numpy", "from typing import TYPE_CHECKING\n        import numpy"
        )
        assert _digest(tmp_path, files) == _digest(tmp_path, with_types)
    else:
        assert _digest(tmp_path, files) == _digest(tmp_path, PROJECT)


def test_a_move_leaves_the_digest(tmp_path):
    moved = {
        "mggtalk/__init__.py": "",
        "mggtalk/stages/__init__.py": '"""Stages."""',
        "mggtalk/stages/one/__init__.py": "",
        "mggtalk/stages/one/stage.py": PROJECT["mggtalk/stage.py"]
        .replace("mggtalk.shapes", "mggtalk.geometry.plane")
        .replace("from mggtalk import units", "from mggtalk.geometry import units"),
        "mggtalk/geometry/__init__.py": "",
        "mggtalk/geometry/plane.py": PROJECT["mggtalk/shapes.py"],
        "mggtalk/geometry/corners.json": PROJECT["mggtalk/corners.json"],
        "mggtalk/geometry/units.py": PROJECT["mggtalk/units.py"],
    }
    assert _digest(tmp_path, moved, "mggtalk.stages.one.stage") == _digest(tmp_path, PROJECT)


@pytest.mark.parametrize(
    "files",
    [
        _edited("mggtalk/stage.py", "2.0", "2.5"),
        _edited("mggtalk/stage.py", "3.0", "3"),
        _edited("mggtalk/stage.py", "* units", "/ units"),
        _edited("mggtalk/stage.py", "size: float", "size: int"),
        _edited("mggtalk/stage.py", "import numpy as np", "import scipy as np"),
        _edited(
            "mggtalk/stage.py",
            "from mggtalk.shapes import area, corner",
            "from mggtalk.circles import area\n        from mggtalk.shapes import corner",
        ),
        _edited("mggtalk/units.py", "0.01", "1"),
        _edited("mggtalk/shapes.py", "width * height", "height * width"),
        _edited("mggtalk/corners.json", "4", "4 "),
    ],
    ids=[
        "default",
        "type of a number",
        "operator",
        "annotation",
        "library",
        "module of a name",
        "constant of an import",
        "order of operands",
        "data",
    ],
)
def test_what_may_change_a_result_changes_the_digest(files, tmp_path):
    assert _digest(tmp_path, files) != _digest(tmp_path, PROJECT)


def test_two_functions_that_change_places_change_the_digest(tmp_path):
    both = "from mggtalk.shapes import area as a\nfrom mggtalk.circles import area as b\nx = a(1, 1)\n"
    swapped = "from mggtalk.circles import area as a\nfrom mggtalk.shapes import area as b\nx = a(1, 1)\n"
    one, other = ({**PROJECT, "mggtalk/stage.py": text} for text in (both, swapped))
    assert _digest(tmp_path, one) != _digest(tmp_path, other)


def test_modules_that_import_each_other_have_digests(tmp_path):
    mutual = {
        **PROJECT,
        "mggtalk/units.py": "CM = 0.01\ndef f() -> None:\n    from mggtalk import stage\n    stage.stage()",
    }
    changed = {**mutual, "mggtalk/stage.py": PROJECT["mggtalk/stage.py"].replace("2.0", "4.0")}
    assert _digest(tmp_path, mutual, "mggtalk.units") != _digest(tmp_path, changed, "mggtalk.units")


def test_the_digest_is_the_same_on_every_version_of_python(tmp_path):
    code = (
        'x = None\ny = f"{x!r:>{1 + 1}} {{}} {x}" "tail"\n\n'
        'def f(x, *, y=(1, 2.5, b"a")):\n    return {**x, 1: ...}[y:None]'
    )
    digest = _digest(tmp_path, {"mggtalk/__init__.py": "", "mggtalk/stage.py": code})
    assert digest == "88d5969ad301800cee1917bbdd3a5ff0d5f1f3fa8a3faf961709c12059163fb7"
