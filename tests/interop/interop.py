"""EasyNetwork's clients and servers, and Python's ssl, against ours, both ways.

`cargo xtask interop` runs it: python interop.py PEER, where PEER is the program of
tests/examples/interop.rs.
"""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import tempfile
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor

from easynetwork.clients import TCPNetworkClient, UDPNetworkClient
from easynetwork.protocol import DatagramProtocol, StreamProtocol
from easynetwork.serializers import (
    JSONSerializer,
    MessagePackSerializer,
    NamedTupleStructSerializer,
    StringLineSerializer,
)
from easynetwork.servers import StandaloneTCPNetworkServer, StandaloneUDPNetworkServer
from easynetwork.servers.handlers import AsyncDatagramRequestHandler, AsyncStreamRequestHandler
from easynetwork.servers.threads_helper import NetworkServerThread

PEER = sys.argv[1]
HOST = "127.0.0.1"
NAME = "localhost"
TIMEOUT = 30

Named = namedtuple("Named", ["x", "y", "name"])

TEXTS = ["hello", "a knot that holds", "привет", "x" * 10_000]
ORDERS = [
    {"number": 0, "item": "", "prices": []},
    {"number": 7, "item": "rope", "prices": [0.1, 1e300, -2.5]},
    {"number": 2**53, "item": "привет \"\\\n", "prices": [1.0] * 500},
]
NAMED = [Named(-1, 0.5, "a"), Named(0, -1e300, "bowline"), Named(2**31 - 1, 0.1, "")]

SERIALIZERS = {
    "lines": (lambda: StringLineSerializer("LF", encoding="utf-8"), TEXTS),
    "json": (JSONSerializer, ORDERS),
    "msgpack": (MessagePackSerializer, ORDERS),
    "struct": (
        lambda: NamedTupleStructSerializer(Named, {"x": "i", "y": "d", "name": "8s"}, "!"),
        NAMED,
    ),
}
STREAMS = ["lines", "json", "struct"]
DATAGRAMS = ["json", "msgpack", "struct"]


class StreamEcho(AsyncStreamRequestHandler):
    async def handle(self, client):
        await client.send_packet((yield))


class DatagramEcho(AsyncDatagramRequestHandler):
    async def handle(self, client):
        await client.send_packet((yield))


def server_context(directory):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{directory}/certificate.pem", f"{directory}/key.pem")
    return context


def client_context(directory):
    return ssl.create_default_context(cafile=f"{directory}/certificate.pem")


class OurServer:
    """Our echo server, until the block ends."""

    def __init__(self, transport, form, directory):
        self.words = [PEER, "serve", transport, form, directory]

    def __enter__(self):
        self.process = subprocess.Popen(
            self.words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return int(self.process.stdout.readline())

    def __exit__(self, *_):
        self.process.stdin.close()
        assert self.process.wait(TIMEOUT) == 0, "our server failed"


def ask_with_ours(transport, form, directory, port):
    words = [PEER, "ask", transport, form, directory, str(port)]
    subprocess.run(words, check=True, timeout=TIMEOUT)


def their_client_asks(transport, form, directory):
    serializer, packets = SERIALIZERS[form]
    with OurServer(transport, form, directory) as port:
        if transport == "udp":
            client = UDPNetworkClient((HOST, port), DatagramProtocol(serializer()))
        else:
            tls = {}
            if transport == "tls":
                tls = {"ssl": client_context(directory), "server_hostname": NAME}
            client = TCPNetworkClient((HOST, port), StreamProtocol(serializer()), **tls)
        with client:
            for packet in packets:
                client.send_packet(packet)
                answer = client.recv_packet(timeout=TIMEOUT)
                assert answer == packet, f"{answer!r} came back for {packet!r}"


def our_client_asks(transport, form, directory):
    serializer, _ = SERIALIZERS[form]
    if transport == "udp":
        protocol = DatagramProtocol(serializer())
        server = StandaloneUDPNetworkServer(HOST, 0, protocol, DatagramEcho(), "asyncio")
    else:
        tls = {"ssl": server_context(directory)} if transport == "tls" else {}
        protocol = StreamProtocol(serializer())
        server = StandaloneTCPNetworkServer(HOST, 0, protocol, StreamEcho(), "asyncio", **tls)
    with server:
        thread = NetworkServerThread(server, daemon=True)
        thread.start()
        ask_with_ours(transport, form, directory, server.get_addresses()[0].port)
        thread.join()


def python_cuts(directory, end):
    """A server on Python's ssl that answers one line, and ends as `end` says: to a strict client of
    ours, then to a lenient one, which says nothing at its own end."""
    listener = socket.create_server((HOST, 0))
    port = listener.getsockname()[1]

    def serve():
        for client in ["strict", "lenient"]:
            connection, _ = listener.accept()
            secured = server_context(directory).wrap_socket(connection, server_side=True)
            secured.sendall(secured.recv(1000))
            if end == "cut":
                os.close(secured.detach())
                continue
            try:
                secured.unwrap()
                assert client == "strict", "a lenient client said that it ends"
            except ssl.SSLEOFError:
                assert client == "lenient", "a strict client did not say that it ends"

    with ThreadPoolExecutor() as threads:
        served = threads.submit(serve)
        ask_with_ours("tls", end, directory, port)
        served.result(TIMEOUT)
    listener.close()


def python_sees_our_end(directory):
    """What our server says at its end is an end to Python, which does not forgive less."""
    with OurServer("tls", "one-line", directory) as port:
        connection = socket.create_connection((HOST, port))
        context = client_context(directory)
        with context.wrap_socket(
            connection, server_hostname=NAME, suppress_ragged_eofs=False
        ) as secured:
            secured.sendall(b"hello\n")
            received = b""
            while part := secured.recv(1000):
                received += part
            assert received == b"hello\n", received


def main():
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run([PEER, "certificate", directory], check=True)
        cases = [(transport, form) for transport in ["tcp", "tls"] for form in STREAMS]
        cases += [("udp", form) for form in DATAGRAMS]
        for transport, form in cases:
            their_client_asks(transport, form, directory)
            our_client_asks(transport, form, directory)
            print(f"{transport} {form}: both ways", flush=True)
        for end in ["clean", "cut"]:
            python_cuts(directory, end)
            print(f"tls from Python's ssl, {end}", flush=True)
        python_sees_our_end(directory)
        print("tls to Python's ssl, ended", flush=True)


main()
