"""Relays connections accepted on an inherited listener (descriptor 3) to an address given.

The listener was opened outside of the lab, the connections onward are made inside: so a program
outside can reach the API server.
"""

import asyncio
import socket
import sys


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except OSError:
        return
    finally:
        writer.close()


async def main(ip: str, port: int) -> None:
    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            onward_reader, onward_writer = await asyncio.open_connection(ip, port)
        except OSError:
            writer.transport.abort()
            return
        async with asyncio.TaskGroup() as both:
            both.create_task(pump(reader, onward_writer))
            both.create_task(pump(onward_reader, writer))

    server = await asyncio.start_server(relay, sock=socket.socket(fileno=3))
    await server.serve_forever()


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
