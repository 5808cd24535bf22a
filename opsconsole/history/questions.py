"""Three questions of a post-mortem in SQL: the same text answers here, in Datasette, and in sqlite3 on an exported file."""

from __future__ import annotations

QUESTIONS = {
    "hottest_gpu": (
        "Which GPU was hottest yesterday between 03:00 and 03:20",
        "select node, gpu, max(temp_c) as temp_c, time from gpu_samples\n"
        "where time between datetime('now', 'localtime', 'start of day', '-1 day', '+3 hours', 'utc')\n"
        "  and datetime('now', 'localtime', 'start of day', '-1 day', '+200 minutes', 'utc')\n"
        "group by node, gpu order by temp_c desc limit 5",
    ),
    "energy_by_site": (
        "How much energy the GPUs of each site drew an hour",
        "select site, strftime('%Y-%m-%d %H:00', time) as hour, round(sum(power_w) / 3.6e6, 3) as kwh\n"
        "from site_samples group by site, hour order by hour, site",
    ),
    "before_the_peak": (
        "Which actions came before the queue was longest",
        "select time, actor, subject, text from events\n"
        "where kind = 'action' and at <= (select at from fleet_samples order by queue_depth desc limit 1)\n"
        "order by at desc limit 5",
    ),
}
"""Title and query by name."""
