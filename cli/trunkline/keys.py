"""`trunkline keys`: make a key, or the hash of one, for a VirtualKey's ``keyHash``."""

import hashlib
import secrets
import sys


def new_key() -> str:
    """A key with 256 bits of chance. ``sk-tl-`` lets secret scanners recognise it."""
    return f"sk-tl-{secrets.token_urlsafe(32)}"


def key_hash(key: str) -> str:
    """What stands in a VirtualKey's ``keyHash``; the operator and the gateways know nothing else of a key."""
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def new() -> int:
    """Print a new key and its hash."""
    key = new_key()
    print(f"key:     {key}\nkeyHash: {key_hash(key)}")
    return 0


def hash_stdin() -> int:
    """Print the hash of the key on standard input, so that it never stands in a shell's history."""
    key = sys.stdin.readline().strip()
    if not key:
        print("trunkline keys hash: give the key on standard input", file=sys.stderr)
        return 2
    print(key_hash(key))
    return 0
