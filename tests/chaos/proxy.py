"""A TCP proxy on the loopback interface that can reset, drop and delay connections."""

import contextlib
import selectors
import socket
import struct
import threading
import time

RESET = struct.pack("ii", 1, 0)  # SO_LINGER with a timeout of 0: closing the socket sends a reset


class Proxy:
    """Passes bytes between clients and a port; runs in threads."""

    def __init__(self, target_port: int) -> None:
        self._target = ("127.0.0.1", target_port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._swallowed: set[socket.socket] = set()
        self._delay_until, self._delay_s = 0.0, 0.0
        self._lock = threading.Lock()
        self._closed = False
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Close the listener and all connections."""
        self._closed = True
        self._listener.close()
        self.reset()

    def reset(self) -> int:
        """Reset every connection; return their number."""
        with self._lock:
            ends = list(self._pairs)
            self._pairs.clear()
            self._swallowed.clear()
        for end in ends:
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                end.close()
        return len(ends) // 2

    def black_hole(self) -> int:
        """Drop everything on the existing connections, while new ones work; return the number of existing ones."""
        with self._lock:
            self._swallowed.update(self._pairs)
            return len(self._pairs) // 2

    def delay(self, by_s: float, for_s: float) -> None:
        """Delay all data by `by_s` seconds, for `for_s` seconds."""
        self._delay_s, self._delay_until = by_s, time.monotonic() + for_s

    def _serve(self) -> None:
        while not self._closed:
            try:
                inner, _ = self._listener.accept()
                outer = socket.create_connection(self._target)
            except ConnectionRefusedError:
                inner.close()
                continue
            except OSError:
                return
            for end in (inner, outer):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._pairs |= {inner: outer, outer: inner}
            threading.Thread(target=self._pass, args=(inner, outer), daemon=True).start()

    def _pass(self, inner: socket.socket, outer: socket.socket) -> None:
        with selectors.DefaultSelector() as selector, contextlib.suppress(OSError, ValueError):
            for one, other in ((inner, outer), (outer, inner)):
                selector.register(one, selectors.EVENT_READ, other)
            while True:
                for key, _ in selector.select(1.0):
                    source = key.fileobj
                    assert isinstance(source, socket.socket)
                    data = source.recv(65536)
                    if not data:
                        return self._drop(inner, outer)
                    if time.monotonic() < self._delay_until:
                        time.sleep(self._delay_s)
                    if source not in self._swallowed:
                        key.data.sendall(data)
                if inner.fileno() < 0 or outer.fileno() < 0:
                    return self._drop(inner, outer)
        return self._drop(inner, outer)

    def _drop(self, *ends: socket.socket) -> None:
        with self._lock:
            for end in ends:
                self._pairs.pop(end, None)
                self._swallowed.discard(end)
        for end in ends:
            with contextlib.suppress(OSError):
                end.close()
