"""A body of bad items makes one error, not one each: ten million took a service two minutes and 14 GB."""

from typing import Any

import pytest
from pydantic import ValidationError

from segue.serving.bodies import Body
from segue.serving.decoder_bodies import DecodeBody
from segue.serving.encoder_bodies import EmbeddingsBody, EncodeBody
from segue.serving.predictor_bodies import ChatBody, InferBody, PredictBody

BAD: list[Any] = [""] * 200


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (EncodeBody, {"texts": BAD}),
        (EmbeddingsBody, {"model": "minilm", "input": BAD}),
        (DecodeBody, {"vectors": BAD}),
        (DecodeBody, {"vectors": [BAD] * 3}),
        (DecodeBody, {"vectors": [[1.0]], "exclude_vectors": [BAD] * 3}),
        (DecodeBody, {"vectors": [[1.0]], "exclude_vectors": BAD}),
        (DecodeBody, {"vectors": [[1.0]], "exclude_rows": BAD}),
        (InferBody, {"context_vectors": [BAD] * 3}),
        (InferBody, {"context_vectors": [[BAD] * 3] * 3}),
        (InferBody, {"context_vectors": [[[1.0]], *BAD]}),
        (InferBody, {"context_vectors": [[1.0], *BAD]}),
        (PredictBody, {"texts": BAD}),
        (ChatBody, {"messages": BAD}),
    ],
)
def test_the_first_bad_item_is_the_only_error(body: type[Body], value: dict[str, Any]):
    with pytest.raises(ValidationError) as refused:
        body.model_validate(value)
    assert refused.value.error_count() == 1
