"""Composition: every setting comes from the environment, with defaults only where they are safe."""

from __future__ import annotations

import ipaddress
import os
import shlex
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent


def env(name: str, default: str = "") -> str:
    return os.environ.get(name, default)


def env_list(name: str, default: str = "") -> list[str]:
    return [part.strip() for part in env(name, default).split(",") if part.strip()]


def env_int(name: str, default: int) -> int:
    return int(env(name) or default)


def env_float(name: str, default: float) -> float:
    return float(env(name) or default)


MODES = ("demo", "dev", "test", "production")
MODE = env("OPSCONSOLE_MODE")
if MODE not in MODES:
    # None is the default: a production start that lost its environment must not come up with the demo's secrets.
    raise ImproperlyConfigured(
        f"OPSCONSOLE_MODE is {repr(MODE) if MODE else 'not set'}; it must be one of {', '.join(MODES)}."
        " Way out: script/up and script/test set it; elsewhere export it, as docs/guide/production.md says."
    )
PRODUCTION = MODE == "production"
DEBUG = env("OPSCONSOLE_DEBUG") == "1"
HOME = Path(env("OPSCONSOLE_HOME") or BASE_DIR / ".data")
PORT = env_int("OPSCONSOLE_PORT", 8000)

DEMO_SECRET_KEY = "demo-only-not-a-secret-" + "x" * 40
DEMO_FIELD_KEY = "ZGVtby1vbmx5LWtleS1ub3QtYS1zZWNyZXQtMDEyMzQ="
SECRET_KEY = env("OPSCONSOLE_SECRET_KEY") or DEMO_SECRET_KEY
FIELD_KEYS = env_list("OPSCONSOLE_FIELD_KEYS") or [DEMO_FIELD_KEY]
# Signs the trail's seals: 32 bytes in base64. Older public keys stay known, so that old seals can still be checked.
SEAL_KEY = env("OPSCONSOLE_SEAL_KEY")
SEAL_PUBLIC_KEYS = env_list("OPSCONSOLE_SEAL_PUBLIC_KEYS")
ANCHOR_FILE = env("OPSCONSOLE_ANCHOR_FILE")
ANCHOR_URL = env("OPSCONSOLE_ANCHOR_URL")
ALLOWED_HOSTS = env_list("OPSCONSOLE_ALLOWED_HOSTS") or ([] if PRODUCTION else ["*"])
CSRF_TRUSTED_ORIGINS = env_list("OPSCONSOLE_ORIGINS")
INTERNAL_IPS: list[str] = []
# How often one person may ask a web process, steadily and in a burst (core/pacing.py); 0: as often as they like.
REQUESTS_PER_SECOND = env_float("OPSCONSOLE_REQUESTS_PER_SECOND", 0.0 if MODE == "test" else 10.0)
REQUESTS_AT_ONCE = max(1, env_int("OPSCONSOLE_REQUESTS_AT_ONCE", 100))

INSTALLED_APPS = [
    "opsconsole.apps.OpsAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django_htmx",
    "template_partials",
    "heroicons",
    "guardian",
    "auditlog",
    "pgtrigger",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "csp",
    "django_prometheus",
    "core",
    "opsconsole.launcher.apps.LauncherConfig",
    "tenants",
    "audit",
    "outbox",
    "operations",
    "workflows",
    "snapshots",
    "drift",
    "promotions",
    "impersonation",
    "reports",
    "opsconsole.apps.OpsConsoleConfig",
]

MIDDLEWARE = [
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "tenants.middleware.RequestContextMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "tenants.middleware.ActorMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "impersonation.middleware.SupportSessionMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "tenants.idempotency.IdempotencyMiddleware",
    "core.middleware.ErrorMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]

ROOT_URLCONF = "opsconsole.urls"
ASGI_APPLICATION = "opsconsole.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "core.rendering.SendableTemplates",
        "NAME": "django",
        "DIRS": [BASE_DIR / "templates"],
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "tenants.context.shell",
                *(["opsconsole.demo.progress.in_templates"] if MODE == "demo" else []),
            ],
            "loaders": [
                (
                    "template_partials.loader.Loader",
                    [
                        (
                            "django.template.loaders.cached.Loader",
                            [
                                "django.template.loaders.filesystem.Loader",
                                "django.template.loaders.app_directories.Loader",
                            ],
                        )
                    ],
                )
            ],
            "builtins": ["template_partials.templatetags.partials"],
        },
    },
]


def database(url: str) -> dict[str, object]:
    """Django's settings for a ``postgresql://user:password@host:port/name?options`` URL."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    settings: dict[str, object] = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")) or "opsconsole",
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": query.pop("host", None) or parts.hostname or "",
        "PORT": str(parts.port or query.pop("port", "") or ""),
        "CONN_MAX_AGE": 0 if env("OPSCONSOLE_DB_POOL") else 60,
        "CONN_HEALTH_CHECKS": True,
        "DISABLE_SERVER_SIDE_CURSORS": True,
        "OPTIONS": dict(query),
    }
    if pool_size := env_int("OPSCONSOLE_DB_POOL", 0):
        settings["OPTIONS"] = {**query, "pool": {"min_size": 1, "max_size": pool_size, "timeout": 10}}
    return settings


DATABASE_URL = env("DATABASE_URL", "postgresql://opsconsole_app@127.0.0.1/opsconsole")
DATABASE_OWNER_URL = env("DATABASE_OWNER_URL", DATABASE_URL)
DATABASE_OPERATOR_URL = env("DATABASE_OPERATOR_URL")
# `migrate` and the demo's first steps run as the owner; everything else as a role that owns nothing.
AS_OWNER = env("OPSCONSOLE_AS_OWNER") == "1"
DATABASES = {"default": database(DATABASE_OWNER_URL if AS_OWNER else DATABASE_URL)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ATOMIC_REQUESTS = False

AUTH_USER_MODEL = "tenants.User"
AUTHENTICATION_BACKENDS = [
    "allauth.account.auth_backends.AuthenticationBackend",
    "guardian.backends.ObjectPermissionBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
PASSWORD_HASHERS = ["tenants.hashers.SealedPasswordHasher", "django.contrib.auth.hashers.PBKDF2PasswordHasher"]
if MODE == "test":
    PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
# An address is how owners name people: a new one counts once its mailbox has answered, and only its person asks for it.
ACCOUNT_CHANGE_EMAIL = ACCOUNT_REAUTHENTICATION_REQUIRED = True
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_ADAPTER = "tenants.adapters.AccountAdapter"
ACCOUNT_SESSION_REMEMBER = True
# Guessing is slowed for an address, more for an account at an address, and for an account from browsers that it has
# never been used in (tenants/guessing.py); counted in the cache that all processes share.
ACCOUNT_RATE_LIMITS = {
    "login": "60/m/ip",
    "login_failed": "20/m/ip,5/300s/key",
    "reset_password": "10/m/ip,3/h/key",
    "reset_password_from_key": "20/m/ip",
    "reauthenticate": "10/m/user",
    "change_password": "5/m/user",
    "signup": "10/m/ip",
}
ACCOUNT_PREVENT_ENUMERATION = True
TRUSTED_PROXIES = ALLAUTH_TRUSTED_PROXY_COUNT = env_int("OPSCONSOLE_TRUSTED_PROXIES", 0)
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not PRODUCTION
MFA_TOTP_ISSUER = "OpsConsole"
MFA_FORMS = {"activate_totp": "tenants.forms.ActivateApp"}
MFA_ADAPTER = "tenants.adapters.MFAAdapter"
# The trail is written by the database; auditlog gives it its shape and its admin, and writes nothing itself.
AUDITLOG_LOGENTRY_MODEL = "audit.LogEntry"
GUARDIAN_MONKEY_PATCH_USER = False
GUARDIAN_RAISE_403 = False
ANONYMOUS_USER_NAME = None

SESSION_ENGINE = "tenants.sessions"
SESSION_COOKIE_AGE = 12 * 3600
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CONTENT_TYPE_NOSNIFF = True
if PRODUCTION:
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    SECURE_SSL_REDIRECT = env("OPSCONSOLE_TLS_REDIRECT", "1") == "1"
    SECURE_REDIRECT_EXEMPT = [r"^(api/)?health"]
    SECURE_HSTS_SECONDS = 365 * 24 * 3600
    SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = True
    if env("OPSCONSOLE_BEHIND_TLS_PROXY") == "1":
        SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
        "manifest-src": [SELF],
    }
}

LANGUAGE_CODE = "en-gb"
TIME_ZONE = env("OPSCONSOLE_TIME_ZONE", "UTC")
USE_I18N = False
USE_TZ = True

STATIC_URL = "/static/"
STATIC_ROOT = HOME / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = not PRODUCTION
WHITENOISE_AUTOREFRESH = DEBUG
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if PRODUCTION
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}

BROKER_URL = env("BROKER_URL", "redis://127.0.0.1:6379/0")
CACHES: dict[str, dict[str, object]] = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
if MODE != "test" and BROKER_URL.startswith(("redis://", "rediss://")):
    CACHES["default"] = {
        "BACKEND": "core.cache.PatientRedisCache",
        "LOCATION": BROKER_URL,
        "KEY_PREFIX": "opsconsole",
        "OPTIONS": {"socket_connect_timeout": 1, "socket_timeout": 1, "serializer": "core.cache.JsonSerializer"},
    }
# smtp://user:password@host:25, smtp+tls://…:587 (STARTTLS) or smtps://…:465. Without a mail server, messages are files:
# a console's output is no place for them.
MAIL_SERVER = urlsplit(env("OPSCONSOLE_MAIL_URL"))
SENDS_MAIL = bool(MAIL_SERVER.hostname)
EMAIL_BACKEND = "audit.mail.TrailedBackend"
EMAIL_DELIVERY = "django.core.mail.backends.smtp.EmailBackend" if SENDS_MAIL else "audit.mail.PrivateFiles"
EMAIL_FILE_PATH = HOME / "mail"
EMAIL_HOST, EMAIL_PORT = MAIL_SERVER.hostname or "", MAIL_SERVER.port or 25
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = unquote(MAIL_SERVER.username or ""), unquote(MAIL_SERVER.password or "")
EMAIL_USE_TLS, EMAIL_USE_SSL = MAIL_SERVER.scheme == "smtp+tls", MAIL_SERVER.scheme == "smtps"
EMAIL_TIMEOUT = 20
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env("OPSCONSOLE_MAIL_FROM", "OpsConsole <opsconsole@localhost>")

GIT_ROOT = Path(env("OPSCONSOLE_GIT_ROOT") or HOME / "git")
# Files of compliance reports: web and workers share the folder. Manifests stay when files go.
#: Whether operators may have an n8n of another version started on this machine; each version takes 1.3 GB of disk.
REHEARSALS = env_int("OPSCONSOLE_REHEARSALS", 1) == 1
#: An n8n of another version to rehearse an upgrade on: the command, its folders, and how long one may take.
REHEARSAL_COMMAND = env("OPSCONSOLE_REHEARSAL_COMMAND") or f"{shlex.quote(str(BASE_DIR / 'script' / 'n8n'))} scratch"
REHEARSALS_ROOT = Path(env("OPSCONSOLE_REHEARSALS_ROOT") or HOME / "rehearsals")
REHEARSAL_SECONDS = float(env("OPSCONSOLE_REHEARSAL_SECONDS") or 3600)

REPORTS_ROOT = Path(env("OPSCONSOLE_REPORTS_ROOT") or HOME / "reports")
REPORT_FILES_DAYS = env_int("OPSCONSOLE_REPORT_FILES_DAYS", 30)

# Support sessions: see docs/adr/0008. The demo prints its passwords, so a second factor would protect nothing there.
SUPPORT_SECOND_FACTOR = MODE != "demo"
# How long after it was set up a second factor counts for support sessions.
SUPPORT_FACTOR_WAIT_HOURS = env_int("OPSCONSOLE_SUPPORT_FACTOR_WAIT_HOURS", 24)
# A ticket must match this whole; empty: a ticket is not asked for.
SUPPORT_TICKET_PATTERN = env("OPSCONSOLE_SUPPORT_TICKET_PATTERN")

# Long work (operations): see docs/adr/0003.
WORKERS = env_int("OPSCONSOLE_WORKERS", 3)
LEASE_SECONDS = env_float("OPSCONSOLE_LEASE_SECONDS", 15.0)
REAPER_INTERVAL_SECONDS = env_float("OPSCONSOLE_REAPER_INTERVAL_SECONDS", 3.0)
#: How many jobs of one tenant, and on one n8n, run at a time: all but one of the workers, which is left for the others.
JOBS_PER_TENANT = env_int("OPSCONSOLE_JOBS_PER_TENANT", max(1, WORKERS - 1))
JOBS_PER_N8N = env_int("OPSCONSOLE_JOBS_PER_N8N", max(1, WORKERS - 1))
#: How many jobs of one tenant may wait before people get no more in; what the console schedules itself always does.
JOBS_WAITING_PER_TENANT = env_int("OPSCONSOLE_JOBS_WAITING_PER_TENANT", 500)
#: Where the n8n of an environment is, for the jobs that work on it.
JOB_PLACES = (
    "SELECT id AS environment_id, lower(substring(base_url from '^[A-Za-z]+://([^/?#]+)')) AS host FROM environments"
)
OPERATION_MAX_ATTEMPTS = env_int("OPSCONSOLE_OPERATION_MAX_ATTEMPTS", 5)

# Events between apps (the outbox): see docs/adr/0015. How often beat looks, and how long handled events are kept.
OUTBOX_INTERVAL_SECONDS = env_float("OPSCONSOLE_OUTBOX_INTERVAL_SECONDS", 5.0)
OUTBOX_RETENTION_DAYS = env_int("OPSCONSOLE_OUTBOX_RETENTION_DAYS", 14)

# Who may read /metrics: whoever has the token, or asks from these networks (CIDRs, comma separated). Neither: nobody.
METRICS_TOKEN = env("OPSCONSOLE_METRICS_TOKEN")
METRICS_NETWORKS = [ipaddress.ip_network(text, strict=False) for text in env_list("OPSCONSOLE_METRICS_NETWORKS")]

# Where the n8n client may connect besides public addresses: CIDRs, comma separated.
N8N_ALLOWED_NETWORKS = env_list("OPSCONSOLE_N8N_ALLOWED_NETWORKS", "" if PRODUCTION else "127.0.0.0/8,::1/128")
N8N_ALLOW_HTTP = env("OPSCONSOLE_N8N_ALLOW_HTTP", "0" if PRODUCTION else "1") == "1"
# 0: one at a time where n8n may lose writes that overlap (before 2.0, on SQLite), and four elsewhere.
N8N_WRITES_AT_ONCE = env_int("OPSCONSOLE_N8N_WRITES_AT_ONCE", 0)
# MiB of one answer, unpacked: n8n's own limit for a workflow (16), and half as much for the version that runs beside
# it. A worker holds it and what is made of it, 64 MiB in all.
N8N_LARGEST_ANSWER_MIB = env_int("OPSCONSOLE_N8N_LARGEST_ANSWER_MIB", 24)

# How long an n8n that was killed while it published may run another version than it says: its own lease of 2 minutes,
# the 15 s at which it looks for leases that are over, and 5 s for the publishing itself.
N8N_PUBLISHING_LEASE_SECONDS = env_float("OPSCONSOLE_N8N_PUBLISHING_LEASE_SECONDS", 0.0 if MODE == "test" else 140.0)

# n8n's executions: how long they are kept, and how often each environment is asked (0: only when a person asks).
EXECUTION_DAYS = env_int("OPSCONSOLE_EXECUTION_DAYS", 7)
EXECUTIONS_EVERY_SECONDS = env_int("OPSCONSOLE_EXECUTIONS_EVERY_SECONDS", 0 if MODE == "test" else 300)
#: Environments whose executions are read at the same time: half of the workers, so that the others are people's.
EXECUTION_READERS = env_int("OPSCONSOLE_EXECUTION_READERS", max(1, WORKERS // 2))
#: In one environment; about 500 bytes each.
EXECUTIONS_KEPT_AT_MOST = env_int("OPSCONSOLE_EXECUTIONS_KEPT_AT_MOST", 500_000)

SANDBOX_URL = env("SANDBOX_URL")
SANDBOX_CONTROL_TOKEN = env("SANDBOX_CONTROL_TOKEN")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": "core.logging.formatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": env("OPSCONSOLE_LOG_LEVEL", "INFO" if MODE != "test" else "WARNING")},
    "loggers": {"httpx": {"level": "WARNING"}, "git": {"level": "WARNING"}},
}
PROMETHEUS_EXPORT_MIGRATIONS = False
SILENCED_SYSTEM_CHECKS = [
    "guardian.W001",
    "auth.W004",  # e-mail addresses are unique by lower case, which this check does not see
]
