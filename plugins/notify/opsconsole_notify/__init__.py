"""A plugin of opsconsole that gives the notifier `notify`: alarms to webhooks, desktop, chat and pagers, through Apprise."""

from opsconsole.hooks import NotifierKind, hookimpl
from opsconsole_notify.sending import open_notifier

OPSCONSOLE_API = 1


@hookimpl
def opsconsole_notifiers() -> list[NotifierKind]:
    return [NotifierKind("notify", open_notifier)]
