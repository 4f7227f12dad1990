"""Lets a person log in for one decision: authorization code flow with PKCE on a loopback redirect (RFC 8252, RFC 7636)."""

import http.server
import threading
from collections.abc import Callable

import requests
from authlib.common.security import generate_token
from authlib.integrations.requests_client import OAuth2Session


def prove(issuer: str, client_id: str, digest: str, show: Callable[[str], object]) -> str:
    """The nonce is the decision's digest, and the login is fresh: this ID token proves this decision and nothing else.
    show shows the URL to the person, in their browser. The token is not checked here: the service checks it before it counts."""
    provider = requests.get(f"{issuer}/.well-known/openid-configuration", timeout=10).json()
    if provider["issuer"] != issuer:
        raise ValueError(f"{issuer} describes itself as another issuer")
    with Loopback() as server:
        origin = f"http://127.0.0.1:{server.server_port}"
        login = OAuth2Session(
            client_id,
            scope="openid",
            redirect_uri=f"{origin}/callback",
            code_challenge_method="S256",
            token_endpoint_auth_method="none",
        )
        verifier = generate_token(64)
        url, state = login.create_authorization_url(
            provider["authorization_endpoint"], code_verifier=verifier, nonce=digest, max_age=0, prompt="login"
        )
        waiting = threading.Thread(target=server.handle_request)
        waiting.start()
        show(url)
        waiting.join()
        token = login.fetch_token(
            provider["token_endpoint"], authorization_response=origin + server.back, state=state, code_verifier=verifier, timeout=10
        )
    return token["id_token"]


class Loopback(http.server.HTTPServer):
    """Waits for the browser to come back, two minutes at most."""

    timeout = 120
    back = "/"

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)


class Answer(http.server.BaseHTTPRequestHandler):
    timeout = 10

    def do_GET(self):
        self.server.back = self.path
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"You may close this window.\n")

    def log_message(self, format, *args):
        """The code in the URL belongs in no log."""
