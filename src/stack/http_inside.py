"""Asks what listens in this container once over HTTP, from inside of it. Follows no redirects, asks nothing twice.

stdin: a line of JSON, {"method", "target", "port", "headers": [[name, value], ...], "length", "timeout", "limit"}, and
behind it the body, of so many bytes. The time-out, in seconds, is for the whole exchange, the limit for the answer's body.

stdout: a line of JSON behind a mark, {"status", "headers", "length", "cut", "elapsed"} or {"failed"}, and behind it the
body, of so many bytes.
"""

import http.client
import json
import signal
import sys
import time


class TooLate(Exception):
    pass


def too_late(*_):
    raise TooLate


def ask(question, body):
    began = time.monotonic()
    # A time-out of the socket's own would begin anew with every byte that comes.
    signal.signal(signal.SIGALRM, too_late)
    signal.setitimer(signal.ITIMER_REAL, question["timeout"])
    connection = http.client.HTTPConnection("127.0.0.1", question["port"])
    connection.putrequest(question["method"], question["target"], skip_host=True, skip_accept_encoding=True)
    for name, value in question["headers"]:
        connection.putheader(name, value.encode())
    try:
        connection.endheaders(body or None)
    except (BrokenPipeError, ConnectionResetError):
        # It may have answered without taking all of it.
        pass
    answer = connection.getresponse()
    content = answer.read(question["limit"] + 1)
    cut = len(content) > question["limit"]
    if not cut and answer.length:
        raise http.client.IncompleteRead(content, answer.length)
    elapsed = time.monotonic() - began
    signal.setitimer(signal.ITIMER_REAL, 0)
    # The module reads headers as latin-1.
    headers = [[name, value.encode("latin-1").decode(errors="replace")] for name, value in answer.getheaders()]
    content = content[: question["limit"]]
    head = {"status": answer.status, "headers": headers, "length": len(content), "cut": cut, "elapsed": elapsed}
    return head, content


def main():
    question = json.loads(sys.stdin.buffer.readline())
    body = sys.stdin.buffer.read()
    if len(body) != question["length"]:
        return {"failed": "what is to be asked came in half"}, b""
    try:
        return ask(question, body)
    except TooLate:
        return {"failed": "no complete answer in time"}, b""
    except OSError as error:
        return {"failed": f"{error.strerror or error}"}, b""
    except http.client.HTTPException as error:
        return {"failed": f"{type(error).__name__}: {error}"}, b""


head, content = main()
sys.stdout.buffer.write(b"viatique-deploy:" + json.dumps(head).encode() + b"\n" + content)
