"""A tiny HTTP server that answers every request with the text it was given (a node's name)."""

import asyncio
import socket
import sys


async def main(text: str, port: int) -> None:
    body = f"{text}\n".encode()
    answer = b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), timeout=5)
            writer.write(answer)
            await writer.drain()
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            return
        finally:
            writer.close()

    listener = socket.create_server(
        ("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024
    )
    server = await asyncio.start_server(serve, sock=listener)
    await server.serve_forever()


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
