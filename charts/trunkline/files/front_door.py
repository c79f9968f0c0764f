"""What `helm test` runs: ask for an answer through the front door, as a client would. Exit code 0: there was one.

GATEWAY is the address. With KEY, a completion of MODEL (default: the first that the key may use) is asked for. Without,
a request must be refused for want of a key, which only a gateway that has its routing table does.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request

PATIENCE_SECONDS = 60  # a key that was just made, a rollout that is just ending
CALL_SECONDS = 30


def call(path: str, key: str = "", body: object = None) -> tuple[int, object]:
    """The status and the decoded answer; text where it is not JSON."""
    request = urllib.request.Request(os.environ["GATEWAY"] + path)
    if key:
        request.add_header("Authorization", f"Bearer {key}")
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=CALL_SECONDS) as answer:
            status, text = answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            status, text = refused.code, refused.read().decode(errors="replace")
    try:
        return status, json.loads(text)
    except ValueError:
        return status, text


def ask() -> str:
    """What was seen; raises where it is not what should be."""
    key = os.environ.get("KEY", "").strip()
    if not key:
        status, answer = call("/v1/models")
        if status != 401:
            raise ValueError(f"/v1/models without a key answered {status}, not 401: {answer}")
        return (
            "the gateway answers, and lets in nobody without a key. "
            "NO MODEL WAS ASKED, since the test has no client's key: set test.keySecret.name, or quickstart.enabled"
        )
    model = os.environ.get("MODEL", "")
    if not model:
        status, answer = call("/v1/models", key)
        if status != 200 or not answer["data"]:
            raise ValueError(f"/v1/models answered {status}: {answer}")
        model = answer["data"][0]["id"]
    messages = [{"role": "user", "content": "Is anybody there?"}]
    status, answer = call("/v1/chat/completions", key, {"model": model, "messages": messages, "max_tokens": 64})
    if status != 200:
        raise ValueError(f"{model} answered {status}: {answer}")
    return f"{model} answered: {answer['choices'][0]['message']['content']!r}"


deadline = time.monotonic() + PATIENCE_SECONDS
while True:
    try:
        print(ask())
        sys.exit(0)
    except (OSError, ValueError, LookupError, TypeError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        if time.monotonic() > deadline:
            sys.exit(1)
    time.sleep(2)
