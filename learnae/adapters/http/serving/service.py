"""What a member answers over HTTP: the blocks of its own store by name, and its announcement. No threads, no sockets.

The form is that of a trustless gateway (https://specs.ipfs.tech/http-gateways/trustless-gateway/), raw blocks alone.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from learnae.adapters.http.block_reader import RAW_TYPE
from learnae.adapters.http.gossip import HttpGossip
from learnae.adapters.http.names import BlockName
from learnae.adapters.http.own_vector import OwnVector
from learnae.adapters.http.serving.requests import RefusedError, Request
from learnae.adapters.http.serving.uploads import HttpUploads
from learnae.adapters.http.vector import MAX_BYTES, Vector
from learnae.errors import BlockMissingError, EncodingError, LimitError, PeerError, SignatureError
from learnae.ipld.cid import MAX_BLOCK_BYTES, Cid
from learnae.protocol.identity import peer_name

MAX_WAIT = 30  # seconds that an announcement is waited for

_BLOCKS = "/ipfs/"
_VECTOR = re.compile(r"/learnae/1/([a-z2-7]{1,64})/vector")
_INVITE = re.compile(r"/learnae/1/invite/([a-z2-7]{26})")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_CBOR = "application/vnd.ipld.dag-cbor"
_FOR_EVER = "public, max-age=31536000, immutable"
_READS = ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class Response:
    """Holds an answer; ``size`` is that of the body that a GET would bring."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


def vector_path(meeting: str) -> str:
    """Return where the announcement is of the swarm that meets under this name."""
    return f"/learnae/1/{meeting}/vector"


class SwarmService:
    """Answers for one swarm, which meets under the name ``meeting``; ``get`` reads the swarm's own blocks.

    ``admits`` says whether the announcement of a public key is listened to; ``spend`` whether so many bytes may go out
    to an asker.
    ``invites`` answers a question on the invite of a place, None if none is answered there.
    """

    def __init__(
        self,
        swarm: Cid,
        meeting: str,
        get: Callable[[Cid], bytes],
        own: OwnVector,
        gossip: HttpGossip,
        uploads: HttpUploads,
        spend: Callable[[int, bytes], bool],
        admits: Callable[[bytes], bool] = lambda _: True,
        invites: Callable[[str, bytes], bytes | None] = lambda *_: None,
    ) -> None:
        self._invites = invites
        self._swarm, self._meeting = swarm, meeting
        self._get, self._own, self._gossip, self._uploads = get, own, gossip, uploads
        self._spend, self._admits = spend, admits

    def check(self, request: Request) -> None:
        """Refuse a request whose body is not to be read; raises RefusedError."""
        allowed = ("GET", "HEAD", "PUT") if request.path.startswith(_BLOCKS) else ("GET", "HEAD", "POST")
        if request.method not in allowed:
            problem = f"a request {request.method} {request.path[:60]!r}"
            raise RefusedError(405, EncodingError(problem, f"{', '.join(allowed)} are answered"))
        most = {"PUT": MAX_BLOCK_BYTES, "POST": MAX_BYTES}.get(request.method, 0)
        if request.length > most:
            problem = f"a request {request.method} of {request.length} bytes"
            raise RefusedError(413, LimitError(problem, f"at most {most} are read"))
        if request.method == "PUT":
            cid = self._uploaded(request)
            if not self._uploads.takes(cid, request.length):
                raise RefusedError(409, LimitError("a block that was not asked for", "it is not read"))

    def answer(self, request: Request, body: bytes) -> Response:
        """Answer what ``check`` has let pass, with its whole body; raises RefusedError."""
        if request.path.startswith(_BLOCKS):
            return self._put(request, body) if request.method == "PUT" else self._block(request)
        if (place := _INVITE.fullmatch(request.path)) and request.method == "POST":
            return self._invited(place[1], request, body)
        found = _VECTOR.fullmatch(request.path)
        if not found or found[1] != self._meeting:
            raise RefusedError(404)
        return self._hear(body) if request.method == "POST" else self._vector(request)

    # -- blocks

    def _block(self, request: Request) -> Response:
        text = request.path.removeprefix(_BLOCKS)
        kind = request.query.get("format") or ("raw" if _accepts_raw(request) else "")
        if "/" in text and kind == "raw":
            raise RefusedError(400, EncodingError("a path below a block", "raw blocks are asked for by name alone"))
        try:
            name = BlockName.parse(text.partition("/")[0])
        except EncodingError as error:
            raise RefusedError(400, error) from error
        if kind != "raw":
            missing = not kind and "accept" not in request.headers
            raise RefusedError(400 if missing else 406)
        tag = f'"{text}.raw"'
        headers = {"ETag": tag, "Cache-Control": _FOR_EVER, "X-Ipfs-Path": request.path, "X-Ipfs-Roots": text}
        data = name.inline if name.inline is not None else self._find(name.cids)
        if data is None:
            raise RefusedError(412 if "only-if-cached" in request.headers.get("cache-control", "") else 404)
        if _is_known(tag, request):
            return Response(304, headers)
        if request.method == "GET" and not self._spend(len(data), request.asker):
            raise RefusedError(
                429, LimitError("more blocks were asked for than may go out", "they are asked for again")
            )
        wished = request.query.get("filename", "")
        file_name = wished if _FILE_NAME.fullmatch(wished) else f"{text}.bin"
        headers |= {
            "Content-Type": RAW_TYPE,
            "Content-Disposition": f'attachment; filename="{file_name}"',
            "X-Content-Type-Options": "nosniff",
        }
        return Response(200, headers, data)

    def _find(self, cids: Iterable[Cid]) -> bytes | None:
        for cid in cids:
            try:
                return self._get(cid)
            except BlockMissingError:
                continue
            except PeerError:  # damaged here: it is missing from now on
                continue
        return None

    def _put(self, request: Request, body: bytes) -> Response:
        try:
            self._uploads.bring(self._uploaded(request), body)
        except PeerError as error:
            raise RefusedError(400, error) from error
        return Response(204)

    def _uploaded(self, request: Request) -> Cid:
        try:
            return Cid.parse(request.path.removeprefix(_BLOCKS))
        except EncodingError as error:
            raise RefusedError(400, error) from error

    def _invited(self, place: str, request: Request, body: bytes) -> Response:
        answers = self._invites(place, body)
        if answers is None:
            raise RefusedError(404)
        if not self._spend(len(answers), request.asker):
            raise RefusedError(429, LimitError("more was asked for than may go out", "it is asked for again"))
        headers = {"Content-Type": "application/octet-stream", "Cache-Control": "no-store"}
        return Response(200, {**headers, "X-Content-Type-Options": "nosniff"}, answers)

    # -- announcements

    def _vector(self, request: Request) -> Response:
        known = request.headers.get("if-none-match", "")
        wait = request.query.get("wait", "0")
        if not re.fullmatch("[0-9]{1,4}", wait):
            raise RefusedError(400, EncodingError(f"wait={wait[:20]!r}", "whole seconds are waited"))
        seconds = min(int(wait), MAX_WAIT)
        found = self._own.changed_from(known, seconds) if seconds else self._own.current()
        if found is None or found[1] == known:
            return Response(304, {"ETag": known})
        return _said(found)

    def _hear(self, body: bytes) -> Response:
        try:
            vector = Vector.from_bytes(body, self._swarm)
        except PeerError as error:
            raise RefusedError(403 if isinstance(error, SignatureError) else 400, error) from error
        if not self._admits(vector.by):
            problem = f"peer {peer_name(vector.by)} announces, and it is no member"
            raise RefusedError(403, SignatureError(problem, "it is not listened to"))
        self._uploads.note_caller()
        self._gossip.note(vector)
        return _said(self._own.current())


def _said(signed: tuple[bytes, str]) -> Response:
    data, tag = signed
    headers = {"ETag": tag, "Content-Type": _CBOR, "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
    return Response(200, headers, data)


def _accepts_raw(request: Request) -> bool:
    """Return True if raw blocks are welcome by name: what takes anything may be a browser."""
    for one in request.headers.get("accept", "").split(","):
        kind, *parameters = (part.strip().lower() for part in one.split(";"))
        if kind == RAW_TYPE and not any(re.fullmatch(r"q=0(\.0*)?", each) for each in parameters):
            return True
    return False


def _is_known(tag: str, request: Request) -> bool:
    known = request.headers.get("if-none-match", "")
    return known.strip() == "*" or tag in (each.strip().removeprefix("W/") for each in known.split(","))
