"""What a run leaves: its summary is read back as it was, and people can read it."""

import json

from search.deploy.export import write_summary


def test_a_list_of_plain_values_stands_in_one_line_and_nothing_is_changed(tmp_path):
    summary = {
        "names": ["a, b", "[\n1,\n2\n]", "{x}"],
        "confusion": [[3, 0], [1, 2]],
        "recall": [0.5, None],
        "points": [{"empty": [], "none": {}}],
    }
    write_summary(tmp_path, summary)
    text = (tmp_path / "summary.json").read_text()
    assert json.loads(text) == summary
    assert "\n  [ 3, 0 ],\n  [ 1, 2 ]\n" in text and '\n "recall": [ 0.5, null ],\n' in text
