"""Jobs make reports and send them, and the one scheduler says when: no claim, lease or timer of their own.

A run follows its job in the database itself, so that it does whoever changes the job: a worker, the reaper, or a person
at ``psql``. From the moment the file is there only the mail is left, and the run stays COMPLETED.
"""

import uuid
from typing import Any, ClassVar

import django.db.models.deletion
from django.db import migrations, models

from tenants.rls import platform_parent

OPEN = ["PENDING", "RUNNING", "RETRY_PENDING"]
DAYS = {"daily": "* * *", "weekly": "* * 1", "monthly": "1 * *"}

FOLLOW = """
CREATE FUNCTION opsconsole_report_follows_job() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $body$
DECLARE
    is_over boolean := NEW.status IN ('PARKED', 'FAILED', 'CANCELLED');
BEGIN
    UPDATE public.report_runs
       SET status = CASE WHEN is_over THEN 'FAILED' WHEN NEW.status = 'COMPLETED' THEN status ELSE NEW.status END,
           error = CASE WHEN NEW.status = 'CANCELLED' AND NEW.error_message = '' THEN 'The job was cancelled.'
                        ELSE left(NEW.error_message, 500) END,
           started_at = NEW.started_at,
           ended_at = CASE WHEN is_over THEN coalesce(NEW.ended_at, clock_timestamp()) END,
           progress_done = NEW.progress_done, fence = NEW.fence, attempt = NEW.attempt, run_after = NEW.run_after
     WHERE operation_id = NEW.id AND status <> 'COMPLETED';
    UPDATE public.report_runs
       SET fence = NEW.fence, attempt = NEW.attempt, run_after = NEW.run_after,
           mail_status = CASE WHEN is_over AND mail_status = 'SENDING' THEN 'UNKNOWN'
                              WHEN is_over AND mail_status = 'WAITING' THEN 'FAILED' ELSE mail_status END,
           mail_note = CASE WHEN is_over AND mail_status = 'SENDING'
                            THEN 'The worker that sent it is gone. It may have left or not.'
                            WHEN is_over AND mail_status = 'WAITING'
                            THEN coalesce(nullif(NEW.error_message, ''), 'The job was cancelled.')
                            ELSE mail_note END
     WHERE operation_id = NEW.id AND status = 'COMPLETED';
    RETURN NULL;
END
$body$
"""
TRIGGER = (
    "CREATE TRIGGER report_follows AFTER UPDATE OF status, progress_done ON background_jobs FOR EACH ROW"
    " WHEN (NEW.kind = 'reports.make') EXECUTE FUNCTION opsconsole_report_follows_job()"
)


def set_timers(apps: Any, schema_editor: Any) -> None:
    """Each schedule of a report becomes one of the console's."""
    Schedule, ReportSchedule = apps.get_model("operations", "Schedule"), apps.get_model("reports", "ReportSchedule")
    for row in ReportSchedule.objects.all():
        row.timer = Schedule.objects.create(
            id=uuid.uuid4(),
            tenant_id=row.tenant_id,
            name=f"Send a report ({str(row.pk)[:8]})",
            kind="reports.make",
            params={"schedule_id": str(row.pk), "due_at": ""},
            every_seconds=0,
            cron=f"0 {row.hour} {DAYS[row.frequency]}",
            is_enabled=row.is_enabled,
            next_run_at=row.next_run_at,
            last_run_at=row.last_run_at,
        )
        row.save(update_fields=["timer"])


def hand_over(apps: Any, schema_editor: Any) -> None:
    """What is asked for and not made, or made and not sent, gets a job. A mail on its way is nobody's any more."""
    Operation, ReportRun = apps.get_model("operations", "Operation"), apps.get_model("reports", "ReportRun")
    ReportRun.objects.filter(mail_status="SENDING").update(
        mail_status="UNKNOWN", mail_note="The console was upgraded while it was sent. It may have left or not."
    )
    open_ones = models.Q(status__in=OPEN) | models.Q(status="COMPLETED", mail_status="WAITING")
    for run in ReportRun.objects.filter(open_ones):
        job = Operation.objects.create(
            id=uuid.uuid4(),
            tenant_id=run.tenant_id,
            kind="reports.make",
            title="Make a report",
            params={"run_id": str(run.pk)},
            context=run.context,
            requested_by_id=run.requested_by_id,
            idempotency_key=f"report-{run.pk}",
            subject_type="report",
            subject_id=run.pk,
        )
        status = run.status if run.status == "COMPLETED" else "PENDING"
        ReportRun.objects.filter(pk=run.pk).update(
            operation_id=job.pk, status=status, attempt=0, run_after=None, lease_expires_at=None
        )


class Migration(migrations.Migration):
    dependencies: ClassVar = [("reports", "0002_privileges"), ("operations", "0008_schedules_by_the_clock")]
    operations: ClassVar = [
        migrations.AddField(
            model_name="reportrun",
            name="operation_id",
            field=models.UUIDField(blank=True, help_text="The job that makes or sends it; the last one.", null=True),
        ),
        migrations.AlterField(
            model_name="reportrun",
            name="lease_expires_at",
            field=models.DateTimeField(blank=True, help_text="Empty: the operation has the lease.", null=True),
        ),
        migrations.AddField(
            model_name="reportschedule",
            name="timer",
            field=models.OneToOneField(
                null=True, on_delete=django.db.models.deletion.CASCADE, related_name="+", to="operations.schedule"
            ),
        ),
        migrations.RunPython(set_timers, migrations.RunPython.noop),
        migrations.RunPython(hand_over, migrations.RunPython.noop),
        # What the rows above have to prove is proven now: a table with open questions cannot be altered.
        migrations.RunSQL("SET CONSTRAINTS ALL IMMEDIATE", migrations.RunSQL.noop),
        migrations.AddIndex(
            model_name="reportrun", index=models.Index(fields=["operation_id"], name="report_runs_operation")
        ),
        migrations.AlterField(
            model_name="reportschedule",
            name="timer",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.CASCADE, related_name="+", to="operations.schedule"
            ),
        ),
        migrations.RemoveIndex(model_name="reportschedule", name="report_schedules_due"),
        migrations.RemoveField(model_name="reportschedule", name="is_enabled"),
        migrations.RemoveField(model_name="reportschedule", name="next_run_at"),
        migrations.RemoveField(model_name="reportschedule", name="last_run_at"),
        migrations.RunSQL(
            "ALTER TABLE report_schedules ADD CONSTRAINT report_schedules_timer_id_same_tenant"
            " FOREIGN KEY (tenant_id, timer_id) REFERENCES schedules (tenant_id, id) DEFERRABLE INITIALLY DEFERRED",
            "ALTER TABLE report_schedules DROP CONSTRAINT report_schedules_timer_id_same_tenant",
        ),
        platform_parent("report_schedules", "timer_id", "schedules"),
        platform_parent("report_runs", "schedule_id", "report_schedules"),
        migrations.RunSQL(
            [FOLLOW, TRIGGER],
            ["DROP TRIGGER report_follows ON background_jobs", "DROP FUNCTION opsconsole_report_follows_job()"],
        ),
    ]
