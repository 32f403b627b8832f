"""segue: latent vector models that read a sequence of text embeddings and predict the next.

    text → vectors → windows → models → alignment (5CAT) → objectives → training → report → serving

Each stage is a sub-package; `import segue` loads none of them, and no torch.
"""

import time

from segue.client import Client, ServiceError
from segue.errors import InputError

LOADED_AT = time.time()  # when this process began to read segue's source

__all__ = ["Client", "InputError", "ServiceError"]
