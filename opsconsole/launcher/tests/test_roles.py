from __future__ import annotations

import pytest

from opsconsole.launcher import roles
from opsconsole.launcher.home import CHECKOUT


def test_the_guide_has_the_sql_that_the_launcher_runs() -> None:
    assert (CHECKOUT / "docs" / "guide" / "roles.sql").read_text(encoding="utf-8") == roles.guide_sql()


@pytest.mark.parametrize("name", ['a"; DROP ROLE x; --', "", "Upper", "with space", "1st", "x" * 64])
def test_only_plain_database_names_are_taken(name: str) -> None:
    with pytest.raises(ValueError, match="plain"):
        roles.quote_name(name)


def test_a_quote_in_a_password_stays_inside_it() -> None:
    assert "PASSWORD 'it''s'" in roles.cluster_sql({"opsconsole_app": "it's"}, create_databases=False)
