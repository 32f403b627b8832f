"""`segue.Client`: the services from Python.

    client = segue.Client("http://127.0.0.1:9007")          # a predictor; it knows its encoder and decoder
    client.encode(["A chunk of text."])                     # (1, D)
    client.predict(texts=chunks)["steps"][0]["predicted"]   # the passage it expects next

Legend: N texts, Q vectors asked about, B contexts, L chunks of a context, D width.
"""

import json
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from segue.errors import InputError

if TYPE_CHECKING:
    import numpy as np

LOOPBACK = ("localhost", "127.0.0.1", "::1")
# Which service answers what is asked.
ENCODER, DECODER, PREDICTOR = "encoder", "decoder", "predictor"


class ServiceError(RuntimeError):
    """A service refused or is not there.

    status      HTTP status; None when nothing answered
    code        a short name for programs: `context_too_short`, `decoder_down`
    field       where in the body, if it is one place
    request_id  also in the service's log
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str = "unreachable",
        field: str | None = None,
        request_id: str | None = None,
    ):
        super().__init__(message)
        self.status, self.code, self.field, self.request_id = status, code, field, request_id


class Client:
    """A connection to one of segue's services and, through it, to those it works with.

    url      a predictor's (then all methods work), an encoder's or a decoder's
    token    its bearer token, if it wants one; the same for all of them
    timeout  seconds for one request

    Methods raise ServiceError for a refusal, with the service's own line, and InputError for what cannot be sent.
    """

    def __init__(self, url: str = "http://127.0.0.1:9007", token: str | None = None, timeout: float = 120.0):
        import httpx2

        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError as error:
            raise InputError(f"{url}: is no URL ({error}), as http://127.0.0.1:9007 is.") from None
        if parts.scheme not in ("http", "https") or not host:
            raise InputError(f"{url}: is no URL, as http://127.0.0.1:9007 is.")
        self.url = url.rstrip("/")
        self._urls: dict[str, str] | None = None
        # A proxy of the environment is for the world outside, not for a server on this machine.
        self._http = httpx2.Client(
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=httpx2.Timeout(timeout, connect=5),
            trust_env=host not in LOOPBACK,
        )

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def health(self) -> dict[str, Any]:
        """`{"status": "ok" | "degraded", "why": […], "service": …}` of the service at `url`."""
        return self._get(self.url, "/health")

    def info(self) -> dict[str, Any]:
        """What the service at `url` serves."""
        return self._get(self.url, "/info")

    def encode(self, texts: Sequence[str]) -> "np.ndarray":
        """Unit vectors in the encoder's space: N texts → (N, D) float32"""
        import numpy as np

        answer = self._post(self._at(ENCODER), "/encode", {"texts": list(texts)})
        return np.asarray(answer["embeddings"], dtype=np.float32)

    def decode(self, vectors: Any, k: int | None = None, **options: Any) -> list[list[dict[str, Any]]]:
        """The k passages (default: 1) nearest to each vector, the best first: (Q, D) → Q lists of k passages.

        options  fields of POST /decode: method, steps, beam, document, after_row, exclude_rows, exclude_vectors
        """
        asked = {} if k is None else {"k": k}  # vec2text searches nothing, and refuses it
        body = {"vectors": numbers(vectors, "vectors"), **asked, **options}
        return list(self._post(self._at(DECODER), "/decode", body)["results"])

    def infer(self, context_vectors: Any, **options: Any) -> "np.ndarray":
        """The predicted unit vector of a context, oldest chunk first: (L, D) → (D,), or (B, L, D) → (B, D); float32.

        options  fields of POST /infer: model, steering
        """
        import numpy as np

        body = {"context_vectors": numbers(context_vectors, "context_vectors"), **options}
        answer = self._post(self._at(PREDICTOR), "/infer", body)
        found = answer.get("predicted_vector")
        return np.asarray(answer["predicted_vectors"] if found is None else found, dtype=np.float32)

    def predict(
        self,
        texts: Sequence[str] | None = None,
        document: str | None = None,
        stored: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        """The passages expected next, with their cosines and where they were found.

        texts     chunks, oldest first
        document  a text that the service cuts into chunks
        stored    `{"id": document of the store, "upto": position of the last chunk read}`
        options   fields of POST /predict: model, k, steps, feed, steering, temperature, seed
        """
        given = {
            "texts": None if texts is None else list(texts),
            "document": None if document is None else {"text": document},
            "stored": None if stored is None else dict(stored),
        }
        body = {name: value for name, value in given.items() if value is not None} | options
        return self._post(self._at(PREDICTOR), "/predict", body)

    def chat(self, said: str | Sequence[Mapping[str, str]], **options: Any) -> dict[str, Any]:
        """What would come next after a text of the user's, or after a conversation of `{"role", "content"}`.

        options  fields of POST /chat: model, k, steering, temperature, seed; `continue` as `**{"continue": n}`
        """
        messages = [{"role": "user", "content": said}] if isinstance(said, str) else [dict(one) for one in said]
        return self._post(self._at(PREDICTOR), "/chat", {"messages": messages, **options})

    def documents(self, query: str | None = None, limit: int = 20, offset: int = 0) -> dict[str, Any]:
        """Documents of the decoder's store, by words of id or title."""
        asked: dict[str, Any] = {"limit": limit, "offset": offset} | ({} if query is None else {"query": query})
        return self._get(self._at(DECODER), "/documents", asked)

    def document(self, name: str) -> dict[str, Any]:
        """One document of the decoder's store, chunk by chunk."""
        return self._get(self._at(DECODER), f"/documents/{quote(name, safe='').replace('.', '%2E')}")

    def _at(self, service: str) -> str:
        """The URL of a service: this one's, or where the predictor at `url` has it."""
        if self._urls is None:
            here = str(self.health().get("service"))
            known = self.info() if here == PREDICTOR else {}
            urls = {name: known[name] for name in (ENCODER, DECODER) if isinstance(known.get(name), str)}
            self._urls = {**urls, here: self.url}
        if service not in self._urls:
            here = next(name for name, url in self._urls.items() if url == self.url)
            raise InputError(f"{self.url}: is the {here}, the {service} is wanted. Give the predictor's URL.")
        found = self._urls[service].rstrip("/")
        if _is_loopback(found) and not _is_loopback(self.url):
            raise InputError(
                f"{self.url}: has its {service} at {found}, which only its own machine reaches. Make a Client of the "
                f"{service}'s own address."
            )
        return found

    def _get(self, url: str, path: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        return self._ask("GET", url, path, params=params)

    def _post(self, url: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        try:
            content = json.dumps(body, allow_nan=False).encode()
        except (TypeError, ValueError, UnicodeEncodeError) as error:
            raise InputError(f"{url}{path}: what is to be sent is no JSON ({error}).") from None
        return self._ask("POST", url, path, content=content, headers={"Content-Type": "application/json"})

    def _ask(self, method: str, url: str, path: str, **more: Any) -> dict[str, Any]:
        import httpx2

        try:
            response = self._http.request(method, url + path, **more)
        except httpx2.RequestError as error:
            said = str(error) or type(error).__name__
            raise ServiceError(f"{url}: cannot be reached ({said}). Start it with `segue serve`.") from None
        try:
            value = json.loads(response.content)
        except ValueError:
            value = None
        if response.status_code != 200 or not isinstance(value, dict):
            raise _refused(url + path, response.status_code, value)
        return value


def numbers(vectors: Any, name: str) -> Any:
    """Vectors as nested lists. Raises InputError, naming them, for NaN or infinity, which JSON cannot carry."""
    import numpy as np

    try:
        found = np.asarray(vectors, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: is no array of numbers ({error}).") from None
    if not np.isfinite(found).all():
        raise InputError(f"{name}: {int((~np.isfinite(found)).sum())} of its numbers are NaN or infinity.")
    return found.tolist()


def _is_loopback(url: str) -> bool:
    return urlsplit(url).hostname in LOOPBACK


def _refused(where: str, status: int, value: Any) -> ServiceError:
    error = value.get("error") if isinstance(value, dict) else None
    if not isinstance(error, dict):
        return ServiceError(f"{where}: answered with status {status} and is no service of segue's.", status=status)
    return ServiceError(
        str(error.get("message")),
        status=status,
        code=str(error.get("code")),
        field=error.get("field"),
        request_id=error.get("request_id"),
    )
