from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from moltbot_gw.config.include import MAX_INCLUDED_FILES, read_document

from .support import fail, load, write


def resolve(folder: Path, content: Any) -> Any:
    document = read_document(write(folder, content))
    assert document is not None
    return document.tree


def refusal(folder: Path, content: Any) -> str:
    [issue] = fail(folder, content).issues
    return issue.message


def test_lone_include_is_replaced_by_any_content(tmp_path: Path) -> None:
    write(tmp_path, "[1, 2]", "list.json5")
    assert resolve(tmp_path, {"a": {"$include": "list.json5"}}) == {"a": [1, 2]}


def test_siblings_are_merged_over_the_content(tmp_path: Path) -> None:
    write(tmp_path, "{a: {x: 1, y: 1}, l: [1], s: 1}", "base.json5")
    tree = {"$include": "./base.json5", "a": {"y": 2}, "l": [2], "s": 2, "n": 2}
    merged = {"a": {"x": 1, "y": 2}, "l": [1, 2], "s": 2, "n": 2}
    assert resolve(tmp_path, tree) == merged


def test_list_of_includes_merges_from_left_to_right(tmp_path: Path) -> None:
    write(tmp_path, "{s: 1, l: [1], only: 1}", "a.json5")
    write(tmp_path, "{s: 2, l: [2]}", "b.json5")
    merged = {"s": 2, "l": [1, 2], "only": 1}
    assert resolve(tmp_path, {"$include": ["a.json5", "b.json5"]}) == merged


def test_names_are_relative_to_the_including_file(tmp_path: Path) -> None:
    write(tmp_path, '{"$include": "../b.json"}', "sub/a.json")
    write(tmp_path, '{"found": true}', "b.json")
    assert resolve(tmp_path, {"$include": "sub/a.json"}) == {"found": True}


def test_absolute_names_and_lists_of_objects_work(tmp_path: Path) -> None:
    path = write(tmp_path, "{id: 1}", "agent.json5")
    assert resolve(tmp_path, {"l": [{"$include": str(path)}]}) == {"l": [{"id": 1}]}


def test_one_file_may_be_included_twice(tmp_path: Path) -> None:
    write(tmp_path, "{x: 1}", "a.json5")
    include = {"$include": "a.json5"}
    assert resolve(tmp_path, {"p": include, "q": include}) == {
        "p": {"x": 1},
        "q": {"x": 1},
    }


def test_circle_is_refused_with_its_files(tmp_path: Path) -> None:
    write(tmp_path, '{"$include": "moltbot.json"}', "a.json")
    text = refusal(tmp_path, {"$include": "a.json"})
    names = [f"{tmp_path}/{name}" for name in ("moltbot.json", "a.json")]
    assert text == f"$include goes in a circle: {' -> '.join([*names, names[0]])}"


def test_circle_through_a_relative_main_path_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "circle" in refusal(Path(), {"$include": "moltbot.json"})


def chain(folder: Path, length: int) -> dict[str, str]:
    for index in range(1, length):
        write(folder, {"$include": f"{index + 1}.json"}, f"{index}.json")
    write(folder, {}, f"{length}.json")
    return {"$include": "1.json"}


def test_ten_levels_are_read_and_eleven_refused(tmp_path: Path) -> None:
    assert resolve(tmp_path, chain(tmp_path, 10)) == {}
    text = refusal(tmp_path, chain(tmp_path, 11))
    assert text == f"more than 10 levels of $include at {tmp_path}/11.json"


def test_number_of_includes_is_bounded(tmp_path: Path) -> None:
    write(tmp_path, {}, "a.json")
    names = ["a.json"] * MAX_INCLUDED_FILES
    assert resolve(tmp_path, {"$include": names}) == {}
    assert "files are included" in refusal(tmp_path, {"$include": [*names, "a.json"]})


@pytest.mark.parametrize(
    ("include", "message"),
    [
        (3, "$include takes a file name or a list, not number"),
        (None, "$include takes a file name or a list, not null"),
        ({}, "$include takes a file name or a list, not object"),
        ([["a"]], "a list in $include has file names, not list"),
        ([True], "a list in $include has file names, not boolean"),
    ],
)
def test_include_of_a_wrong_type_is_refused(
    tmp_path: Path, include: Any, message: str
) -> None:
    assert refusal(tmp_path, {"$include": include}) == message


def test_siblings_need_an_object(tmp_path: Path) -> None:
    write(tmp_path, "[]", "a.json")
    text = refusal(tmp_path, {"$include": "a.json", "b": 1})
    assert text == "keys beside $include need an included file that is an object"


def test_missing_file_is_refused_with_both_names(tmp_path: Path) -> None:
    error = fail(tmp_path, {"gateway": {"$include": "gone.json"}})
    [issue] = error.issues
    assert (issue.path, issue.file) == ("gateway", tmp_path / "gone.json")
    main = tmp_path / "moltbot.json"
    assert issue.message == f"the file does not exist (included by {main})"
    assert error.path == main


def test_syntax_error_names_the_included_file_and_line(tmp_path: Path) -> None:
    write(tmp_path, "{\n  a: }", "bad.json5")
    [issue] = fail(tmp_path, {"$include": "bad.json5"}).issues
    assert (issue.file, issue.line) == (tmp_path / "bad.json5", 2)
    assert issue.message.startswith("JSON5 syntax error at column 6 (included by")


def test_unknown_key_is_shown_in_the_file_that_has_it(tmp_path: Path) -> None:
    write(tmp_path, '{\n  "prot": 1\n}', "sub.json")
    [issue] = fail(tmp_path, {"gateway": {"$include": "sub.json"}}).issues
    assert (issue.file, issue.line) == (tmp_path / "sub.json", 2)


def test_line_is_left_out_when_the_key_stands_twice(tmp_path: Path) -> None:
    [issue] = fail(tmp_path, '{gateway: {prot: 1}, env: {prot: "x"}}').issues
    assert (issue.file, issue.line) == (tmp_path / "moltbot.json", None)
    assert str(issue).startswith(f"{tmp_path / 'moltbot.json'}: gateway.prot: ")


def test_file_is_left_out_when_two_files_have_the_key(tmp_path: Path) -> None:
    write(tmp_path, '{"prot": "x"}', "env.json")
    content = {"gateway": {"prot": 1}, "env": {"$include": "env.json"}}
    [issue] = fail(tmp_path, content).issues
    assert (issue.file, issue.line) == (None, None)


def test_example_with_two_includes_loads(tmp_path: Path) -> None:
    write(tmp_path, "{ gateway: { mode: 'local', port: 1 } }", "base.json5")
    write(tmp_path, "{ gateway: { auth: { token: 't' } } }", "secrets.json5")
    text = '{ $include: ["./base.json5", "./secrets.json5"], gateway: { port: 19000 } }'
    gateway = load(tmp_path, text).config.gateway
    assert (gateway.port, gateway.mode) == (19000, "local")
    assert gateway.auth.token is not None


def test_strange_file_name_stays_on_its_line(tmp_path: Path) -> None:
    error = fail(tmp_path, {"$include": "a\r\nb"})
    [line] = str(error).splitlines()[1:]
    assert "a\\u000d\\u000ab: <root>: the file does not exist" in line


def test_unreadable_include_is_one_clear_line(tmp_path: Path) -> None:
    os.mkdir(tmp_path / "folder")
    text = refusal(tmp_path, {"$include": "folder"})
    assert text.startswith("cannot read the file: Is a directory (included by ")
