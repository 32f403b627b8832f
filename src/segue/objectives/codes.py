"""The term of the quantised head.

Legend: B batch, K codes, D width.
"""

from torch import Tensor, nn

from segue.models.network import Options
from segue.objectives.forward import Pass
from segue.objectives.term import Term


class NextCode(Term):
    """Name the code of the next chunk: cross-entropy over all codes.

    value     log Σ_k exp(l_k) − l_c, c the code whose centroid is nearest to y, in nats; the exponential of its mean
              is the perplexity over codes                              scalar ≥ 0
    inputs    the logits l_BK of the model's quantised head (`model.codes`); target_BD unit
    gradient  on l: softmax(l) − 1 at c. The codes are fixed, so it cannot be made easy by moving them
    caution   asks for nothing within a code: chunks of one document often share theirs, and the head then cannot order
              them but by what else it holds likely
    source    next-token prediction over a codebook, as Quant-LCM's: LCM team 2024, arXiv 2412.08821
    """

    def fault(self, options: Options) -> str:
        if options.codes is not None:
            return ""
        return "the model has no quantised head: set model.codes, as 256, or the term to null"

    def per_window(self, made: Pass) -> Tensor:
        codes = made.model.codes
        assert codes is not None and made.logits_BK is not None  # a recipe with another model is refused
        value_B: Tensor = nn.functional.cross_entropy(
            made.logits_BK.float(), codes.of(made.batch.target_BD), reduction="none"
        )
        return value_B
