"""Which of its credentials a node uses, by its own choice of authentication."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .webhook_addresses import WEBHOOKS

# What the choice of a webhook's authentication asks for; others choose among the types by themselves.
_WEBHOOK_AUTHENTICATION = {
    "none": frozenset[str](),
    "n8nUserAuth": frozenset[str](),
    "basicAuth": frozenset({"httpBasicAuth"}),
    "headerAuth": frozenset({"httpHeaderAuth"}),
    "bearerAuth": frozenset({"httpBearerAuth"}),
    "jwtAuth": frozenset({"jwtAuth"}),
}
#: The parameter that names the credential's type, by how a node signs in.
_NAMED_IN = {"predefinedCredentialType": "nodeCredentialType", "genericCredentialType": "genericAuthType"}
_HTTP_REQUESTS = frozenset({"n8n-nodes-base.httpRequest", "n8n-nodes-base.httpRequestTool"})


def credentials_in_use(node: Mapping[str, Any]) -> frozenset[str] | None:
    """The types that the node's own choice of authentication asks for; None where that is not known.

    n8n keeps the entry of an earlier choice in the node, where it is neither shown nor used.
    """
    parameters = node.get("parameters")
    if not isinstance(parameters, dict):
        return None
    kind, choice = node.get("type"), parameters.get("authentication")
    if kind in WEBHOOKS:
        return _WEBHOOK_AUTHENTICATION.get(choice or "none") if isinstance(choice, str | None) else None
    if choice in _NAMED_IN:
        return _named_type(parameters, _NAMED_IN[choice])
    if kind in _HTTP_REQUESTS and choice == "none":
        return _certificates(parameters)
    if isinstance(choice, str) and not choice.startswith("="):
        return _by_oauth(node.get("credentials") or {}, choice)
    return None


def _named_type(parameters: Mapping[str, Any], parameter: str) -> frozenset[str] | None:
    named = parameters.get(parameter)
    if not isinstance(named, str) or not named or named.startswith("="):
        return None
    return frozenset({named, *_certificates(parameters)})


def _by_oauth(held: Mapping[str, Any], choice: str) -> frozenset[str] | None:
    """Of several credentials those for OAuth, or the others; None where all or none are for OAuth."""
    oauth = frozenset(kind for kind in held if kind.lower().endswith("oauth2api"))
    if len(held) <= 1 or not oauth or oauth == held.keys():
        return None
    return oauth if choice.lower() == "oauth2" else frozenset(held) - oauth


def _certificates(parameters: Mapping[str, Any]) -> frozenset[str]:
    return frozenset({"httpSslAuth"}) if parameters.get("provideSslCertificates") else frozenset()
