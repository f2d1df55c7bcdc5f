"""A server on this machine that can cut, refuse and misbehave."""

import http.server
import threading
from contextlib import contextmanager


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers GET from server.files: {path: bytes | status | (bytes, options) | a list of those, one per request}.

    Options: cut (bytes that are sent), ranges (whether a part can be asked for), length (whether it is told).
    """

    def do_GET(self):
        self.server.requests.append((self.path, self.headers.get("Range")))
        file = self.server.files.get(self.path, 404)
        if isinstance(file, list):
            file = file.pop(0) if len(file) > 1 else file[0]
        if isinstance(file, int):
            return self.send_error(file)
        content, options = file if isinstance(file, tuple) else (file, {})
        start = 0
        if self.headers.get("Range") and options.get("ranges", True):
            start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                return self.send_error(416)
        self.send_response(206 if start else 200)
        if options.get("length", True):
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:][: options.get("cut")])

    def log_message(self, *_):
        pass


@contextmanager
def serving(monkeypatch):
    """A server with .files, .requests [(path, range)] and .url; nobody pauses before asking it again."""
    monkeypatch.setattr("trainers.core.download.time.sleep", lambda seconds: None)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.files, server.requests = {}, []
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
