"""An identity provider for the tests: gives tokens to a client with the right secret (OAuth 2.0 client credentials), and its keys."""

import json
import threading
import time
from base64 import b64encode, urlsafe_b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

CLIENT, SECRET, AUDIENCE = "oidc-client", "oidc-s3cret/x", "ridecast-tests"


class IdentityProvider:
    """Serves `/token` and `/jwks` on loopback from a thread of the tests."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        provider = self

        class Handler(BaseHTTPRequestHandler):
            """Answers with JSON."""

            def do_GET(self) -> None:
                self.answer(200, {"keys": [provider._public()]})

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                known = "Basic " + b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
                if self.headers.get("authorization") != known:
                    self.answer(401, {"error": "invalid_client", "error_description": "unknown client or secret"})
                else:
                    self.answer(200, {"access_token": provider._token(), "token_type": "Bearer", "expires_in": 600})

            def answer(self, status: int, body: dict[str, object]) -> None:
                """Send a response."""
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, name="identity provider", daemon=True).start()

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        """Stop it."""
        self._server.shutdown()
        self._server.server_close()

    def _public(self) -> dict[str, object]:
        numbers = self._key.public_key().public_numbers()
        x, y = (_text(number.to_bytes(32, "big")) for number in (numbers.x, numbers.y))
        return {"kty": "EC", "crv": "P-256", "kid": "one", "use": "sig", "alg": "ES256", "x": x, "y": y}

    def _token(self) -> str:
        now_s = int(time.time())
        claims = {"sub": CLIENT, "iss": self.url, "aud": AUDIENCE, "iat": now_s, "exp": now_s + 600}
        signed = f"{_json({'alg': 'ES256', 'kid': 'one', 'typ': 'JWT'})}.{_json(claims)}"
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_text(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _json(value: object) -> str:
    return _text(json.dumps(value).encode())


def _text(value: bytes) -> str:
    return urlsafe_b64encode(value).rstrip(b"=").decode()
