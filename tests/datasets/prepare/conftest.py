"""A server on this machine that can cut, refuse, change and misbehave."""

import http.server
import threading

import pytest

from datasets.prepare import download


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.requests.append((self.path, self.headers.get("Range"), self.headers.get("If-Range")))
        file = self.server.files.get(self.path)
        if isinstance(file, list):  # one answer after the other
            file = file.pop(0) if len(file) > 1 else file[0]
        if file is None:
            return self.send_error(404)
        if isinstance(file, int):
            return self.send_error(file)
        content, options = file if isinstance(file, tuple) else (file, {})
        start, tag = 0, options.get("tag", "")
        wanted = self.headers.get("Range")
        if wanted and options.get("ranges", True) and self.headers.get("If-Range") in (None, f'"{tag}"'):
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                return self.send_error(416)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        body = content[start:]
        if options.get("length", True):
            self.send_header("Content-Length", str(options.get("claims", len(body))))
        if tag:
            self.send_header("ETag", f'"{tag}"')
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body[: options.get("cut", len(body))])
        self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    """A server with .files {path: bytes | status | (bytes, options) | list of those}, .requests and .url."""
    monkeypatch.setattr(download, "PAUSE", 0)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.files, running.requests = {}, []
        running.url = f"http://127.0.0.1:{running.server_port}"
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()
