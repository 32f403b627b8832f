"""Profiles: what each gate asks, as data. The shipped ones are `profiles.yaml`; a user's own file has the same form.

A profile is read once, checked whole, and only then asked anything: a mistake in it is one line that names the field.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from segue.alignment import legacy
from segue.alignment.figures import RANKS
from segue.alignment.forwards import STEP, STEPS, WHOLE, asks_of
from segue.errors import InputError, nearest
from segue.models.controls import ATTAINABLE, UNATTAINABLE

GATES = ("A", "B", "C", "D", "E")
PARTS = ("VAL", "OOD")
FACETS = ("mean", "rank")
POOLS = ("future", "unseen", "document", "corpus")
ROLLOUTS = ("rollout", "rollout.snapped", "rollout.reencoded")
LEGACY = "legacy"
# What a condition may ask, and exactly one of them it must.
ASKS = ("at_least", "at_most", "equals", "above", "below_zero", "changes_at_most")
FIELDS = ("metric", "facet", "horizon", "missing", "keeps", *ASKS)

Profile = Mapping[str, Any]


@dataclass(frozen=True)
class Profiles:
    """Which profiles are judged, and whose verdict counts.

    rules   name → profile, in the order they are reported
    """

    chosen: str
    rules: Mapping[str, Profile]

    @property
    def needs_legacy(self) -> bool:
        """Whether a gate asks for a figure of the original harness: that costs as much as all other tests together."""
        return any(
            condition["metric"].startswith(f"{LEGACY}.")
            for profile in self.rules.values()
            for conditions in profile["gates"].values()
            for condition in conditions
        )


def shipped_profiles() -> dict[str, Profile]:
    """The profiles of `profiles.yaml` by name."""
    name = "profiles.yaml"
    return _checked(yaml.safe_load(files("segue.alignment").joinpath(name).read_text()), name)


def choose_profiles(named: str, *, with_legacy: bool = False) -> Profiles:
    """The profile of a name or of a YAML file, beside the shipped ones; `legacy` only where it is wanted.

    Raises InputError for an unknown name, with the nearest known one, and for a file that is not one whole profile.
    """
    shipped = shipped_profiles()
    rules = {name: profile for name, profile in shipped.items() if name != LEGACY or with_legacy or named == LEGACY}
    if named in shipped:
        return Profiles(named, rules)
    if Path(named).suffix in (".yaml", ".yml") or Path(named).is_file():
        own = read_profile(Path(named))
        taken = next((name for name in own if name in shipped), None)
        if taken:
            raise InputError(
                f"{named}: found the name {taken!r}, which is a shipped profile's. Give yours another name."
            )
        return Profiles(next(iter(own)), {**rules, **own})
    raise InputError(
        f"--profile: found {named!r}, a profile's name or a YAML file is wanted. {nearest(named, shipped)}"
    )


def read_profile(path: Path) -> dict[str, Profile]:
    """A user's profile, checked: {its name: {about, gates}}. Raises InputError, one line that names the field."""
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"--profile: {path}: no such file.") from None
    except OSError as error:
        raise InputError(f"--profile: {path}: cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not text in UTF-8. A profile is a YAML file.") from None
    except yaml.YAMLError as error:
        said = " ".join(str(error).split())
        raise InputError(f"{path}: is not YAML ({said}).") from None
    found = _checked(value, str(path))
    if len(found) != 1:
        raise InputError(f"{path}: found {len(found)} profiles ({', '.join(found)}), one a file is wanted.")
    return found


def known_metrics() -> list[str]:
    """Every metric that a condition may name, as its path in `5cat.json` below splits.VAL; offsets for C = 5."""
    changes = list(dict.fromkeys(ask.kind for ask in asks_of(2, 1) if ask.kind not in (WHOLE, STEP)))
    return [
        *("cos", "margin", "margin_last", "peak", "win_last", "direction", "par", "mse", "generalisation.cos"),
        *(f"retrieval.{pool}.{name}" for pool in POOLS for name in ("mrr", *RANKS)),
        *(f"offsets.{k}" for k in range(-4, 4)),
        *(f"{what}.{change}" for what in ("ablations", "ablations_mrr") for change in changes),
        *(f"{rollout}.{mean}" for rollout in ROLLOUTS for mean in ("mean", "mrr")),
        *(f"{r}.{what}.{j}" for r in ROLLOUTS for what in ("steps", "mrr_steps") for j in range(1, STEPS + 1)),
        *("contrastive.paper", "contrastive.code", "l2", "l2_raw"),
        *("ordering.kendall_tau", "ordering.perfect_match", "ordering.binary"),
        *(f"bins.{name}" for name in ("low", "normal", "high")),
        *legacy.METRICS,
    ]


def _wrong(where: str, found: object, wanted: str) -> InputError:
    return InputError(f"{where}: found {found!r}, {wanted}")


def _checked(value: object, file: str) -> dict[str, Profile]:
    """All profiles of a file, with thresholds spread over the parts. Raises InputError."""
    if not isinstance(value, dict) or not value:
        kind = "nothing" if value is None else f"a {type(value).__name__}"
        raise InputError(f"{file}: found {kind}, a profile is wanted: `name: {{about: …, gates: {{A: [...]}}}}`.")
    return {str(name): _profile(profile, f"{file}: {name}") for name, profile in value.items()}


def _profile(value: object, where: str) -> Profile:
    if not isinstance(value, dict):
        raise _wrong(where, value, "a mapping with `gates` (and `about`) is wanted.")
    _known(value, ("about", "gates"), where)
    about, gates = value.get("about", ""), value.get("gates")
    if not isinstance(about, str):
        raise _wrong(f"{where}.about", about, "one sentence is wanted.")
    if not isinstance(gates, dict) or not gates:
        raise _wrong(f"{where}.gates", gates, f"a list of conditions for some of {', '.join(GATES)} is wanted.")
    _known(gates, GATES, f"{where}.gates", "gate")
    checked: dict[str, list[dict[str, Any]]] = {}
    for gate, conditions in gates.items():
        here = f"{where}.gates.{gate}"
        if not isinstance(conditions, list) or not conditions:
            raise _wrong(here, conditions, "a list of conditions is wanted, as `- {metric: cos, above: attainable}`.")
        checked[gate] = [_condition(condition, f"{here}[{i}]") for i, condition in enumerate(conditions)]
    return {"about": about, "gates": checked}


def _condition(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(where, value, "a condition is wanted, as `{metric: cos, above: attainable}`.")
    _known(value, FIELDS, where)
    metric = value.get("metric")
    if not isinstance(metric, str) or (metric not in known_metrics() and not re.fullmatch(r"offsets\.-?\d+", metric)):
        raise _wrong(f"{where}.metric", metric, f"a metric of 5cat.json is wanted. {_near(metric, known_metrics())}")
    asked = [name for name in ASKS if name in value]
    if len(asked) != 1:
        raise _wrong(where, " and ".join(asked) or "no test", f"exactly one of {', '.join(ASKS)} is wanted.")
    _ask_fits(value, asked[0], where)
    condition = dict(value)
    if asked[0] in ("at_least", "at_most"):
        condition[asked[0]] = _thresholds(value[asked[0]], f"{where}.{asked[0]}")
        if metric == "generalisation.cos" and "OOD" not in condition[asked[0]]:
            raise _wrong(where, asked[0], "generalisation.cos is asked with `at_most: {OOD: number}`.")
    return condition


def _ask_fits(value: dict[str, Any], asked: str, where: str) -> None:
    """Everything but metric and thresholds."""
    controls = ("attainable", *ATTAINABLE, *UNATTAINABLE)
    if "facet" in value and value["facet"] not in FACETS:
        raise _wrong(f"{where}.facet", value["facet"], f"one of {', '.join(FACETS)} is wanted.")
    if "horizon" in value and (not _whole(value["horizon"]) or value["horizon"] < 1):
        raise _wrong(f"{where}.horizon", value["horizon"], "a whole number from 1 is wanted.")
    if "missing" in value and value["missing"] != "fails":
        raise _wrong(f"{where}.missing", value["missing"], "only `fails` is known; without it, not judged.")
    if "keeps" in value and (asked != "above" or not _number(value["keeps"])):
        raise _wrong(f"{where}.keeps", value["keeps"], "a number is wanted, in a condition with `above`.")
    if asked == "equals" and (value["equals"] != "horizon" or value["metric"] != "peak"):
        raise _wrong(f"{where}.equals", value["equals"], "only `{metric: peak, equals: horizon}` is known.")
    if asked == "above" and value["above"] not in controls:
        raise _wrong(f"{where}.above", value["above"], f"a control is wanted. {_near(value['above'], controls)}")
    if asked == "below_zero" and value["below_zero"] is not True:
        raise _wrong(f"{where}.below_zero", value["below_zero"], "only `true` is known.")
    if asked == "changes_at_most" and not _number(value["changes_at_most"]):
        raise _wrong(f"{where}.changes_at_most", value["changes_at_most"], "a number is wanted: |VAL − OOD|.")
    if value["metric"] == "generalisation.cos" and asked != "at_most":
        raise _wrong(where, asked, "generalisation.cos is asked with `at_most: {OOD: number}`.")


def _thresholds(value: object, where: str) -> dict[str, float]:
    """A number for each part, or one for both."""
    if _number(value):
        return dict.fromkeys(PARTS, value)  # type: ignore[arg-type]
    if not isinstance(value, dict) or not value:
        raise _wrong(where, value, "a number is wanted, or one for each part: `{VAL: 0.5, OOD: 0.48}`.")
    _known(value, PARTS, where, "part")
    for part, threshold in value.items():
        if not _number(threshold):
            raise _wrong(f"{where}.{part}", threshold, "a number is wanted.")
    return dict(value)


def _known(value: dict[Any, Any], known: Iterable[str], where: str, what: str = "field") -> None:
    for name in value:
        if name not in known:
            raise InputError(f"{where}: found the unknown {what} {name!r}. {_near(name, known)}")


def _near(name: object, known: Iterable[str]) -> str:
    return nearest(str(name), known)


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
