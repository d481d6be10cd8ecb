"""Which version of n8n an instance resembles, and what differs between versions: one row of a table each.

`1.123`, `2.0` and `2.41` are held to real instances by tests/contract; the others take from those what the published
packages say that they have. Where it is not known when a rule came, it comes with the row that says `assumed`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Profile:
    """One version of n8n. ``release``: its major and minor number, which every rule is asked of."""

    name: str
    n8n_version: str
    release: tuple[int, int]

    @property
    def has_drafts(self) -> bool:
        """A save may stay behind what runs; `activate` takes a version id; content alone makes a new version id.

        What is called must be published to run, and can be: a sub-workflow or an error handler is started by others.
        """
        return self.release >= (2, 0)

    @property
    def callees_first(self) -> bool:
        """Publishing is refused while a workflow that is called directly is not published."""
        return self.release >= (2, 8)

    @property
    def lists_credentials(self) -> bool:
        return self.release >= (2, 8)

    @property
    def stops_executions(self) -> bool:
        return self.release >= (2, 10)

    @property
    def archives(self) -> bool:
        """Archive and unarchive, `GET /discover`, `pinData` in writes."""
        return self.release >= (2, 15)

    @property
    def has_folders(self) -> bool:
        """Folders, insights, credentials one by one and their test, `description` in PUT, `projectId` in POST."""
        return self.release >= (2, 20)

    @property
    def lists_folders(self) -> bool:
        """The list has the folder of a workflow (assumed: that of 2.41 does not)."""
        return self.has_folders and self.release < (2, 41)

    @property
    def has_data_tables(self) -> bool:
        """Data tables and community packages (assumed: seen in 2.41)."""
        return self.release >= (2, 20)

    @property
    def checks_structure(self) -> bool:
        """Dangling connections and names or ids used twice are refused on POST and PUT."""
        return self.release >= (2, 24)

    @property
    def gives_webhook_ids(self) -> bool:
        """A webhook, form or chat that is stored without a webhook id gets one (assumed: seen in 2.41)."""
        return self.release >= (2, 24)

    @property
    def has_node_groups(self) -> bool:
        return self.release >= (2, 28)

    @property
    def stages(self) -> bool:
        """Publish, unpublish, history, versions, and PUT that leaves a draft beside what runs."""
        return self.release >= (2, 35)

    @property
    def strict(self) -> bool:
        """The calls whose path parameter is spelt `{workflowId}`: bodies described inline, other error messages.

        A limit is capped, unknown keys of the query are ignored, names have 1 to 128 characters, and create adds no
        settings of its own (assumed: seen in 2.41).
        """
        return self.release >= (2, 38)

    @property
    def publishes_later(self) -> bool:
        """The reply comes before the triggers are registered; a published workflow cannot be deleted."""
        return self.release >= (2, 40)


PROFILES: Mapping[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile("1.123", "1.123.0", (1, 123)),
        Profile("2.0", "2.0.3", (2, 0)),
        Profile("2.8", "2.8.4", (2, 8)),
        Profile("2.20", "2.20.12", (2, 20)),
        Profile("2.24", "2.24.0", (2, 24)),
        Profile("2.28", "2.28.6", (2, 28)),
        Profile("2.35", "2.35.7", (2, 35)),
        Profile("2.38", "2.38.7", (2, 38)),
        Profile("2.40", "2.40.7", (2, 40)),
        Profile("2.41", "2.41.1", (2, 41)),
    )
}
DEFAULT_PROFILE = "1.123"
