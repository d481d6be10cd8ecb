"""Where the console may connect to, on real sockets of this machine."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from reports.tests.smtp import certificate_in
from workflows.n8n import AddressPolicy, Limits, N8nClient, address, check_connection, errors, http
from workflows.n8n.contracts import Contract
from workflows.n8n.spec import Capabilities


@contextmanager
def server(*answers: bytes | None) -> Iterator[tuple[int, list[bytes]]]:
    """One answer per connection, then closed; None closes without a word."""
    listener = socket.create_server(("127.0.0.1", 0))
    asked: list[bytes] = []

    def serve() -> None:
        for answer in answers:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                asked.append(connection.recv(65536))
                if answer:
                    connection.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1], asked
    finally:
        listener.close()


def client(port: int, policy: AddressPolicy | None = None, host: str = "127.0.0.1", **limits) -> N8nClient:
    made = N8nClient(
        base_url=f"http://{host}:{port}",
        api_key="k",
        policy=policy or AddressPolicy.local(),
        limits=Limits(**limits),
        sleep=lambda _s: None,
    )
    made._private_contract, made._is_private = Contract(Capabilities.assumed(), "", time.monotonic()), True
    return made


OK = b'HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\n{"id":"a"}'


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "192.168.1.1",
        "172.16.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "100.64.0.1",
        "::1",
        "fe80::1",
        "fd00::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "224.0.0.1",
        "::",
        "192.0.0.9",
        "168.63.129.16",
        "fec0::1",
        "64:ff9b::a00:1",
        "64:ff9b:1::a00:1",
        "::10.0.0.1",
        "::ffff:168.63.129.16",
    ],
)
def test_by_default_only_public_addresses(address):
    assert not AddressPolicy().allows(ipaddress.ip_address(address))


def test_allowed_ranges_and_hosts_open_just_that():
    policy = AddressPolicy.build(networks=["10.1.0.0/16"], hosts=["N8N.internal"])
    assert policy.allows(ipaddress.ip_address("10.1.2.3"))
    assert policy.allows(ipaddress.ip_address("::ffff:10.1.2.3"))
    assert not policy.allows(ipaddress.ip_address("10.2.0.1"))
    assert policy.allows(ipaddress.ip_address("192.168.0.9"), "n8n.internal")
    assert policy.allows(ipaddress.ip_address("8.8.8.8"))
    for metadata in ("169.254.169.254", "168.63.129.16", "64:ff9b::169.254.169.254"):
        assert not AddressPolicy.local().allows(ipaddress.ip_address(metadata))
    assert AddressPolicy().allows(ipaddress.ip_address("64:ff9b::808:808"))
    assert AddressPolicy.local().allows(ipaddress.ip_address("::1"))


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x",
        "file:///etc/passwd",
        "x",
        "",
        "http://",
        "http://u:p@h/",
        "http://h/?a=b",
        "http://127.0.0.1",
        "http://[::1]:5678",
        "http://h:99999",
    ],
)
def test_addresses_that_are_none_are_refused(url):
    with pytest.raises(errors.AddressRefused):
        AddressPolicy().check_url(url)


def test_a_pasted_api_address_is_shortened():
    assert AddressPolicy().check_url(" https://n8n.example.com/x/api/v1/ ") == "https://n8n.example.com/x"


def test_a_name_that_leads_inside_is_refused_before_a_byte_is_sent(monkeypatch):
    with server(OK) as (port, asked):
        info = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: info)
        with pytest.raises(errors.AddressRefused):
            client(port, AddressPolicy(), host="harmless.example").get_workflow("a")
        assert not asked


def test_one_inner_address_among_public_ones_refuses_the_name(monkeypatch):
    info = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, 80)) for a in ("93.184.216.34", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: info)
    with pytest.raises(errors.AddressRefused):
        AddressPolicy().resolve("mixed.example", 80)


def test_the_connection_goes_to_the_address_that_was_judged(monkeypatch):
    """The second answer of the resolver, as in DNS rebinding, is never asked for."""
    looked_up = []
    with server(OK) as (port, asked):

        def resolver(host, *_args, **_more):
            looked_up.append(host)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

        real = socket.getaddrinfo
        monkeypatch.setattr(
            socket, "getaddrinfo", lambda host, *a, **k: resolver(host) if host == "n8n.test" else real(host, *a, **k)
        )
        assert client(port, host="n8n.test").get_workflow("a") == {"id": "a"}
        assert looked_up == ["n8n.test"]
        assert b"n8n.test:" in asked[0]


def test_redirects_are_not_followed():
    away = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with server(away, OK) as (port, asked), pytest.raises(errors.NotAnApi, match="another"):
        client(port).get_workflow("a")
    assert len(asked) == 1


def test_a_dropped_connection_is_read_again_and_never_written_again():
    with server(None, OK) as (port, asked):
        assert client(port).get_workflow("a") == {"id": "a"}
    assert len(asked) == 2
    with server(None, OK) as (port, asked), pytest.raises(errors.AmbiguousWrite):
        client(port).unpublish("a")
    assert len(asked) == 1


def test_an_answer_cut_short_is_no_answer():
    with server(OK[:-4], OK) as (port, _asked):
        assert client(port).get_workflow("a") == {"id": "a"}


def test_nobody_listening_and_silence_have_different_names():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(errors.TimedOut):
            client(port, total_time=0.2, attempts=1).get_workflow("a")
    with pytest.raises(errors.Unreachable):
        client(port, attempts=2).get_workflow("a")


def test_a_name_that_nobody_has_is_told(monkeypatch):
    def nobody(*_args, **_more):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    with pytest.raises(errors.N8nError) as caught:
        client(443, AddressPolicy(), host="nowhere.example").get_workflow("a")
    told = caught.value
    assert (told.code, told.message) == ("N8N_002", "The name “nowhere.example” cannot be resolved.")
    assert told.recovery == "Check the address for a typing error, and that its DNS record exists."


def test_a_certificate_that_is_its_own_is_not_trusted(tmp_path):
    """A real handshake, with a certificate that no authority has signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_in(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for _ in range(4):
                try:
                    with context.wrap_socket(listener.accept()[0], server_side=True):
                        pass
                except OSError:
                    pass

        threading.Thread(target=serve, daemon=True).start()
        port = listener.getsockname()[1]
        report = check_connection(
            base_url=f"https://localhost:{port}", api_key="k", policy=AddressPolicy.local(), sleep=lambda _s: None
        )
    assert report.fault is not None and report.fault.name == "tls"
    assert report.fault.sentence.startswith("The certificate is not accepted: self-signed certificate")
    assert report.fault.recovery.startswith("Renew the certificate, use the name it was issued for")
    assert report.fault.code == "N8N_004"


def packing_asked_for(asked: list[bytes]) -> list[str]:
    heads = [dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line) for head in asked]
    return [{k.lower(): v for k, v in head.items()}[b"accept-encoding"].decode() for head in heads]


def test_this_very_machine_is_never_asked_to_pack() -> None:
    with server(OK) as (port, asked), client(port) as n8n:
        n8n.get_workflow("a")
    assert packing_asked_for(asked) == ["identity"]


def test_one_slow_connection_does_not_make_an_instance_far(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "is_this_machine", lambda _host: False)
    monkeypatch.setattr(address, "NEAR", 60.0)
    with server(OK, OK, OK) as (port, asked), client(port) as n8n:
        n8n.get_workflow("a")
        monkeypatch.setattr(address, "NEAR", 0.0)  # from here on every connection is slow
        n8n.get_workflow("a")
        n8n.get_workflow("a")
    first, *others = packing_asked_for(asked)
    assert "gzip" in first
    assert others == ["identity", "identity"]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost", "LOCALHOST."])
def test_names_of_this_machine(host: str) -> None:
    assert address.is_this_machine(host)


@pytest.mark.parametrize("host", ["10.0.0.1", "localhost.example.org", "n8n", "::2", "0.0.0.0", ""])
def test_names_of_other_machines(host: str) -> None:
    assert not address.is_this_machine(host)
