"""A prediction as JSON: the same from the service and from the command line."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from segue.serving.decoding import Decoded
from segue.serving.prediction import Clock, Context, Step, Wish
from segue.serving.served import ServedModel

STAGES = ("chunk", "encode", "predict", "decode")


def passage_json(found: Decoded) -> dict[str, Any]:
    """A passage with its cosine to the vector that was searched for."""
    return {**asdict(found.passage), "cosine": found.cosine}


def step_json(step: Step, vectors: bool = False) -> dict[str, Any]:
    """One prediction; `vector` is None unless asked for."""
    truth = step.truth
    return {
        "predicted": passage_json(step.shown) if step.shown else None,
        "alternatives": [passage_json(one) for one in step.others],
        "copy": {
            "cosine_last": step.copy.cosine_last,
            "cosine_found": step.copy.cosine_found,
            "warning": step.copy.warning,
        },
        "truth": truth and {**asdict(truth), "passage": asdict(truth.passage)},
        "vector": step.prediction_D.tolist() if vectors else None,
    }


def context_json(context: Context) -> list[dict[str, Any]]:
    """What was read, oldest first: the text, and of a stored chunk its row."""
    rows: Sequence[int | None] = context.rows or [None] * len(context.texts)
    return [{"text": text, "row": row} for text, row in zip(context.texts, rows, strict=True)]


def prediction_json(
    served: ServedModel, context: Context, wish: Wish, steps: Sequence[Step], clock: Clock, vectors: bool = False
) -> dict[str, Any]:
    """All of it: what was read and how it was cut, every step, what was asked for, what to doubt, where time went."""
    told = [step_json(step, vectors) for step in steps]
    return {
        "model": served.name,
        "face": " + ".join(served.faces) if served.faces else None,
        "chunked": context.how,
        "context": context_json(context),
        "steps": told,
        "truth": told[0]["truth"],
        "asked": asdict(wish),
        "warnings": served.warnings(wish.steering),
        "milliseconds": clock.told(*STAGES),
    }


def chat_json(served: ServedModel, context: Context, wish: Wish, steps: Sequence[Step], clock: Clock) -> dict[str, Any]:
    """A reply: the first passage predicted and where it was found; of a continuation all of them in `steps`."""
    told = prediction_json(served, context, wish, steps, clock)
    first = told["steps"][0]
    reply = first["predicted"]
    place = ("row", "document", "title", "position", "section")
    return {
        "model": told["model"],
        "reply": reply,
        "alternatives": first["alternatives"],
        "copy": first["copy"],
        "found_in": reply and {key: reply[key] for key in place},
        "steps": told["steps"],
        **{key: told[key] for key in ("face", "chunked", "context", "asked", "warnings", "milliseconds")},
    }
