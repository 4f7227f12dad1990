// Lets a person log in for one decision: authorization code flow with PKCE on a loopback redirect (RFC 8252, RFC 7636).

import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import * as oidc from "openid-client";

// The nonce is the decision's digest, and the login is fresh: this ID token proves this decision and nothing else. open
// shows the URL to the person, in their browser.
export async function prove(issuer: string, clientId: string, digest: string, open: (url: string) => Promise<void>): Promise<string> {
  // Plain HTTP is for the local stack alone.
  const execute = new URL(issuer).hostname === "127.0.0.1" ? [oidc.allowInsecureRequests] : [];
  const provider = await oidc.discovery(new URL(issuer), clientId, undefined, oidc.None(), { execute });
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const back = new Promise<URL>((resolve) => {
    server.on("request", (request, response) => {
      response.end("You may close this window.\n");
      resolve(new URL(request.url ?? "/", origin));
    });
  });
  try {
    const verifier = oidc.randomPKCECodeVerifier();
    const state = oidc.randomState();
    const url = oidc.buildAuthorizationUrl(provider, {
      redirect_uri: `${origin}/callback`,
      scope: "openid",
      state,
      nonce: digest,
      max_age: "0",
      prompt: "login",
      code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
      code_challenge_method: "S256",
    });
    await open(url.href);
    const tokens = await oidc.authorizationCodeGrant(provider, await back, {
      pkceCodeVerifier: verifier,
      expectedState: state,
      expectedNonce: digest,
      idTokenExpected: true,
    });
    return tokens.id_token!;
  } finally {
    server.close();
    server.closeAllConnections();
  }
}
