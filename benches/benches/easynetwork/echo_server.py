"""An echo server of EasyNetwork on uvloop, its fastest backend: python echo_server.py TRANSPORT CPU.

Lines over TCP and TLS, packets over UDP. Says its port, and ends once nobody holds its standard input
open.
"""

import os
import ssl
import sys
import tempfile

import uvloop
from easynetwork.protocol import BufferedStreamProtocol, DatagramProtocol
from easynetwork.serializers import StringLineSerializer
from easynetwork.servers import StandaloneTCPNetworkServer, StandaloneUDPNetworkServer
from easynetwork.servers.handlers import AsyncDatagramRequestHandler, AsyncStreamRequestHandler
from easynetwork.servers.threads_helper import NetworkServerThread

HOST = "127.0.0.1"


class StreamEcho(AsyncStreamRequestHandler):
    async def handle(self, client):
        # One call for all lines of a connection: the fastest way it has.
        while True:
            await client.send_packet((yield))


class DatagramEcho(AsyncDatagramRequestHandler):
    async def handle(self, client):
        await client.send_packet((yield))


def context():
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(os.environ["BENCH_CERTIFICATE"] + os.environ["BENCH_KEY"])
        file.flush()
        made.load_cert_chain(file.name)
    return made


def main(transport):
    line = StringLineSerializer("LF", encoding="ascii")
    runner = {"runner_options": {"loop_factory": uvloop.new_event_loop}}
    if transport == "udp":
        protocol = DatagramProtocol(line)
        server = StandaloneUDPNetworkServer(HOST, 0, protocol, DatagramEcho(), "asyncio", **runner)
    else:
        tls = {"ssl": context()} if transport == "tls" else {}
        protocol = BufferedStreamProtocol(line)
        server = StandaloneTCPNetworkServer(
            HOST, 0, protocol, StreamEcho(), "asyncio", **runner, **tls
        )
    with server:
        thread = NetworkServerThread(server, daemon=True)
        thread.start()
        print(server.get_addresses()[0].port, flush=True)
        sys.stdin.read()
        os._exit(0)


os.sched_setaffinity(0, {int(sys.argv[2])})
main(sys.argv[1])
