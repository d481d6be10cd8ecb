"""What the workflows sign in with, and where the shop is."""

from __future__ import annotations

#: Credential type → its name, alike in every environment; its id is each instance's own.
CREDENTIALS = {
    "postgres": "Shop database",
    "httpHeaderAuth": "Shop API",
    "slackApi": "Slack bot",
    "smtp": "Outgoing mail",
    "openAiApi": "OpenAI",
    "hubspotAppToken": "HubSpot",
    "googleCalendarOAuth2Api": "Delivery calendar",
}

API = "https://api.larkfield.example"
