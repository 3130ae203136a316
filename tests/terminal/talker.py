"""A scripted llama-server: its reply depends on the last message, and every request is written to the file named by REQUESTS."""

import json
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HOSTILE = ["<thi", "nk>secret</th", "ink>Red: \x1b", "[31m", "\x1b]0;title", "\x07 and bell \x07", "\rdone."]


def pieces(messages):
    text = messages[-1]["content"]
    if text == "hostile":
        return HOSTILE
    if text == "think":
        return ["<think>", "only"]
    if text == "long":
        return (f"word{number} " for number in range(2000))
    return [f"Heard {text!r}", f" after {len(messages) - 1}."]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200, "application/json", b'{"status": "ok"}')

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with Path(os.environ["REQUESTS"]).open("a") as file:
            file.write(json.dumps({"model": sys.argv[sys.argv.index("--model") + 1], **asked}) + "\n")
        text = asked["messages"][-1]["content"]
        if text == "overflow":
            error = {"error": {"code": 400, "message": "request (9 tokens) exceeds the available context size", "type": "exceed_context_size_error"}}
            self.answer(400, "application/json", json.dumps(error).encode())
            return
        if text == "die":
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        for piece in pieces(asked["messages"]):
            self.event({"delta": {"content": piece}, "finish_reason": None})
            time.sleep(0.02 if text == "long" else 0)
        self.event({"delta": {}, "finish_reason": "length" if text == "think" else "stop"})
        self.wfile.write(b"data: [DONE]\n\n")

    def event(self, choice):
        self.wfile.write(b"data: " + json.dumps({"choices": [choice]}, ensure_ascii=False).encode() + b"\n\n")

    def answer(self, status, kind, body):
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler).serve_forever()
