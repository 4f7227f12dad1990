"""The local stack: its addresses, tokens for its people and machines, and a browser that logs in by itself."""

import json
import pathlib
import subprocess


class Stack:
    def __init__(self, devstack: str, data: str):
        self.devstack, self.data = devstack, data
        self.info = json.loads(pathlib.Path(data, "stack.json").read_text())

    def token(self, kind: str, name: str) -> str:
        """kind and name are a flag of "devstack token": as acme/alice, machine acme/procurement, platform starter/acme."""
        return self._run("token", "--data", self.data, f"--{kind}", name).strip()

    def issuer(self, person: str) -> dict:
        return self.info["issuers"][person.split("/")[0]]

    def actor(self, person: str) -> dict:
        issuer, login = person.split("/")
        for p in self.info["people"]:
            if (p["issuer"], p["login"]) == (issuer, login):
                return {"iss": self.issuer(person)["url"], "sub": p["subject"]}
        raise LookupError(f"the stack has no {person}")

    def browser(self, person: str):
        return lambda url: self._run("login", "--data", self.data, "--as", person, url)

    def _run(self, *args: str) -> str:
        return subprocess.run([self.devstack, *args], check=True, capture_output=True, text=True, timeout=60).stdout
