"""The one predictor contract: all that 5CAT, serving and steer know of a model (DESIGN).

Models, controls, steered models, files of predictions and remote endpoints implement it.
"""

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from torch import Tensor

if TYPE_CHECKING:
    from segue.windows import Windows


class Predictor(Protocol):
    """Reads context vectors, gives the predicted next one.

    name      what tables and files call it
    dim       width D of the vectors it reads and gives
    context   C, the context length it was made for
    horizon   h, the offset it predicts (SPEC §1); 1 is the next chunk
    facets    what it claims to be: `mean` (its vector lies close to the target), `rank` (it orders candidates), or both
    reach     how many chunks up to offset 0 it wants to be handed; None: the whole document so far
    """

    name: str
    dim: int
    context: int
    horizon: int
    facets: tuple[str, ...]
    reach: int | None

    def predict(self, context_BCD: Tensor) -> Tensor:
        """Unit predictions for unit contexts, oldest chunk first: (B, C, D) float32 → (B, D) float32."""
        ...


@runtime_checkable
class RawPredictor(Protocol):
    """A predictor that also tells its output before normalising: `mse` and `steer` need it (SPEC §2, §4)."""

    def predict_with_raw(self, context_BCD: Tensor) -> tuple[Tensor, Tensor]:
        """Unit predictions and raw outputs of one forward: (B, C, D) → (B, D), (B, D)"""
        ...


@runtime_checkable
class WindowPredictor(Protocol):
    """A predictor that answers known windows and nothing else, as a file of predictions does.

    It is asked by window, never through `predict`: what changes the context or feeds predictions back is not computed.
    """

    def predict_windows(self, windows: "Windows") -> Tensor:
        """Unit predictions for the whole contexts of windows it knows: → (B, D)"""
        ...
