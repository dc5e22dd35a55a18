"""All tables. Importing this package registers them with the metadata."""

from db.models.access import ApiToken, AuditEntry, LoginAttempt, User, UserSession
from db.models.alerts import AlertEvent, MonitoringAlert, Silence
from db.models.apps import App, Project, Watermark
from db.models.changes import Change
from db.models.errors import ErrorPattern
from db.models.evaluation import ImprovementImpact, MetaEvaluationRun, ModelUsage
from db.models.jobs import Job, QueuePause
from db.models.mail import Email, MailAddress, MailPreference, SigningKey
from db.models.metrics import BucketChange, DetectorState, MetricBucket, MetricHour
from db.models.proposals import ImprovementProposal
from db.models.rollouts import Flag, Rollout, RolloutEvent, RolloutLook
from db.models.traces import Feedback, LooseEnd, Run
from db.models.validation import GoldenCase, GoldenSet, ValidationCase, ValidationResult

__all__ = [
    "AlertEvent",
    "ApiToken",
    "App",
    "AuditEntry",
    "BucketChange",
    "Change",
    "DetectorState",
    "Email",
    "ErrorPattern",
    "Feedback",
    "Flag",
    "GoldenCase",
    "GoldenSet",
    "ImprovementImpact",
    "ImprovementProposal",
    "Job",
    "LoginAttempt",
    "LooseEnd",
    "MailAddress",
    "MailPreference",
    "MetaEvaluationRun",
    "MetricBucket",
    "MetricHour",
    "ModelUsage",
    "MonitoringAlert",
    "Project",
    "QueuePause",
    "Rollout",
    "RolloutEvent",
    "RolloutLook",
    "Run",
    "SigningKey",
    "Silence",
    "User",
    "UserSession",
    "ValidationCase",
    "ValidationResult",
    "Watermark",
]
