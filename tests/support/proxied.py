"""Real reverse proxies, started with the configurations that are shipped.

`app.example.com` is localhost here, with a certificate made for the test; nothing else differs.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPException, HTTPSConnection
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import trustme

DEPLOY = Path(__file__).parents[2] / "deploy"
UNPRIVILEGED = "nobody"
READY_SECONDS = 20
IDENTITY = (
    "x-procore-user-id",
    "x-procore-id",
    "x-procore-email",
    "x-procore-name",
    "x-procore-environment",
)


def program(name: str) -> str:
    """Return the path of a proxy's program; the test is skipped, or fails, where there is none."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        cure = f"install {name} (Debian: apt-get install {name}; Traefik: requirements/traefik.txt)"
        if name in os.environ.get("PROCORE_SIGNIN_REQUIRE_PROXIES", "").split():
            pytest.fail(f"There is no {name} and the suite requires one: {cure}.", pytrace=False)
        pytest.skip(f"no {name} on this machine: {cure}")
    return found


@dataclass
class Upstream:
    """The application behind the proxy: it answers with what it was asked."""

    port: int
    asked: list[dict[str, object]] = field(default_factory=list)

    @property
    def identity(self) -> dict[str, str]:
        """Every header of the last request that an application could take for who it is."""
        headers = self.asked[-1]["headers"]
        assert isinstance(headers, list)
        return {name: value for name, value in headers if "procore" in name.replace("_", "-")}


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    upstream: Upstream

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        asked: dict[str, object] = {
            "method": self.command,
            "path": self.path,
            "headers": [(name.lower(), value) for name, value in self.headers.items()],
            "body": body.decode(),
        }
        self.upstream.asked.append(asked)
        content = json.dumps(asked).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


for _method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
    setattr(Echo, f"do_{_method}", Echo.answer)


@dataclass(frozen=True)
class Certificate:
    """A certificate for localhost."""

    authority: trustme.CA
    chain: bytes
    key: bytes

    @property
    def trusted(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context


def shipped(name: str, changes: dict[str, str]) -> str:
    """Return a configuration of `deploy/` with the values of this machine put in."""
    text = (DEPLOY / name).read_text()
    for old, new in changes.items():
        assert old in text, f"{name} has no {old!r} any more"
        text = text.replace(old, new)
    return text


@contextlib.contextmanager
def proxy(
    folder: Path, port: int, certificate: Certificate, *command: str, **environment: str
) -> Iterator[Path]:
    """Run a proxy without privileges until the block ends; gives its log.

    Its configuration finds the certificate in `folder`, as `cert.pem` and `key.pem`.
    """
    (folder / "cert.pem").write_bytes(certificate.chain)
    (folder / "key.pem").write_bytes(certificate.key)
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={"PATH": os.environ["PATH"], "HOME": str(folder), **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            **_without_privileges(),
        )
        try:
            _wait_until_ready(process, port, certificate, log)
            yield log
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=20)


def _without_privileges() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam(UNPRIVILEGED)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _wait_until_ready(
    process: subprocess.Popen[bytes], port: int, certificate: Certificate, log: Path
) -> None:
    """Wait for the certificate and the routes: Traefik listens before it has read either."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        asking = HTTPSConnection("localhost", port, timeout=5, context=certificate.trusted)
        with contextlib.suppress(OSError, HTTPException), contextlib.closing(asking):
            asking.request("GET", "/")
            if asking.getresponse().status != HTTPStatus.NOT_FOUND:
                return
        time.sleep(0.05)
    raise AssertionError(f"The proxy did not start:\n{log.read_text()}")


def start_nginx(
    folder: Path, port: int, app: str, upstream: Upstream, certificate: Certificate, **more: str
) -> contextlib.AbstractContextManager[Path]:
    """Run nginx with the shipped file as a distribution includes it.

    Args:
        folder: Where it may write.
        port: Where it listens.
        app: Host and port of procore-signin.
        upstream: The application behind it.
        certificate: Its own.
        more: `http`: more lines for the http block; `server`: for the server block.
    """
    site = shipped(
        "nginx.conf",
        {
            "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;\n{more.get('server', '')}",
            "server_name app.example.com;": "server_name localhost;",
            "/etc/ssl/app.example.com.pem": f"{folder}/cert.pem",
            "/etc/ssl/app.example.com.key": f"{folder}/key.pem",
            "127.0.0.1:4567": app,
            "127.0.0.1:8000": f"127.0.0.1:{upstream.port}",
        },
    )
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    (folder / "nginx.conf").write_text(
        f"daemon off;\npid {folder}/pid;\nerror_log stderr warn;\nworker_processes 1;\n"
        "events { worker_connections 256; }\n"
        f"http {{\naccess_log off;\n{places}{more.get('http', '')}\n{site}\n}}\n"
    )
    nginx = program("nginx")
    return proxy(
        folder, port, certificate, nginx, "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"
    )


def start_caddy(
    folder: Path, port: int, app: str, upstream: Upstream, certificate: Certificate
) -> contextlib.AbstractContextManager[Path]:
    """Run Caddy with the shipped file; the arguments are those of `start_nginx`."""
    site = shipped(
        "Caddyfile",
        {
            "\napp.example.com {": f"\nhttps://localhost:{port} {{\n"
            f"\tbind 127.0.0.1\n\ttls {folder}/cert.pem {folder}/key.pem",
            "127.0.0.1:4567": app,
            "127.0.0.1:8000": f"127.0.0.1:{upstream.port}",
        },
    )
    # Its defaults would listen at ports 80 and 2019 too.
    globals_ = "{\n\tadmin off\n\tauto_https disable_redirects\n}\n"
    (folder / "Caddyfile").write_text(globals_ + site)
    words = ("run", "--config", "Caddyfile", "--adapter", "caddyfile")
    return proxy(
        folder, port, certificate, program("caddy"), *words, XDG_DATA_HOME=f"{folder}/data"
    )


def start_traefik(
    folder: Path, port: int, app: str, upstream: Upstream, certificate: Certificate
) -> contextlib.AbstractContextManager[Path]:
    """Run Traefik with the shipped file; the arguments are those of `start_nginx`."""
    site = shipped(
        "traefik.yml",
        {
            "`app.example.com`": "`localhost`",
            "127.0.0.1:4567": app,
            "127.0.0.1:8000": f"127.0.0.1:{upstream.port}",
        },
    )
    pair = f"certFile: {folder}/cert.pem, keyFile: {folder}/key.pem"
    (folder / "dynamic.yml").write_text(f"{site}\ntls:\n  certificates: [{{{pair}}}]\n")
    return proxy(
        folder,
        port,
        certificate,
        program("traefik"),
        f"--entryPoints.websecure.address=127.0.0.1:{port}",
        f"--providers.file.filename={folder}/dynamic.yml",
        "--global.checkNewVersion=false",
        "--global.sendAnonymousUsage=false",
    )
