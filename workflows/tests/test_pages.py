"""The matrix, environments, mapping and credentials as people meet them."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from core import clock
from operations.models import Operation, Schedule
from tenants.scope import tenant_scope
from tests.reading import flat
from workflows import credentials, identity, selectors, services, surroundings
from workflows.matrix_list import Asked
from workflows.models import CredentialMapping, Environment, WorkflowEnvMap

from .test_identity import approve, capture, make_environments, raw

KEY = "n8n_api_key_that_nobody_may_see"


@pytest.fixture
def signed_in(cast: Any, client: Client) -> Any:
    def sign_in(person: str = "owner") -> Client:
        client.force_login(getattr(cast, person), backend="allauth.account.auth_backends.AuthenticationBackend")
        return client

    return sign_in


def at(cast: Any, name: str, **kwargs: Any) -> str:
    return reverse(name, kwargs={"tenant_slug": cast.tenant.slug, **kwargs})


def estate(cast: Any, count: int = 3) -> list[Environment]:
    environments = make_environments(cast, "dev", "prod")
    for environment in environments:
        placed = capture(environment, *[raw(f"{environment.slug}{n}", f"Flow {n:04}") for n in range(count)])
        approve(environment, placed)
        with tenant_scope(cast.tenant.pk):
            Environment.objects.filter(pk=environment.pk).update(last_captured_at=clock.now())
    return environments


def form(**changes: Any) -> dict[str, Any]:
    return {
        "name": "Staging",
        "slug": "",
        "kind": "staging",
        "base_url": "http://127.0.0.1:9/",
        "api_key": KEY,
        "capture_every": "3600",
    } | changes


@pytest.mark.parametrize("person", ["owner", "operator", "approver", "viewer"])
def test_the_rail_leads_nowhere_that_is_refused(cast: Any, signed_in: Any, person: str) -> None:
    client = signed_in(person)
    for start in (at(cast, "tenant-home"), "/"):
        rail = client.get(start).content.decode().partition('<nav id="rail"')[2].partition("</nav>")[0]
        for link in re.findall(r'href="(/[^"]*)"', rail):
            assert client.get(link, follow=True).status_code == 200, f"{person}: {link}"


# -- environments --------------------------------------------------------------------------------------------------


def test_adding_an_environment_hides_its_key_for_good(cast: Any, signed_in: Any) -> None:
    client = signed_in()
    answer = client.post(at(cast, "environment-create"), form())
    assert answer.status_code == 302
    with tenant_scope(cast.tenant.pk):
        made = Environment.objects.get(slug="staging")
        assert made.base_url == "http://127.0.0.1:9" and KEY not in made.api_key_encrypted
        assert Operation.objects.filter(kind="environments.test", environment_id=made.pk).exists()
        assert Schedule.objects.get(environment_id=made.pk).every_seconds == 3600
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM audit_logs WHERE details::text LIKE %s", [f"%{KEY}%"])
            assert cursor.fetchone() == (0,)
    for name in ("environment", "environment-edit", "environment-mapping"):
        page = client.get(at(cast, name, pk=made.pk)).content.decode()
        assert KEY not in page and made.api_key_encrypted not in page


def test_a_refused_form_keeps_what_was_typed(cast: Any, signed_in: Any) -> None:
    client = signed_in()
    for wrong, word in (
        ({"base_url": "http://me:secret@127.0.0.1/"}, "password"),
        ({"base_url": "http://127.0.0.1/?a=1"}, "query"),
        ({"base_url": "ftp://example.org"}, "start with"),
        ({"slug": "No Good"}, "small letters"),
    ):
        answer = client.post(at(cast, "environment-create"), form(name="Kept name", **wrong))
        page = answer.content.decode()
        assert answer.status_code == 422 and "Kept name" in page and word in page and KEY not in page
    client.post(at(cast, "environment-create"), form(slug="one"))
    again = client.post(at(cast, "environment-create"), form(slug="one", name="Second"))
    assert again.status_code == 422 and "already uses this short name" in again.content.decode()


def test_another_address_needs_the_key_again(cast: Any, signed_in: Any) -> None:
    client = signed_in()
    made = services.create_environment(
        tenant_id=cast.tenant.pk, name="Prod", kind="production", base_url="http://127.0.0.1:9", api_key=KEY
    )
    moved = client.post(at(cast, "environment-edit", pk=made.pk), form(base_url="http://127.0.0.1:10", api_key=""))
    assert moved.status_code == 422 and "Enter the key" in moved.content.decode()
    kept = client.post(at(cast, "environment-edit", pk=made.pk), form(name="Renamed", api_key=""))
    assert kept.status_code == 302
    with tenant_scope(cast.tenant.pk):
        now = Environment.objects.get(pk=made.pk)
        assert now.name == "Renamed" and now.slug == "prod" and now.api_key_encrypted == made.api_key_encrypted


def test_archiving_needs_the_name_and_forgets_the_key(cast: Any, signed_in: Any) -> None:
    client = signed_in()
    made = services.create_environment(
        tenant_id=cast.tenant.pk, name="Old", kind="dev", base_url="http://127.0.0.1:9", api_key=KEY
    )
    assert client.post(at(cast, "environment-archive", pk=made.pk), {"typed": "x"}).status_code == 422
    assert client.post(at(cast, "environment-archive", pk=made.pk), {"typed": "Old"}).status_code == 302
    with tenant_scope(cast.tenant.pk):
        now = Environment.objects.get(pk=made.pk)
        assert now.is_archived and not now.api_key_encrypted


def test_the_connection_report_stays_on_the_environment(cast: Any, signed_in: Any, run_operations: Any) -> None:
    made = services.create_environment(
        tenant_id=cast.tenant.pk, name="Dev", kind="dev", base_url="http://127.0.0.1:1", api_key=KEY
    )
    client = signed_in("operator")
    assert client.post(at(cast, "environment-test", pk=made.pk)).status_code == 302
    assert run_operations(cast.tenant) == ["COMPLETED"]
    with tenant_scope(cast.tenant.pk):
        now = Environment.objects.get(pk=made.pk)
        assert now.connection_status == "failed" and KEY not in str(now.connection_report)
    page = client.get(at(cast, "environment", pk=made.pk)).content.decode()
    assert "Reachable" in page and "Not tested, because" in page
    assert re.search(r"Completed\s*</span>\s*<span[^>]*>it does not hold", page), "a job that ended well found a fault"
    jobs = client.get(at(cast, "jobs")).content.decode()
    assert "it does not hold" in jobs


def test_the_whole_page_follows_a_test_of_the_connection(cast: Any, signed_in: Any, run_operations: Any) -> None:
    dev, _prod = estate(cast)
    client, here = signed_in("operator"), at(cast, "environment", pk=dev.pk)
    client.post(at(cast, "environment-test", pk=dev.pk))
    assert "HX-Retarget" not in client.get(here, headers={"HX-Request": "true"})
    run_operations(cast.tenant)
    over = client.get(here, headers={"HX-Request": "true"})
    assert over["HX-Retarget"] == over["HX-Reselect"] == "#content"
    assert "Recent jobs" in over.content.decode() and "Pending" not in over.content.decode()


def test_an_environment_says_what_its_n8n_can_do_and_why_it_matters(cast: Any, signed_in: Any) -> None:
    dev, _prod = estate(cast)
    with tenant_scope(cast.tenant.pk):
        Environment.objects.filter(pk=dev.pk).update(
            capabilities={"stage": False, "activate_version": True}, connection_report={"capabilities": {"stage": True}}
        )
    surroundings.keep(dev, surroundings.Surroundings(scopes=("workflow:list",)), None)
    told = " ".join(signed_in("operator").get(at(cast, "environment", pk=dev.pk)).content.decode().split())
    assert "Save a draft beside what runs" in told
    assert "Without it, every write to a published workflow is live at once." in told, (
        "a capture knows better than an old test"
    )
    assert "activate version" not in told
    assert "<code>workflow:update</code> missing" in told and "<code>workflow:list</code>" in told


def test_other_tenants_objects_are_not_there(cast: Any, signed_in: Any) -> None:
    dev, _prod = estate(cast)
    client = signed_in("stranger")
    for name, kwargs in (
        ("tenant-home", {}),
        ("environments", {}),
        ("environment", {"pk": dev.pk}),
        ("environment-edit", {"pk": dev.pk}),
        ("environment-mapping", {"pk": dev.pk}),
        ("credentials", {}),
    ):
        assert client.get(at(cast, name, **kwargs)).status_code == 404
        own = reverse(name, kwargs={"tenant_slug": cast.other_tenant.slug, **kwargs})
        assert client.get(own).status_code == (404 if kwargs else 200)
    own_test = reverse("environment-test", kwargs={"tenant_slug": cast.other_tenant.slug, "pk": dev.pk})
    assert client.post(own_test).status_code == 404
    assert client.get(at(cast, "environment", pk=uuid.uuid4())).status_code == 404


def test_roles_decide_what_may_be_done(cast: Any, signed_in: Any) -> None:
    dev, _ = estate(cast)
    client = signed_in("viewer")
    assert client.get(at(cast, "environment", pk=dev.pk)).status_code == 200
    assert client.get(at(cast, "environment-create")).status_code == 403
    assert client.post(at(cast, "environment-test", pk=dev.pk)).status_code == 403
    with tenant_scope(cast.tenant.pk):
        place = WorkflowEnvMap.objects.filter(environment=dev).first()
    mapping = at(cast, "environment-mapping", pk=dev.pk)
    assert client.post(mapping, {"place": place.pk, "action": "ignore"}).status_code == 403
    from workflows.permissions import set_environment_grants

    set_environment_grants(environment=dev, user=cast.viewer, grants={"operate_environment"})
    assert client.post(mapping, {"place": place.pk, "action": "ignore"}).status_code == 302


# -- the matrix ----------------------------------------------------------------------------------------------------


def states(cast: Any, **filters: Any) -> dict[str, list[str]]:
    with tenant_scope(cast.tenant.pk):
        found = selectors.matrix(Asked(**filters))
        return {row.workflow.name: [cell.state for cell in row.cells] for row in found.rows}


def test_cells_say_what_is_known(cast: Any) -> None:
    dev, prod = estate(cast, 0)
    names = ["Drifts", "Gone", "Newer", "Same"]
    approve(dev, capture(dev, *[raw(f"d{n}", n) for n in names], raw("d5", "Only here")))
    approve(prod, capture(prod, *[raw(f"p{n}", n) for n in names]))
    capture(dev, *[raw(f"d{n}", n) for n in names], raw("d5", "Only here"))
    changed = capture(
        prod, raw("pDrifts", "Drifts", note="by hand"), raw("pNewer", "Newer", note="x"), raw("pSame", "Same")
    )
    approve(prod, {"pNewer": changed["pNewer"]})
    assert states(cast) == {
        "Drifts": ["in_sync", "drifted"],
        "Gone": ["in_sync", "missing"],
        "Newer": ["in_sync", "differs"],
        "Only here": ["in_sync", ""],
        "Same": ["in_sync", "in_sync"],
    }
    assert set(states(cast, state="drifted")) == {"Drifts"}
    assert set(states(cast, state="differs")) == {"Drifts", "Newer"}
    assert set(states(cast, state="missing")) == {"Gone"}
    assert set(states(cast, q="new")) == {"Newer"}
    with tenant_scope(cast.tenant.pk):
        Environment.objects.filter(pk=prod.pk).update(last_capture_error={"code": "X"})
    assert all(row[1] in ("unknown", "unknown") for row in states(cast).values()), "unknown is never drawn as good"


def test_each_number_of_an_environment_leads_to_the_rows_that_it_counts(cast: Any, signed_in: Any) -> None:
    dev, prod = estate(cast, 0)
    for environment in (dev, prod):
        names = ["Edited", "Gone", "Same", *(["Edited here too"] if environment == prod else [])]
        approve(environment, capture(environment, *[raw(f"{environment.slug}{n}", n) for n in names]))
        edited = [raw(f"{environment.slug}{n}", n, note="by hand") for n in names if n.startswith("Edited")]
        capture(environment, *edited, raw(f"{environment.slug}Same", "Same"))
    owner = signed_in()
    for environment, drifted in ((dev, 1), (prod, 2)):
        with tenant_scope(cast.tenant.pk):
            counts = selectors.environment_counts()[environment.pk]
        assert counts["drifted"] == drifted, "the other environment's are not among them"
        pages = owner.get(at(cast, "environment", pk=environment.pk)), owner.get(at(cast, "environments"))
        mapping = at(cast, "environment-mapping", pk=environment.pk)
        for name in ("workflows", "drifted", "missing"):
            address = f"{mapping}?status={name}"
            assert all(address in page.content.decode() for page in pages), name
            listed = owner.get(address).content.decode()
            assert listed.count('<th scope="row">') == counts[name] > 0, name


def test_drafts_and_archived_ones_can_be_filtered_and_are_named(cast: Any, signed_in: Any) -> None:
    dev, _prod = estate(cast, 0)
    approve(dev, capture(dev, raw("a", "Drafted"), raw("b", "Put away"), raw("c", "Plain")))
    capture(dev, raw("a", "Drafted"), raw("b", "Put away"), raw("c", "Plain"))
    with tenant_scope(cast.tenant.pk):
        WorkflowEnvMap.objects.filter(env_name="Drafted").update(env_draft_hash="d" * 64)
        WorkflowEnvMap.objects.filter(env_name="Put away").update(env_facts={"v": 1, "archived": True})
        Environment.objects.filter(pk=dev.pk).update(last_captured_at=clock.now(), connection_status="ok")
    assert set(states(cast, state="draft")) == {"Drafted"}
    assert set(states(cast, state="archived")) == {"Put away"}
    shown = signed_in().get(at(cast, "tenant-home")).content.decode()
    assert "draft saved" in shown and "Not published" in shown and ">Archived<" in shown
    assert "Inactive" not in shown, "one word for one state"


def test_a_switch_and_what_nobody_approved_are_drift(cast: Any) -> None:
    dev, _prod = estate(cast, 0)
    here = [raw("a", "Switched off"), raw("b", "Off"), raw("d", "Edited")]
    approve(dev, capture(dev, *here))
    capture(dev, *here[:2], raw("d", "Edited", note="by hand"), raw("c", "New"))
    with tenant_scope(cast.tenant.pk):
        Environment.objects.filter(pk=dev.pk).update(baseline_commit_sha="f" * 40)
        WorkflowEnvMap.objects.filter(env_name="Switched off").update(git_active=True)
        WorkflowEnvMap.objects.filter(env_name="Off").update(git_active=False)
    assert {name: cells[0] for name, cells in states(cast).items()} == {
        "Edited": "drifted", "New": "drifted", "Off": "in_sync", "Switched off": "drifted",
    }  # fmt: skip
    assert set(states(cast, state="drifted")) == {"Edited", "New", "Switched off"}
    with tenant_scope(cast.tenant.pk):
        found = selectors.matrix()
        why = {row.workflow.name: row.cells[0].why for row in found.rows}
        assert found.counts["drifted"] == selectors.environment_counts()[dev.pk]["drifted"] == 3
    assert why["Switched off"] == "unpublished since it was approved"
    assert why["New"] == "appeared; nobody approved it"


def test_the_matrix_costs_the_same_whatever_its_size(cast: Any, signed_in: Any) -> None:
    dev, prod = estate(cast, 2)
    client = signed_in()
    client.get(at(cast, "tenant-home"))

    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as caught:
            assert client.get(at(cast, "tenant-home") + "?limit=100").status_code == 200
        return len(caught)

    few = queries()
    for environment in (dev, prod):
        capture(environment, *[raw(f"{environment.slug}{n}", f"Flow {n:04}") for n in range(300)])
    assert queries() == few
    # Some of them ask for the first steps, which a tenant has taken sooner or later.
    assert few <= 35


def test_filtering_swaps_the_list_alone(cast: Any, signed_in: Any) -> None:
    estate(cast, 3)
    client = signed_in()
    part = client.get(at(cast, "tenant-home") + "?q=0002", headers={"HX-Request": "true"}).content.decode()
    assert "Flow 0002" in part and "Flow 0001" not in part and "<html" not in part


def test_a_selection_leads_to_the_page_that_acts(cast: Any, signed_in: Any) -> None:
    _dev, _prod = estate(cast, 2)
    client = signed_in()
    pair = {"source": "dev", "target": "prod", "selected": ["flow-0000"]}
    answer = client.get(at(cast, "matrix-go"), pair | {"action": "compare"})
    assert answer.status_code == 302 and "left=prod&right=dev" in answer["Location"]
    assert client.get(at(cast, "matrix-go"), pair | {"action": "compare", "target": "dev"}).status_code == 422
    assert client.get(at(cast, "matrix-go"), pair | {"action": "no"}).status_code == 422


# -- identities and credentials ------------------------------------------------------------------------------------


def test_deciding_about_an_unmapped_workflow(cast: Any, signed_in: Any) -> None:
    dev, prod = make_environments(cast, "dev", "prod")
    first = capture(dev, raw("1", "Sync"), raw("2", "Bill"))
    second = capture(prod, raw("a", "sync", note="x"), raw("b", "Bill", kind="slack"))
    client = signed_in("operator")
    mapping = at(cast, "environment-mapping", pk=prod.pk)
    page = client.get(mapping).content.decode()
    assert f'value="{first["1"].key}"' in page, "the namesake is offered"
    client.post(mapping, {"place": second["a"].map_id, "action": "link", "key": first["1"].key})
    client.post(mapping, {"place": second["b"].map_id, "action": "confirm"})
    with tenant_scope(cast.tenant.pk):
        assert identity.key_by_workflow_id(prod.pk) == {"a": first["1"].key, "b": second["b"].key}
        assert not WorkflowEnvMap.objects.filter(status="unmapped").exists()
    assert client.post(mapping, {"place": uuid.uuid4(), "action": "ignore"}).status_code == 404


def test_credentials_are_suggested_by_type_and_name(cast: Any, signed_in: Any) -> None:
    dev, prod = make_environments(cast, "dev", "prod")
    capture(dev, raw("1", "A", cred="main"), raw("2", "B", cred="only dev"))
    capture(prod, raw("a", "A", cred="main"), raw("b", "B", cred="only prod"))
    client = signed_in("operator")
    address = at(cast, "credentials")
    pair = {"source": "dev", "target": "prod"}
    assert "Map it" in client.get(address, pair).content.decode()
    assert client.post(address, pair | {"action": "accept"}).status_code == 302
    chosen = {"credential_type": "httpApi", "source_name": "only dev", "source_credential_id": "id-only dev"}
    assert client.post(address, pair | chosen | {"target_credential_id": "id-only prod"}).status_code == 302
    assert client.post(address, pair | chosen | {"target_credential_id": "elsewhere"}).status_code == 422
    with tenant_scope(cast.tenant.pk):
        rows = credentials.credential_rows(source_environment_id=dev.pk, target_environment_id=prod.pk)
        assert {row.name: row.mapping.target_name for row in rows} == {"main": "main", "only dev": "only prod"}
        mapping = CredentialMapping.objects.first()
    client.post(address, pair | {"action": "remove", "mapping": mapping.pk})
    entered = {"credential_type": "slackApi", "name": "Slack", "credential_id": "s1"}
    assert client.post(at(cast, "credential-enter"), pair | entered).status_code == 302
    empty = client.post(at(cast, "credential-enter"), pair | {"credential_type": "kept", "credential_id": ""})
    assert empty.status_code == 422 and 'value="kept"' in empty.content.decode()
    # On the way from one pair to another both selects may name the same.
    both = client.get(address, {"source": "dev", "target": "dev"})
    assert both.status_code == 200 and "Choose two different environments" in both.content.decode()


def test_a_search_that_finds_nothing_says_so_and_not_that_all_is_confirmed(cast: Any, signed_in: Any) -> None:
    dev, prod = make_environments(cast, "dev", "prod")
    capture(dev, raw("1", "Sync"))
    capture(prod, raw("a", "sync", note="x"))
    mapping, client = at(cast, "environment-mapping", pk=prod.pk), signed_in("operator")
    for status in ("unmapped", "", "missing"):
        page = client.get(mapping, {"status": status, "q": "elsewhere"}).content.decode()
        assert "Nothing matches" in page and "confirmed" not in page and "Capture the environment" not in page
    assert (
        "No workflow of this environment is in this state"
        in client.get(mapping, {"status": "missing"}).content.decode()
    )


def test_a_refusal_leads_back_to_the_page_it_came_from(cast: Any, signed_in: Any) -> None:
    dev = make_environments(cast, "dev")[0]
    client, archive = signed_in(), at(cast, "environment-archive", pk=dev.pk)
    page = f"http://testserver{at(cast, 'environment', pk=dev.pk)}"
    refused = client.post(archive, {"typed": "wrong"}, headers={"referer": page})
    assert refused.status_code == 422 and f'href="{page}">Go back' in flat(refused.content)
    for elsewhere in ("https://evil.example/", "javascript:alert(1)", ""):
        refused = client.post(archive, {"typed": "wrong"}, headers={"referer": elsewhere})
        assert refused.status_code == 422 and "Go back" not in refused.content.decode()
