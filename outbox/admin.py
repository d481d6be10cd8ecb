"""The outbox in the admin: to look at."""

from django.contrib import admin

from core.admin import ConsoleAdmin

from .models import ConsumerCursor, Delay, OutboxEvent, ParkedEvent


@admin.register(OutboxEvent)
class OutboxEventAdmin(ConsoleAdmin):
    list_display = ("name", "version", "tenant", "occurred_at", "sequence")
    list_filter = ("name",)
    list_select_related = ("tenant",)


@admin.register(ConsumerCursor)
class ConsumerCursorAdmin(ConsoleAdmin):
    list_display = ("name", "sequence", "handled", "handled_at", "batch_end")


@admin.register(Delay)
class DelayAdmin(ConsoleAdmin):
    list_display = ("consumer", "tenant", "sequence", "attempts", "next_try_at", "error")
    list_filter = ("consumer",)
    list_select_related = ("tenant",)


@admin.register(ParkedEvent)
class ParkedEventAdmin(ConsoleAdmin):
    list_display = ("consumer", "event", "tenant", "attempts", "error", "parked_at")
    list_filter = ("consumer",)
    list_select_related = ("tenant", "event")
