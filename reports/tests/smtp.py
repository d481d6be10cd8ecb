"""A small mail server for tests: STARTTLS, a login, and moods. One thread for each connection."""

from __future__ import annotations

import base64
import email
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.message import Message
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

USER, PASSWORD = "console", "p@ss/word"


class MailServer(socketserver.ThreadingTCPServer):
    """``mood``: '' takes mail; 'refuse' answers 451 to it; 'silent' never greets; 'cut' hangs up after the data."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, certificate: Path) -> None:
        super().__init__(("127.0.0.1", 0), Conversation)
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(certificate)
        self.mood, self.ended = "", threading.Event()
        self.taken: list[Message] = []
        self.seen: list[str] = []

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class Conversation(socketserver.StreamRequestHandler):
    """One client's. Mail is taken from those alone who have a secured line and have signed in."""

    server: MailServer

    def handle(self) -> None:
        self.secured = self.known = False
        if self.server.mood == "silent":
            self.server.ended.wait(60)
            return
        self.say("220 ready")
        while line := self.rfile.readline():
            word = line.decode().strip()
            self.server.seen.append(word.split(" ")[0].upper())
            if self.answer(word) is False:
                return

    def say(self, line: str) -> None:
        self.wfile.write(line.encode() + b"\r\n")

    def answer(self, word: str) -> bool | None:
        verb = word.split(" ")[0].upper()
        if verb in ("EHLO", "HELO"):
            self.say("250-test\r\n250-8BITMIME\r\n250 " + ("AUTH PLAIN" if self.secured else "STARTTLS"))
        elif verb == "STARTTLS":
            self.say("220 go on")
            self.connection: Any = self.server.tls.wrap_socket(self.connection, server_side=True)
            self.rfile, self.wfile, self.secured = self.connection.makefile("rb"), _Sender(self.connection), True
        elif verb == "AUTH":
            self.known = base64.b64decode(word.split(" ")[2]) == f"\0{USER}\0{PASSWORD}".encode()
            self.say("235 welcome" if self.known else "535 wrong password")
        elif verb == "MAIL" and not self.known:
            self.say("530 sign in first")
        elif verb == "MAIL" and self.server.mood == "refuse":
            self.say("451 come back later")
        elif verb == "DATA":
            self.say("354 go on")
            return self.take()
        elif verb == "QUIT":
            self.say("221 bye")
            return False
        else:
            self.say("250 fine")
        return None

    def take(self) -> bool:
        lines = list(iter(self.rfile.readline, b".\r\n"))
        self.server.taken.append(email.message_from_bytes(b"".join(line.removeprefix(b".") for line in lines)))
        if self.server.mood == "cut":
            return False
        self.say("250 taken")
        return True


class _Sender:
    """The writing side of a secured line, as the handler expects it."""

    closed = False

    def __init__(self, connection: ssl.SSLSocket) -> None:
        self._connection = connection

    def write(self, data: bytes) -> None:
        self._connection.sendall(data)

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        self.closed = True


def certificate_in(folder: Path) -> Path:
    """A key with a certificate for localhost that nobody but the test trusts."""
    key, name = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]),
    )
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    kept = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "mail.pem"
    path.write_bytes(kept + made.public_bytes(serialization.Encoding.PEM))
    return path


@contextmanager
def mail_server(folder: Path) -> Iterator[tuple[MailServer, Path]]:
    """A running server, and the file with the certificate to trust."""
    certificate = certificate_in(folder)
    with MailServer(certificate) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server, certificate
        finally:
            server.ended.set()
            server.shutdown()
            thread.join()
