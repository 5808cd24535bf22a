"""Workers of engines that this agent does not know: how they are started and asked comes with the order, and is checked."""

import re

from .hostile import finite

PARTS = ("ready_path", "drain_path", "metrics_path", "metrics", "term_limit_s")
"""What of an ENGINE_SPEC is kept with the worker."""
ARGUMENTS_LIMIT, TEXT_LIMIT, NAMES_LIMIT = 200, 4096, 50
TERM_LIMITS_S = (1.0, 3600.0)
ENV_PATTERN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}\Z")
PATH_PATTERN = re.compile(r"/[0-9A-Za-z._~/?=&-]{0,199}\Z")
METRIC_PATTERN = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]{0,199}\Z")
FORBIDDEN_ENV = re.compile(r"LD_|PYTHON(PATH|HOME|STARTUP)\Z|PATH\Z|HOME\Z")
"""Names that change what program runs, not how it runs."""
PLACEHOLDERS = ("{port}", "{host}", "{gpus}")


def spec_refusal(spec):
    """Why this engine_spec cannot be used, or None."""
    if not isinstance(spec, dict):
        return "engine_spec must be an object: this agent starts jax workers by itself only"
    argv, env = spec.get("argv"), spec.get("env", {})
    if not isinstance(argv, list) or not 0 < len(argv) <= ARGUMENTS_LIMIT or not all(_is_text(text) for text in argv) or not argv[0]:
        return "engine_spec.argv must be 1 to %d printable texts" % ARGUMENTS_LIMIT
    if argv[0].startswith("-") or any(mark in argv[0] for mark in PLACEHOLDERS):
        return "engine_spec.argv must begin with a program"
    if not isinstance(env, dict) or len(env) > NAMES_LIMIT or not all(_is_variable(name, text) for name, text in env.items()):
        return "engine_spec.env must be at most %d names with printable texts, none of PATH, HOME, LD_* or PYTHONPATH" % NAMES_LIMIT
    for field in ("ready_path", "metrics_path"):
        if not _is_path(spec.get(field)):
            return "engine_spec.%s must be a path such as /metrics" % field
    if spec.get("drain_path") is not None and not _is_path(spec["drain_path"]):
        return "engine_spec.drain_path must be a path or null"
    if not isinstance(spec.get("notifies", False), bool):
        return "engine_spec.notifies must be true or false"
    limit_s = finite(spec.get("term_limit_s"))
    if limit_s is None or not TERM_LIMITS_S[0] <= limit_s <= TERM_LIMITS_S[1]:
        return "engine_spec.term_limit_s must be %.0f to %.0f seconds" % TERM_LIMITS_S
    return _metrics_refusal(spec.get("metrics"))


def _metrics_refusal(metrics):
    if not isinstance(metrics, dict) or len(metrics) > NAMES_LIMIT:
        return "engine_spec.metrics must be an object of at most %d names" % NAMES_LIMIT
    for listed in metrics.values():
        if not isinstance(listed, list) or len(listed) > NAMES_LIMIT or not all(_is_metric(name) for name in listed):
            return "engine_spec.metrics must list names of metrics"
    return None


def _is_text(value):
    return isinstance(value, str) and len(value) <= TEXT_LIMIT and (value.isprintable() or not value)


def _is_variable(name, text):
    return bool(ENV_PATTERN.match(name)) and not FORBIDDEN_ENV.match(name) and _is_text(text)


def _is_path(value):
    return isinstance(value, str) and bool(PATH_PATTERN.match(value))


def _is_metric(value):
    return isinstance(value, str) and bool(METRIC_PATTERN.match(value))


def filled(spec, host, port, gpus):
    """The argv with what the node chose in place of its placeholders; each text stays one argument."""
    values = {"{port}": str(port), "{host}": host, "{gpus}": ",".join(map(str, gpus))}
    argv = []
    for text in spec["argv"]:
        for mark, value in values.items():
            text = text.replace(mark, value)
        argv.append(text)
    return argv


def kept(spec, prefix):
    """What a later agent needs to ask and stop the worker. prefix: of our own metrics' names, which a spec may leave out."""
    values = {field: spec.get(field) for field in PARTS}
    values["metrics"] = {name[len(prefix):] if name.startswith(prefix) else name: listed for name, listed in spec["metrics"].items()}
    return values
