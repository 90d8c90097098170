"""A TCP server that sends back what it gets, for as long as the client likes."""

import asyncio
import socket
import sys


async def main(port: int) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(2048):
                writer.write(data)
                await writer.drain()
        except OSError:
            return
        finally:
            writer.close()

    listener = socket.create_server(
        ("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024
    )
    server = await asyncio.start_server(serve, sock=listener)
    await server.serve_forever()


asyncio.run(main(int(sys.argv[1])))
