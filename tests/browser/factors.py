"""The second factors that a person holds: an authenticator app, and a key that the browser knows."""

from __future__ import annotations

import base64
import hmac
import struct
import time

from .driving import Visitor

STEP_SECONDS = 30


def code_of(secret: str) -> str:
    """What any authenticator app shows now for the secret (RFC 6238: SHA-1, six digits, 30 seconds)."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    digest = hmac.digest(key, struct.pack(">Q", int(time.time()) // STEP_SECONDS), "sha1")
    (number,) = struct.unpack_from(">I", digest, digest[-1] & 15)
    return f"{(number & 0x7FFFFFFF) % 1_000_000:06}"


#: The code that each secret was used with last: none opens anything twice.
USED: dict[str, str] = {}


def next_code(visitor: Visitor, secret: str) -> str:
    """A code that was not used yet, as soon as the app shows one."""
    while (code := code_of(secret)) == USED.get(secret):
        visitor.page.wait_for_timeout(500)
    return code


def enter_code(visitor: Visitor, secret: str, button: str) -> None:
    """Type the app's code and press the button; once more if the code ran out on the way."""
    place, code = visitor.page.url, next_code(visitor, secret)
    for _ in range(2):
        USED[secret] = code
        visitor.page.fill("input[name=code]", code)
        visitor.press(button, exact=True)
        visitor.page.wait_for_load_state()
        if visitor.page.url != place or code_of(secret) == code:
            return
        code = code_of(secret)


def enrol_app(visitor: Visitor) -> str:
    """Set an authenticator app up through the pages; the secret that the page showed."""
    visitor.go("/account/2fa/")
    visitor.follow("Set up")
    if "/reauthenticate/" in visitor.page.url:
        visitor.confirm_password()
    secret = visitor.page.get_by_label("Authenticator secret").input_value()
    enter_code(visitor, secret, "Activate")
    visitor.go("/account/2fa/")
    visitor.sees("You enter a code from your app after the password.")
    return secret


def add_authenticator(visitor: Visitor) -> None:
    """A key built into the browser's device that confirms whoever asks: Chromium's virtual authenticator."""
    devtools = visitor.page.context.new_cdp_session(visitor.page)
    devtools.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options})
