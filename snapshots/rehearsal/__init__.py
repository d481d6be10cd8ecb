"""Rehearsing an upgrade: what another version of n8n would refuse, change or run differently, before anybody upgrades.

A snapshot is written into an n8n of the chosen version that is started for this alone: a folder of its own, no
credentials' values, nothing published, no connection to anything but itself. It ends with the job.
"""
