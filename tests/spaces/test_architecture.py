"""An architecture is a plain value: JSON both ways, a hash, and edits that show."""

import json

import pytest

from spaces.architecture import Architecture

ARCHITECTURE = Architecture("net", {"b/bits": (2, 8), "a/channels": (1, 0, 1)}, {"head": "the network's output"})


def test_json_and_back():
    found = Architecture.from_json(ARCHITECTURE.to_json())
    assert found == ARCHITECTURE
    assert found.left_alone == ARCHITECTURE.left_alone
    assert found.to_json() == ARCHITECTURE.to_json()


def test_the_hash_is_of_the_picks_and_not_of_their_order():
    other = Architecture("net", dict(reversed(ARCHITECTURE.picks.items())))
    assert other.hash == ARCHITECTURE.hash and other == ARCHITECTURE


@pytest.mark.parametrize(
    "space, picks",
    [
        ("other", ARCHITECTURE.picks),
        ("net", {**ARCHITECTURE.picks, "a/channels": (1, 1, 1)}),
        ("net", {"a/channels": (1, 0, 1)}),
    ],
)
def test_another_architecture_has_another_hash(space, picks):
    assert Architecture(space, picks).hash != ARCHITECTURE.hash


def test_an_edited_file_is_refused():
    document = json.loads(ARCHITECTURE.to_json())
    document["picks"]["b/bits"][0] = 4
    with pytest.raises(ValueError, match=rf"hash {ARCHITECTURE.hash} does not fit .*edited.*Remove the key 'hash'"):
        Architecture.from_json(json.dumps(document))


def test_an_edit_is_accepted_where_it_was_meant():
    document = json.loads(ARCHITECTURE.to_json())
    document["picks"]["b/bits"][0] = 4
    del document["hash"]
    assert Architecture.from_json(json.dumps(document)).picks["b/bits"] == (4, 8)


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "3", "{}", '{"space": "net"}', '{"space": "net", "picks": [1]}'),
        *('{"space": "n", "picks": {"a": 1}}', '{"space": "n", "picks": {"a": ["x"]}}'),
        ARCHITECTURE.to_json()[:-20],
    ],
)
def test_what_is_no_architecture_is_refused(text):
    with pytest.raises(ValueError, match=r"architecture: not the JSON of one .*keys are space, picks, hash"):
        Architecture.from_json(text)


def test_what_was_left_alone_is_names_and_reasons():
    document = json.loads(ARCHITECTURE.to_json()) | {"left_alone": 3}
    with pytest.raises(ValueError, match="architecture: not the JSON of one"):
        Architecture.from_json(json.dumps(document))
