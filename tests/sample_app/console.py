"""What bottles tell the console of themselves: one of each kind of declaration."""

from core.acts import ActName, ActTeller, ActWords
from core.declarations import Gauge, Grant, JobKind, Shape, State, Tone
from core.events import Consumer, EventType
from core.registry import (
    Console,
    Destination,
    EventStream,
    HealthComponent,
    HealthService,
    PeriodicTask,
    RecordFinder,
    RestRouter,
    Subject,
    TrailAction,
)

from . import search
from .demo import DEMO_CHAPTER
from .domain_events import BottleEmptied, replace
from .estate import HOME_PART, TILE_PART, in_store
from .probes import shelf
from .reports import BOTTLES, KEEPERS
from .session_revert import FILLING, Bottles

console = Console(
    destinations=(
        Destination(
            url_name="bottles",
            title="Bottles",
            search_words="flasks",
            icon="beaker",
            rail_position=65,
            shortcut="z",
            badge=in_store,
        ),
    ),
    record_finders=(RecordFinder(label="Bottles", position=65, find=search.bottles, by_id=search.bottle_by_id),),
    health_components=(HealthComponent(name="shelf", title="Shelf", position=70, probe=shelf),),
    health_services=(HealthService(name="bottles", components=("database", "shelf")),),
    metrics=(Gauge(name="sample_bottles", description="Bottles on the shelf.", read=lambda: 3.0),),
    event_streams=(EventStream(name="bottles", job_kinds=("bottles.fill",)),),
    periodic_tasks=(PeriodicTask(name="count-bottles", task="sample_app.tasks.count", every_seconds=60.0),),
    rest_routers=(RestRouter(path="tests.sample_app.rest.router", tag="bottles"),),
    subjects=(
        Subject(
            table="sample_bottles",
            noun="bottle",
            title="Bottles",
            position=300,
            url_name="bottle",
            job_subject="bottle",
            changes_access=True,
        ),
    ),
    states=(State(name="corked", shape=Shape.PENDING, tone=Tone.BLUE, word="Corked"),),
    grants=(Grant(name="fill_bottles", words="Fill bottles", roles=("operator",)),),
    tile_parts=(TILE_PART,),
    home_parts=(HOME_PART,),
    demo_chapters=(DEMO_CHAPTER,),
    reports=(BOTTLES,),
    access_sources=(KEEPERS,),
    job_kinds=(JobKind(name="bottles.fill", handler="tests.sample_app.handlers.Fill", reverter=FILLING),),
    row_reverters=(Bottles(),),
    bookkeeping_tables=("sample_sips",),
    act_words=(ActWords(table="sample_bottles", action="CREATE", words="Put {name} on the shelf", position=40),),
    act_tellers=(
        ActTeller(table="sample_bottles", tell=lambda rows: {row.pk: ActName(name="a bottle") for row in rows}),
    ),
    trail_actions=(TrailAction(code="BOTTLE_OPENED", words="Bottle opened", state="info", position=400),),
    events=(EventType(name="bottle.emptied", payload=BottleEmptied, words="Bottle emptied"),),
    consumers=(Consumer(name="bottles.replace", title="New bottles", events=(BottleEmptied,), handle=replace),),
    urls=("tests.sample_app.urls",),
)
