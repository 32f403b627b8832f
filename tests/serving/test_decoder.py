"""The decoder over a real socket: what it finds against a plain search, and how it refuses."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from asking import ask

from segue.serving.decoder_app import decoder_app
from segue.serving.decoding import StoreDecoder
from segue.serving.limits import Settings
from segue.vectors import Space, Store, write_store

DIM = 16
LENGTHS = (40, 25, 60)
IDS = ("letters", "notes/on <b>rivers</b>", "ünï#?&")


def build(path: Path, with_text: bool = True) -> Store:
    rng = np.random.default_rng(0)
    n = sum(LENGTHS)
    vectors_ND = rng.standard_normal((n, DIM)).astype(np.float32)
    vectors_ND[30] = vectors_ND[3]
    vectors_ND /= np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    texts = [f"chunk {row} <script>alert({row})</script>" if with_text else None for row in range(n)]
    return write_store(
        path,
        vectors_ND=vectors_ND,
        chunks=pa.table(
            {
                "document": np.repeat(np.arange(3), LENGTHS),
                "position": np.concatenate([np.arange(length) for length in LENGTHS]),
                "text": pa.array(texts, pa.string()),
                "section": pa.array([f"§{row % 4}" for row in range(n)]),
            }
        ),
        documents=pa.table(
            {
                "id": IDS,
                "title": ["Letters home", None, "Rivers, again"],
                "first_row": [0, 40, 65],
                "length": LENGTHS,
            }
        ),
        space=Space(encoder="test", dim=DIM),
        made_by="tests",
        source={"name": "made in a test"},
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return build(tmp_path_factory.mktemp("decoder") / "letters-store")


@pytest.fixture(scope="module")
def url(store: Store, serve) -> str:
    return serve(decoder_app(StoreDecoder.of(store), Settings()))


def nearest(store: Store, vector: Any, rows: Any, k: int) -> list[int]:
    """Rows by cosine, slowly."""
    cosines = np.asarray(store.vectors_ND, float) @ np.asarray(vector) / np.linalg.norm(vector)
    return sorted(rows, key=lambda row: (-round(cosines[row], 9), row))[:k]


def vectors(count: int, seed: int = 1) -> list[list[float]]:
    return np.random.default_rng(seed).standard_normal((count, DIM)).tolist()


def rows_of(answer: dict) -> list[list[int]]:
    return [[one["row"] for one in found] for found in answer["results"]]


def test_each_vector_gets_its_nearest_chunks(url: str, store: Store):
    asked = vectors(5)
    status, answer = ask(f"{url}/decode", {"vectors": asked, "k": 4, "steps": 7})
    assert status == 200 and answer["method"] == "nearest"
    assert rows_of(answer) == [nearest(store, vector, range(len(store)), 4) for vector in asked]
    best = answer["results"][2][0]
    row = best["row"]
    at = next(g for g in (0, 1, 2) if row < sum(LENGTHS[: g + 1]))
    assert best["document"] == IDS[at] and best["position"] == row - sum(LENGTHS[:at])
    assert best["text"] == f"chunk {row} <script>alert({row})</script>" and best["section"] == f"§{row % 4}"
    assert best["title"] == ["Letters home", None, "Rivers, again"][at]
    chunk_D = np.asarray(store.vectors_ND[row], float)
    assert best["cosine"] == pytest.approx(chunk_D @ asked[2] / np.linalg.norm(asked[2]), abs=1e-6)
    assert set(answer["milliseconds"]) == {"queue", "decode", "encode"}
    assert answer["store"]["name"] == "letters-store" and answer["store"]["with_text"] == sum(LENGTHS)


def test_masks_and_documents_limit_what_is_found(url: str, store: Store):
    asked = np.asarray(store.vectors_ND[3], float).tolist()
    whole = set(range(len(store)))

    def found(**more: Any) -> list[int]:
        status, answer = ask(f"{url}/decode", {"vectors": [asked], "k": 6, **more})
        assert status == 200, answer
        return rows_of(answer)[0]

    assert found()[:2] == [3, 30]
    assert found(exclude_rows=[30, 5]) == nearest(store, asked, whole - {30, 5}, 6)
    assert found(exclude_vectors=[[2 * x for x in asked]]) == nearest(store, asked, whole - {3, 30}, 6)
    assert found(document=IDS[1]) == nearest(store, asked, range(40, 65), 6)
    assert found(document=IDS[2], after_row=122) == nearest(store, asked, range(123, 125), 6)
    assert found(document=IDS[2], after_row=124) == []


def test_many_at_once_are_answered_as_one_at_a_time(url: str):
    """Thirty requests meet in the queue with masks of their own; each gets its own answer, to the bit."""
    bodies = [
        {"vectors": vectors(1 + i % 3, seed=i), "k": 1 + i % 5, "exclude_rows": [i], "document": IDS[i % 3]}
        if i % 2
        else {"vectors": vectors(1 + i % 3, seed=i), "k": 1 + i % 5}
        for i in range(30)
    ]
    alone = [ask(f"{url}/decode", body)[1]["results"] for body in bodies]
    with ThreadPoolExecutor(30) as pool:
        together = list(pool.map(lambda body: ask(f"{url}/decode", body)[1]["results"], bodies))
    assert together == alone


def test_documents_are_listed_and_shown(url: str):
    _, listed = ask(f"{url}/documents")
    assert listed["total"] == 3
    assert [(one["id"], one["chunks"]) for one in listed["documents"]] == list(zip(IDS, LENGTHS, strict=True))
    _, found = ask(f"{url}/documents?query=RIVERS&limit=1&offset=1")
    assert found["total"] == 2 and [one["id"] for one in found["documents"]] == [IDS[2]]
    assert ask(f"{url}/documents?query=nothing")[1] == {"documents": [], "total": 0}
    status, shown = ask(f"{url}/documents/notes/on%20%3Cb%3Erivers%3C/b%3E?offset=23")
    assert status == 200 and shown["id"] == IDS[1] and shown["total"] == 25
    assert [one["row"] for one in shown["chunks"]] == [63, 64]
    assert shown["chunks"][0]["position"] == 23 and shown["chunks"][0]["section"] == "§3"
    assert ask(f"{url}/documents/%C3%BCn%C3%AF%23%3F%26")[1]["title"] == "Rivers, again"


def refusal(answered: tuple[int, Any]) -> tuple[int, str, str | None]:
    status, body = answered
    assert set(body) == {"error"} and "\n" not in body["error"]["message"]
    return status, body["error"]["code"], body["error"]["field"]


GOOD = [[1.0] * DIM]


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ({"vectors": [[1.0] * DIM, [1.0] * (DIM - 1)]}, (422, "wrong_width", "vectors[1]")),
        ({"vectors": GOOD, "exclude_vectors": [[1.0]]}, (422, "wrong_width", "exclude_vectors[0]")),
        ({"vectors": [[0.0] * DIM]}, (422, "zero_vector", "vectors[0]")),
        ({"vectors": []}, (422, "too_short", "vectors")),
        ({"vectors": [[1.0]] * 1025}, (422, "too_long", "vectors")),
        ({"vectors": GOOD, "k": 101}, (422, "less_than_equal", "k")),
        ({"vectors": GOOD, "k": 0}, (422, "greater_than_equal", "k")),
        ({"vectors": GOOD * 300, "k": 100}, (422, "too_many_results", "k")),
        ({"vectors": GOOD, "method": "guess"}, (422, "literal_error", "method")),
        ({"vectors": GOOD, "method": "vec2text"}, (422, "no_inverter", "method")),
        ({"vectors": GOOD, "document": "no such"}, (404, "unknown_document", "document")),
        ({"vectors": GOOD, "after_row": 3}, (422, "missing", "document")),
        ({"vectors": GOOD, "document": IDS[1], "after_row": 3}, (422, "unknown_row", "after_row")),
        ({"vectors": GOOD, "exclude_rows": [125]}, (422, "unknown_row", "exclude_rows")),
        ({"vectors": GOOD, "exclude_rows": [-1]}, (422, "greater_than_equal", "exclude_rows[0]")),
        ({"vectors": GOOD, "exclude_rows": [1 << 70]}, (422, "less_than_equal", "exclude_rows[0]")),
        ({"vectors": GOOD, "path": "/etc/passwd"}, (422, "extra_forbidden", None)),
        ({"vectors": [["1.0"] * DIM]}, (422, "float_type", "vectors[0][0]")),
    ],
)
def test_what_cannot_be_decoded_is_refused(url: str, body: Any, wanted: tuple[int, str, str | None]):
    assert refusal(ask(f"{url}/decode", body)) == wanted


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999"])
def test_numbers_that_are_none_are_refused(url: str, number: bytes):
    raw = b'{"vectors": [[' + b", ".join([number] + [b"1"] * (DIM - 1)) + b"]]}"
    assert ask(f"{url}/decode", raw=raw)[0] == 422


def test_the_largest_numbers_are_searched(url: str):
    """1.7e308 is a number: its square must not overflow on the way to a cosine."""
    status, answer = ask(f"{url}/decode", {"vectors": [[1.7e308] * DIM], "k": 3})
    assert status == 200 and rows_of(answer) == rows_of(ask(f"{url}/decode", {"vectors": GOOD, "k": 3})[1])


def test_documents_that_are_not_there(url: str):
    for path in ("/documents/nothing", "/documents/..%2F..%2Fetc%2Fpasswd", "/documents/letters/"):
        assert refusal(ask(f"{url}{path}"))[:2] == (404, "unknown_document")
    assert ask(f"{url}/documents?limit=0")[0] == 422
    assert ask(f"{url}/documents?offset=99999999999999999999")[0] == 422


def test_info_and_health(url: str):
    _, info = ask(f"{url}/info")
    assert info["methods"] == ["nearest"] and info["index"] == "exact" and info["inverter"] is None
    assert info["store"]["chunks"] == 125 and info["store"]["space"]["dim"] == DIM
    assert "gtr-t5-base" in info["notes"][0] and "ielabgroup" in info["notes"][0]
    assert ask(f"{url}/health")[1]["status"] == "ok"


def test_a_store_without_texts_names_rows(tmp_path: Path, serve):
    store = build(tmp_path / "silent", with_text=False)
    decoder = StoreDecoder.of(store)
    url = serve(decoder_app(decoder, Settings()))
    found = ask(f"{url}/decode", {"vectors": GOOD})[1]["results"][0][0]
    assert found["text"] is None and isinstance(found["row"], int) and found["document"] in IDS
    _, info = ask(f"{url}/info")
    assert info["store"]["with_text"] == 0
    assert "holds no text" in decoder.notes()[0] and decoder.notes()[0] in info["notes"]


def test_the_documented_examples_have_the_bodies_shape(url: str):
    """What /docs shows as an example must be accepted as it stands, the store's width aside."""
    _, document = ask(f"{url}/openapi.json")
    example = json.loads(json.dumps(document["components"]["schemas"]["DecodeBody"]["example"]))
    example["vectors"] = GOOD
    assert ask(f"{url}/decode", example)[0] == 200
