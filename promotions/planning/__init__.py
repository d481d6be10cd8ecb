"""What a promotion would do, and whether it may.

- ``inputs``: what is known of both environments; ``snapshot_contents`` and ``drift_incidents``: what Git and drift hold
- ``mapping``: a workflow as the target should have it
- ``needs``, ``offers``: what else it depends on there, and what the console can create
- ``called_workflows``: what must be published because others call it
- ``building``, ``warnings``: the plan; ``documents``: its shape and its hash; ``options``: the choices made for it
- ``gate_facts``, ``gates``: what must hold before it runs
- ``drafting``, ``approval``: the services that plan, submit and decide
"""
