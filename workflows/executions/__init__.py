"""Whether workflows run: n8n's executions, read regularly, counted, shown, and retried where they failed."""
